//! LAVA's settings, layered as LAVA itself reads them.
//!
//! `instance.conf` and `secret_key.conf` first, then `settings.conf`,
//! `settings.yaml` and `settings.d/*.yaml` in the order of their names, then
//! the environment that systemd gives gunicorn; later wins, key by key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lava_backup_core::Root;
use lava_backup_pg::{Address, Password};
use serde_norway::Value;

use crate::exit::{Exit, Failure};

/// What backups and restores need of the settings.
#[derive(Debug)]
pub(crate) struct LavaSettings {
    /// LAVA's database, if the settings name one.
    pub(crate) database: Option<Address>,
    /// Where job output lies.
    pub(crate) media_root: PathBuf,
    /// The class that keeps job logs.
    pub(crate) log_backend: String,
    /// The instance's name.
    pub(crate) instance_name: Option<String>,
    /// Are workers of other versions let in?
    pub(crate) allow_version_mismatch: bool,
}

/// LAVA's own default.
const MEDIA_ROOT: &str = "/var/lib/lava-server/default/media/";
/// The backend that keeps logs in files; LAVA's own default.
pub(crate) const LOGS_IN_FILES: &str = "lava_scheduler_app.logutils.LogsFilesystem";

const ETC: &str = "/etc/lava-server";
/// In the order in which the unit reads them.
const ENVIRONMENT_FILES: [&str; 2] = [
    "/etc/default/lava-server-gunicorn",
    "/etc/lava-server/lava-server-gunicorn",
];
/// Settings are some kilobytes.
const LIMIT: u64 = 4 << 20;

impl LavaSettings {
    /// Reads the settings of a root.
    ///
    /// # Errors
    /// If a file is there and can't be read or understood: settings half read
    /// would name the wrong database.
    pub(crate) fn read(root: &Root) -> Result<Self, Failure> {
        let mut layers = Layers::default();
        layers.instance_conf(root)?;
        for file in settings_files(root)? {
            layers.yaml_file(root, &file)?;
        }
        for file in ENVIRONMENT_FILES {
            layers.environment(root, Path::new(file))?;
        }
        layers.settle()
    }
}

#[derive(Default)]
struct Layers {
    values: BTreeMap<String, Value>,
}

impl Layers {
    fn instance_conf(&mut self, root: &Root) -> Result<(), Failure> {
        let path = Path::new(ETC).join("instance.conf");
        let Some(text) = read(root, &path)? else {
            return Ok(());
        };
        let found = shell_like(&text);
        let or = |key: &str, default: &str| {
            let value = found.get(key).cloned();
            Value::String(value.unwrap_or_else(|| default.to_owned()))
        };
        let mut database = serde_norway::Mapping::new();
        for (name, key, default) in [
            ("ENGINE", "", "django.db.backends.postgresql"),
            ("NAME", "LAVA_DB_NAME", ""),
            ("USER", "LAVA_DB_USER", ""),
            ("PASSWORD", "LAVA_DB_PASSWORD", ""),
            ("HOST", "LAVA_DB_SERVER", "127.0.0.1"),
            ("PORT", "LAVA_DB_PORT", "5432"),
        ] {
            database.insert(name.into(), or(key, default));
        }
        let mut databases = serde_norway::Mapping::new();
        databases.insert("default".into(), Value::Mapping(database));
        self.values
            .insert("DATABASES".into(), Value::Mapping(databases));
        if let Some(name) = found.get("LAVA_INSTANCE") {
            self.values
                .insert("INSTANCE_NAME".into(), name.clone().into());
        }
        Ok(())
    }

    fn yaml_file(&mut self, root: &Root, path: &Path) -> Result<(), Failure> {
        let Some(text) = read(root, path)? else {
            return Ok(());
        };
        match serde_norway::from_str(&text) {
            Ok(Value::Mapping(values)) => {
                for (key, value) in values {
                    if let Value::String(key) = key {
                        self.values.insert(key, value);
                    }
                }
                Ok(())
            }
            Ok(Value::Null) => Ok(()),
            // The parser's own words may quote a password.
            Ok(_) | Err(_) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "could not read LAVA's settings: {} is no YAML mapping",
                    path.display()
                ),
            )),
        }
    }

    fn environment(&mut self, root: &Root, path: &Path) -> Result<(), Failure> {
        let Some(text) = read(root, path)? else {
            return Ok(());
        };
        for (key, value) in shell_like(&text) {
            if let Some(key) = key.strip_prefix("LAVA_SETTINGS_") {
                self.values.insert(key.into(), Value::String(value));
            } else if let Some(key) = key.strip_prefix("LAVA_YAML_SETTINGS_") {
                let value = serde_norway::from_str(&value).unwrap_or(Value::Null);
                self.values.insert(key.into(), value);
            } else if key == "LAVA_JSON_SETTINGS" || key == "DATABASE_URL" {
                return Err(Failure::new(
                    Exit::Failed,
                    format!(
                        "could not read LAVA's settings: {} sets {key}, which this version does not read",
                        path.display()
                    ),
                )
                .hint("name the database with --database"));
            }
        }
        Ok(())
    }

    fn settle(self) -> Result<LavaSettings, Failure> {
        let text = |key: &str| self.values.get(key).and_then(scalar);
        let database = self
            .values
            .get("DATABASES")
            .and_then(|databases| databases.get("default"));
        let database = match database {
            Some(database) => Some(address(database)?),
            None => None,
        };
        Ok(LavaSettings {
            database,
            media_root: text("MEDIA_ROOT").map_or_else(|| MEDIA_ROOT.into(), PathBuf::from),
            log_backend: text("LAVA_LOG_BACKEND").unwrap_or_else(|| LOGS_IN_FILES.into()),
            instance_name: text("INSTANCE_NAME"),
            allow_version_mismatch: text("ALLOW_VERSION_MISMATCH")
                .is_some_and(|text| text.eq_ignore_ascii_case("true")),
        })
    }
}

fn address(database: &Value) -> Result<Address, Failure> {
    let field = |key: &str| {
        database
            .get(key)
            .and_then(scalar)
            .filter(|text| !text.is_empty())
    };
    let lacks = |what: &str| {
        Failure::new(
            Exit::Failed,
            format!("could not find LAVA's database: its settings do not give {what}"),
        )
        .hint("name the database with --database")
    };
    let engine = field("ENGINE").unwrap_or_default();
    if !engine.is_empty() && !engine.contains("postgresql") {
        return Err(lacks(&format!(
            "a PostgreSQL database, but the engine {engine:?}"
        )));
    }
    let options = database.get("OPTIONS");
    let ssl = options.and_then(|o| o.get("sslmode")).and_then(scalar);
    if let Some(mode @ ("require" | "verify-ca" | "verify-full")) = ssl.as_deref() {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "could not use LAVA's database: its settings say sslmode {mode}, and this version does not speak TLS"
            ),
        ));
    }
    let port = field("PORT").map_or(Ok(5432), |port| port.parse());
    let password = field("PASSWORD").map(Password::new);
    // Without a host Django comes through the socket, where the server may know
    // LAVA by its user of the system or ask for the password, which it takes over
    // TCP in any case.
    let local = match password {
        Some(_) => "localhost",
        None => lava_backup_pg::DEBIAN_SOCKETS,
    };
    Ok(Address {
        host: field("HOST").unwrap_or_else(|| local.into()),
        port: port.map_err(|_| lacks("a port that is a number"))?,
        database: field("NAME").ok_or_else(|| lacks("its NAME"))?,
        user: field("USER").ok_or_else(|| lacks("its USER"))?,
        password,
        os_user: None,
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The YAML files, in the order in which LAVA reads them.
fn settings_files(root: &Root) -> Result<Vec<PathBuf>, Failure> {
    let mut files = vec![
        Path::new(ETC).join("settings.conf"),
        Path::new(ETC).join("settings.yaml"),
    ];
    let dir = Path::new(ETC).join("settings.d");
    if let Ok(Some(found)) = root.resolve(&dir) {
        let mut names = Vec::new();
        for found in std::fs::read_dir(root.path().join(found.as_path()))? {
            let name = found?.file_name();
            // Dot files too: LAVA looks with pathlib's glob, which takes them.
            if name.as_encoded_bytes().ends_with(b".yaml") {
                names.push(dir.join(name));
            }
        }
        names.sort();
        files.extend(names);
    }
    Ok(files)
}

fn read(root: &Root, path: &Path) -> Result<Option<String>, Failure> {
    if root.resolve(path).is_err() {
        return Ok(None);
    }
    let bytes = root.read(path, LIMIT)?;
    String::from_utf8(bytes).map(Some).map_err(|_| {
        Failure::new(
            Exit::Failed,
            format!(
                "could not read LAVA's settings: {} is not UTF-8",
                path.display()
            ),
        )
    })
}

/// `KEY="value"` lines, as dbconfig wrote them and systemd reads them.
fn shell_like(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if key.is_empty() || !key.bytes().all(name) {
            continue;
        }
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default(),
            _ => value.split_whitespace().next().unwrap_or_default(),
        };
        values.insert(key.to_owned(), value.to_owned());
    }
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn settings(files: &[(&str, &str)]) -> Result<LavaSettings, Failure> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        LavaSettings::read(&Root::open(dir.path()).unwrap())
    }

    #[test]
    fn later_files_win_key_by_key() {
        let found = settings(&[
            ("etc/lava-server/instance.conf", "LAVA_INSTANCE=\"old\"\nLAVA_DB_NAME='olddb'\nLAVA_DB_USER='u' # x\n"),
            ("etc/lava-server/settings.conf", "{\"MEDIA_ROOT\": \"/srv/a\", \"DEBUG\": false}"),
            ("etc/lava-server/settings.d/00-database.yaml",
             "DATABASES:\n  default:\n    ENGINE: django.db.backends.postgresql\n    NAME: lavaserver\n    USER: lavaserver\n    PASSWORD: \"p:w\"\n    HOST: localhost\n    PORT: 5433\n"),
            ("etc/lava-server/settings.d/10-site.yaml", "MEDIA_ROOT: /srv/b\n"),
            ("etc/lava-server/settings.d/.00-early.yaml", "MEDIA_ROOT: /srv/d\nLAVA_LOG_BACKEND: hidden\n"),
            ("etc/lava-server/settings.d/20-ignored.yaml.bak", "MEDIA_ROOT: /srv/c\n"),
            ("etc/lava-server/lava-server-gunicorn", "# WORKERS=4\nLAVA_SETTINGS_INSTANCE_NAME=\"site\"\n"),
        ])
        .unwrap();
        assert_eq!(found.media_root, Path::new("/srv/b"));
        assert_eq!(found.log_backend, "hidden");
        assert_eq!(found.instance_name.as_deref(), Some("site"));
        let database = found.database.unwrap();
        assert_eq!(database.database, "lavaserver");
        assert_eq!(database.port, 5433);
        assert_eq!(database.password, Some(Password::new("p:w")));
    }

    #[test]
    fn without_settings_there_are_lavas_defaults() {
        let found = settings(&[]).unwrap();
        assert_eq!(found.media_root, Path::new(MEDIA_ROOT));
        assert_eq!(found.log_backend, LOGS_IN_FILES);
        assert!(found.database.is_none());
    }

    #[test]
    fn a_connection_that_must_be_encrypted_is_not_made_in_the_clear() {
        let text = "DATABASES:\n  default:\n    NAME: l\n    USER: l\n    OPTIONS: {sslmode: verify-full}\n";
        let failed = settings(&[("etc/lava-server/settings.yaml", text)]).unwrap_err();
        assert!(failed.to_string().contains("verify-full"), "{failed}");
    }

    #[test]
    fn a_broken_file_is_named_without_what_it_holds() {
        let failed = settings(&[("etc/lava-server/settings.d/x.yaml", "PASSWORD: \"hunter2")]);
        let failed = failed.unwrap_err().to_string();
        assert!(failed.contains("settings.d/x.yaml"), "{failed}");
        assert!(!failed.contains("hunter2"));
    }
}
