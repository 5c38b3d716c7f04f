use std::time::Duration;

use postgres::{Client, SimpleQueryMessage};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::fixes;
use crate::pace::{self, WorkOfOthers};
use crate::server::{Address, Password};

/// One instant of a database, held open while it is read and dumped.
///
/// A repeatable-read, read-only transaction whose snapshot is exported: what
/// [`query`](Self::query) sees, `pg_dump --snapshot` dumps. It holds back no
/// writer, and nothing that is written after it shows in it.
pub struct Snapshot {
    address: Address,
    client: Client,
    name: String,
    facts: ServerFacts,
    lock_wait: Duration,
    heartbeat: Duration,
}

/// How long a dump waits for a table that another session has locked, unless
/// told otherwise. Whoever locks it keeps LAVA waiting too.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How often the session is used while it only holds the snapshot: less than
/// what routers forget connections after.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A dump lasts as long as it lasts: no time-out may end its snapshot. Only newer
/// servers know the last one.
const SESSION: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET default_transaction_read_only = on; SET search_path = ''; \
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
    WHERE name = 'transaction_timeout'";

/// What the server and the database are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Major version, such as 15.
    pub major: u32,
    /// The server's whole version, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The database.
    pub database: String,
    /// The role that owns it.
    pub owner: String,
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale provider: `libc`, `icu` or `builtin`.
    pub provider: String,
    /// The locale of a provider other than `libc`.
    #[serde(default)]
    pub locale: Option<String>,
    /// Size on the server's disk, in bytes.
    pub size: u64,
    /// Extensions but `plpgsql`, as `name version`.
    pub extensions: Vec<String>,
    /// Settings of the database's own, as `name=value`: a dump does not hold
    /// them. Of one with a dot in its name the value is left out.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Who holds which right to the database itself, which a dump does not hold either;
    /// `None` where nobody has changed what the server gives by default.
    #[serde(default)]
    pub grants: Option<Vec<DatabaseGrant>>,
    /// How many sessions may be in it at once; `None` if any number.
    #[serde(default)]
    pub connection_limit: Option<u32>,
    /// Roles that own something in the database or hold a right to it, which
    /// a dump names and does not hold.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What those roles may do, in the same order.
    #[serde(default)]
    pub role_attributes: Vec<RoleAttributes>,
    /// Tables with rows of their own, sorted by schema and name.
    #[serde(default)]
    pub tables: Vec<TableSize>,
}

/// A right to a database itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseGrant {
    /// Who holds it; `None` if everybody does.
    pub role: Option<String>,
    /// `CONNECT`, `CREATE` or `TEMPORARY`.
    pub privilege: String,
    /// May they give it to others?
    pub grantable: bool,
}

/// A role, but for its password: that is a [verifier](Snapshot::verifiers) apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAttributes {
    /// The role.
    pub name: String,
    /// May it log in?
    pub login: bool,
    /// Does it do as the roles do that it is a member of?
    pub inherit: bool,
    /// What else it may do: `superuser`, `createdb`, `createrole`, `replication`,
    /// `bypassrls`.
    pub powers: Vec<String>,
    /// Roles it is a member of.
    pub member_of: Vec<String>,
    /// Its settings in this database and in all, as those of the database.
    pub settings: Vec<String>,
}

/// How large the server thought a table to be when it last looked: asking it to
/// look now would wait for whoever has locked the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Bytes on the server's disk, without indexes.
    pub bytes: u64,
}

/// A row as text, `None` for a null.
pub type Row = Vec<Option<String>>;

impl Snapshot {
    /// Connects and takes the snapshot: from here on it is that instant.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`], [`ErrorKind::Absent`] if there is no such
    /// database, or [`ErrorKind::Query`].
    pub fn take(address: &Address) -> Result<Self> {
        let (mut client, os_user) = address.connect()?;
        let query = |e| {
            Error::with(
                ErrorKind::Query,
                format!("take a snapshot of the {address}"),
                e,
            )
        };
        client.batch_execute(SESSION).map_err(query)?;
        client
            .batch_execute(&format!(
                "SET lock_timeout = {}; \
                 BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
                LOCK_WAIT.as_millis()
            ))
            .map_err(query)?;
        let mut snapshot = Self {
            address: Address {
                os_user,
                ..address.clone()
            },
            client,
            name: String::new(),
            facts: ServerFacts {
                major: 0,
                version: String::new(),
                database: address.database.clone(),
                owner: String::new(),
                encoding: String::new(),
                collate: String::new(),
                ctype: String::new(),
                provider: String::new(),
                locale: None,
                size: 0,
                extensions: Vec::new(),
                settings: Vec::new(),
                grants: None,
                connection_limit: None,
                roles: Vec::new(),
                role_attributes: Vec::new(),
                tables: Vec::new(),
            },
            lock_wait: LOCK_WAIT,
            heartbeat: HEARTBEAT,
        };
        // Not through `query`: nothing is exported from within a savepoint.
        let exported = snapshot
            .client
            .simple_query("SELECT pg_catalog.pg_export_snapshot()");
        snapshot.name = first_value(exported.and_then(text_rows).map_err(query)?);
        snapshot.read_facts()?;
        Ok(snapshot)
    }

    fn read_facts(&mut self) -> Result<()> {
        let number = self.query("SELECT pg_catalog.current_setting('server_version_num')")?;
        let number: u32 = first_value(number).parse().unwrap_or(0);
        // Providers other than libc came with version 15.
        let provider = if number >= 150_000 {
            "CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END"
        } else {
            "'libc'"
        };
        let locale = match number {
            170_000.. => "d.datlocale",
            150_000.. => "d.daticulocale",
            _ => "NULL",
        };
        let rows = self.query(&format!(
            "SELECT pg_catalog.current_setting('server_version'), \
                    pg_catalog.pg_get_userbyid(d.datdba), \
                    pg_catalog.pg_encoding_to_char(d.encoding), \
                    d.datcollate, d.datctype, {provider}, {locale}, \
                    pg_catalog.pg_database_size(d.oid), d.datconnlimit, d.datacl IS NOT NULL \
             FROM pg_catalog.pg_database d \
             WHERE d.datname = pg_catalog.current_database()"
        ))?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let mut value = || row.next().flatten();
        let mut next = || value().unwrap_or_default();
        self.facts.major = number / 10_000;
        self.facts.version = next();
        self.facts.owner = next();
        self.facts.encoding = next();
        self.facts.collate = next();
        self.facts.ctype = next();
        self.facts.provider = next();
        self.facts.locale = value();
        self.facts.size = value().unwrap_or_default().parse().unwrap_or(0);
        // -1 is any number.
        self.facts.connection_limit = value().and_then(|limit| limit.parse().ok());
        let are_changed = value().as_deref() == Some("t");
        self.facts.grants = are_changed.then(|| self.grants()).transpose()?;
        self.facts.extensions = self.column(
            "SELECT extname || ' ' || extversion FROM pg_catalog.pg_extension \
             WHERE extname <> 'plpgsql' ORDER BY 1",
        )?;
        let settings = self.column(
            "SELECT pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s \
             JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase \
             WHERE d.datname = pg_catalog.current_database() AND s.setrole = 0 ORDER BY 1",
        )?;
        self.facts.settings = settings.iter().map(|s| without_secret(s)).collect();
        self.facts.role_attributes = self.role_attributes()?;
        let names = self.facts.role_attributes.iter().map(|r| r.name.clone());
        self.facts.roles = names.collect();
        self.facts.tables = self.table_sizes()?;
        Ok(())
    }

    fn grants(&mut self) -> Result<Vec<DatabaseGrant>> {
        let rows = self.query(
            "SELECT CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee) END, \
                    a.privilege_type, a.is_grantable \
             FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a \
             WHERE d.datname = pg_catalog.current_database() ORDER BY 1, 2",
        )?;
        let grant = |row: Row| {
            let [role, privilege, grantable] = row.try_into().ok()?;
            Some(DatabaseGrant {
                role,
                privilege: privilege?,
                grantable: grantable.as_deref() == Some("t"),
            })
        };
        Ok(rows.into_iter().filter_map(grant).collect())
    }

    fn role_attributes(&mut self) -> Result<Vec<RoleAttributes>> {
        let rows = self.query(&format!(
            "SELECT r.rolname, r.rolcanlogin, r.rolinherit, \
                    pg_catalog.concat_ws(',', \
                        CASE WHEN r.rolsuper THEN 'superuser' END, \
                        CASE WHEN r.rolcreatedb THEN 'createdb' END, \
                        CASE WHEN r.rolcreaterole THEN 'createrole' END, \
                        CASE WHEN r.rolreplication THEN 'replication' END, \
                        CASE WHEN r.rolbypassrls THEN 'bypassrls' END), \
                    (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.pg_get_userbyid(m.roleid)::text \
                            ORDER BY pg_catalog.pg_get_userbyid(m.roleid)::text) \
                     FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid), \
                    (SELECT pg_catalog.json_agg(setting ORDER BY setting) \
                     FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) setting \
                     WHERE s.setrole = r.oid AND s.setdatabase IN (0, {THIS_DATABASE})) \
             FROM pg_catalog.pg_roles r WHERE {OF_THE_DATABASE} ORDER BY 1"
        ))?;
        let role = |row: Row| {
            let [name, login, inherit, powers, member_of, settings] = row.try_into().ok()?;
            let list = |json: Option<String>| -> Vec<String> {
                let list = json.map(|json| serde_json::from_str(&json).ok());
                list.flatten().unwrap_or_default()
            };
            let powers = powers.unwrap_or_default();
            let powers = powers.split_terminator(',');
            Some(RoleAttributes {
                name: name?,
                login: login.as_deref() == Some("t"),
                inherit: inherit.as_deref() == Some("t"),
                powers: powers.map(str::to_owned).collect(),
                member_of: list(member_of),
                settings: list(settings).iter().map(|s| without_secret(s)).collect(),
            })
        };
        Ok(rows.into_iter().filter_map(role).collect())
    }

    fn table_sizes(&mut self) -> Result<Vec<TableSize>> {
        let rows = self.query(
            "SELECT n.nspname, c.relname, \
                    (c.relpages::int8 + COALESCE(t.relpages, 0)) \
                        * pg_catalog.current_setting('block_size')::int8 \
             FROM pg_catalog.pg_class c \
             LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
             ORDER BY 1, 2",
        )?;
        let table = |row: Row| {
            let [schema, name, bytes] = row.try_into().ok()?;
            Some(TableSize {
                schema: schema?,
                name: name?,
                bytes: bytes?.parse().ok()?,
            })
        };
        Ok(rows.into_iter().filter_map(table).collect())
    }

    /// What the server keeps of the passwords of the database's roles, by role:
    /// with it one could guess them, so it is a secret and no part of the facts.
    /// Only the superuser is told.
    ///
    /// # Errors
    /// [`ErrorKind::Query`], for any other role.
    pub fn verifiers(&mut self) -> Result<Vec<(String, Password)>> {
        let rows = self.query(&format!(
            "SELECT r.rolname, r.rolpassword FROM pg_catalog.pg_authid r \
             WHERE r.rolpassword IS NOT NULL AND {OF_THE_DATABASE} ORDER BY 1"
        ))?;
        let verifier = |row: Row| {
            let [role, verifier] = row.try_into().ok()?;
            Some((role?, Password::new(verifier?)))
        };
        Ok(rows.into_iter().filter_map(verifier).collect())
    }

    /// The first value of every row.
    fn column(&mut self, sql: &str) -> Result<Vec<String>> {
        let rows = self.query(sql)?.into_iter();
        Ok(rows
            .filter_map(|row| row.into_iter().next().flatten())
            .collect())
    }

    /// What the server and the database are.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// The address that was connected to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The snapshot's name, as `pg_dump --snapshot` takes it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Asks something of that instant; every value as text, in the server's
    /// order.
    ///
    /// The session only reads, unless the statement itself says otherwise. One
    /// that fails is undone alone, and the snapshot stays.
    ///
    /// # Errors
    /// [`ErrorKind::Absent`] if it names what is not there, or
    /// [`ErrorKind::Query`].
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        let failed = |e| {
            Error::server(
                ErrorKind::Query,
                format!("ask the {} ({sql})", self.address),
                e,
            )
        };
        let mut guarded = self.client.batch_execute("SAVEPOINT ask");
        let answer = guarded.and_then(|()| self.client.simple_query(sql));
        guarded = self.client.batch_execute(match answer {
            Ok(_) => "RELEASE SAVEPOINT ask",
            Err(_) => "ROLLBACK TO SAVEPOINT ask",
        });
        let answer = answer.map_err(failed)?;
        guarded.map_err(failed)?;
        text_rows(answer).map_err(failed)
    }

    /// Is the transaction still there? A dump whose snapshot ended is void.
    ///
    /// # Errors
    /// [`ErrorKind::Void`] if it is not.
    pub fn still_holds(&mut self) -> Result<()> {
        // Of the transaction, not only of the session.
        let asked = self
            .client
            .batch_execute("SAVEPOINT alive; RELEASE SAVEPOINT alive");
        asked.map_err(|e| {
            let what = format!("keep the snapshot of the {}", self.address);
            Error::with(ErrorKind::Void, what, e)
        })
    }

    /// What others are doing on the server, now.
    ///
    /// # Errors
    /// [`ErrorKind::Void`] if the snapshot is no more; of any other kind if the
    /// server does not tell.
    pub fn work_of_others(&mut self) -> Result<WorkOfOthers> {
        let row = match self.query(pace::WHO_IS_AT_WORK) {
            Ok(mut rows) => rows.pop(),
            Err(untold) => {
                self.still_holds()?;
                return Err(untold);
            }
        };
        let mut numbers = row.into_iter().flatten().flatten();
        let mut number = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok(WorkOfOthers {
            sessions: number(),
            transactions: number(),
        })
    }

    /// Sets how long to wait for a table that another session has locked, in
    /// place of a minute; here and in the dump.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] if the server does not take it.
    pub fn set_lock_wait(&mut self, wait: Duration) -> Result<()> {
        self.query(&format!("SET lock_timeout = {}", wait.as_millis()))?;
        self.lock_wait = wait;
        Ok(())
    }

    /// Sets how often the session is used during a dump, so that nothing on the
    /// way forgets it and its end is noticed, in place of every 15 seconds.
    pub fn set_heartbeat(&mut self, every: Duration) {
        self.heartbeat = every;
    }

    pub(crate) fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Who keeps tables of the database from being read, as far as this role is
    /// told.
    pub(crate) fn lockers(&mut self) -> Vec<String> {
        let sql = "SELECT DISTINCT coalesce(a.usename, '?') || ' (' || \
                   coalesce(a.application_name, '?') || ', process ' || l.pid || ')' \
            FROM pg_catalog.pg_locks l \
            JOIN pg_catalog.pg_database d ON d.oid = l.database \
            LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
            WHERE d.datname = pg_catalog.current_database() AND l.granted \
            AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' ORDER BY 1";
        self.column(sql).unwrap_or_default()
    }
}

const THIS_DATABASE: &str = "(SELECT oid FROM pg_catalog.pg_database \
    WHERE datname = pg_catalog.current_database())";

/// Of a role `r`: it owns the database or something in it, or holds a right to either.
const OF_THE_DATABASE: &str = "r.oid IN (SELECT s.refobjid FROM pg_catalog.pg_shdepend s \
    JOIN pg_catalog.pg_database d ON d.oid = s.dbid OR s.dbid = 0 AND d.oid = s.objid \
        AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass \
    WHERE d.datname = pg_catalog.current_database() \
    AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass)";

impl ServerFacts {
    /// If the server lacks fixes that a dump or a restore needs: what to know.
    pub fn lacks_fixes(&self) -> Option<String> {
        fixes::lacking(&self.version)
    }
}

/// A setting that PostgreSQL does not know, with a dot in its name, is of somebody's
/// own, and its value may be a key.
fn without_secret(setting: &str) -> String {
    match setting.split_once('=') {
        Some((name, _)) if name.contains('.') => format!("{name}=…"),
        _ => setting.to_owned(),
    }
}

/// The rows of an answer; an error if it is no UTF-8, as a server sends what it was given where
/// it knows of no encoding.
pub(crate) fn text_rows(answer: Vec<SimpleQueryMessage>) -> Result<Vec<Row>, postgres::Error> {
    let rows = answer.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let text = |at| Ok(row.try_get(at)?.map(str::to_owned));
            Some((0..row.len()).map(text).collect())
        }
        _ => None,
    });
    rows.collect()
}

fn first_value(rows: Vec<Row>) -> String {
    let value = rows.into_iter().next().and_then(|r| r.into_iter().next());
    value.flatten().unwrap_or_default()
}
