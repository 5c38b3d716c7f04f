//! What every Debian host of a lab has, and the configuration of LAVA on it.

use crate::dice::Dice;
use crate::error::Error;
use crate::lab::{DEVICE_TYPES, Lab, WORKERS};
use crate::packages::Role;
use crate::tree::{LAVA, LAVA_ADM, ROOT, Tree};

/// Write the base of a Debian 12 host.
pub(crate) fn debian(tree: &mut Tree, name: &str, role: Role) -> Result<(), Error> {
    let (user, group) = match role {
        Role::Master => (
            "postgres:x:100:109:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n\
             lavaserver:x:103:111::/var/lib/lava-server/home/:/bin/sh\n",
            "postgres:x:109:\nlavaserver:x:111:\n",
        ),
        Role::Worker => ("", ""),
    };
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n{user}"
    );
    let groups = format!("root:x:0:\nadm:x:4:\nwww-data:x:33:\n{group}");
    tree.file("usr/lib/os-release", ROOT, 0o644, OS_RELEASE)?;
    tree.link("etc/os-release", "../usr/lib/os-release")?;
    tree.file("etc/debian_version", ROOT, 0o644, "12.15\n")?;
    tree.file("etc/hostname", ROOT, 0o644, format!("{name}\n"))?;
    tree.file(
        "etc/hosts",
        ROOT,
        0o644,
        format!("127.0.0.1 localhost {name}\n::1 localhost\n"),
    )?;
    tree.file("etc/passwd", ROOT, 0o644, passwd)?;
    tree.file("etc/group", ROOT, 0o644, groups)?;
    tree.file("etc/apt/sources.list", ROOT, 0o644, SOURCES)
}

/// Write the configuration of lava-server and its web server.
pub(crate) fn server(tree: &mut Tree, lab: &Lab) -> Result<(), Error> {
    services(tree)?;
    let mut dice = Dice::new(lab.seed, u64::MAX / 2);
    let etc = "etc/lava-server";
    tree.dir(&format!("{etc}/settings.d"), ROOT, 0o755)?;
    let database = format!(
        "# Note: DO NOT PUBLISH THIS FILE.\nDATABASES:\n  default:\n    ENGINE: \"django.db.backends.postgresql\"\n    \
         NAME: \"lavaserver\"\n    USER: \"lavaserver\"\n    PASSWORD: \"{}\"\n    HOST: \"localhost\"\n    PORT: 5432\n",
        dice.token(12)
    );
    tree.file(
        &format!("{etc}/settings.d/00-database.yaml"),
        LAVA,
        0o640,
        database,
    )?;
    let key = format!(
        "# Note: DO NOT PUBLISH THIS FILE.\nSECRET_KEY: \"{}\"\n",
        dice.token(50)
    );
    tree.file(
        &format!("{etc}/settings.d/00-secret-key.yaml"),
        LAVA,
        0o640,
        key,
    )?;
    tree.file(&format!("{etc}/env.yaml"), ROOT, 0o644, ENV)?;
    for unit in ["lava-publisher", "lava-scheduler", "lava-server-gunicorn"] {
        let text = format!("# Configuration for {unit} daemon\n# LOGLEVEL=\"DEBUG\"\n");
        tree.file(&format!("{etc}/{unit}"), ROOT, 0o644, text)?;
    }
    for folder in ["devices", "device-types", "health-checks"] {
        tree.dir(&format!("{etc}/dispatcher-config/{folder}"), LAVA, 0o755)?;
    }
    for kind in DEVICE_TYPES {
        let folder = format!("{etc}/dispatcher-config");
        let own = format!(
            "{{% extends 'base.jinja2' %}}\n{{# {kind}: règles du labo #}}\n{{% block body %}}{{% endblock %}}\n"
        );
        tree.file(
            &format!("{folder}/device-types/{kind}.jinja2"),
            LAVA,
            0o644,
            own,
        )?;
        let check = format!(
            "job_name: health-{kind}\ndevice_type: {kind}\nvisibility: public\npriority: high\nactions: []\n"
        );
        tree.file(
            &format!("{folder}/health-checks/{kind}.yaml"),
            LAVA,
            0o644,
            check,
        )?;
    }
    for number in 0..lab.devices() {
        let device = lab.device(number);
        let text = format!(
            "{{% extends '{}.jinja2' %}}\n{{% set mac_addr = '52:54:00:12:{:02x}:{:02x}' %}}\n\
             {{% set connection_command = 'telnet console{:02} {}' %}}\n",
            device.kind,
            number / 256,
            number % 256,
            number % 4,
            7000 + number
        );
        tree.file(
            &format!("{etc}/dispatcher-config/devices/{}.jinja2", device.hostname),
            LAVA,
            0o644,
            text,
        )?;
    }
    tree.dir(&format!("{etc}/dispatcher.d"), LAVA, 0o755)?;
    for (number, (worker, _)) in WORKERS.iter().enumerate() {
        let folder = format!("{etc}/dispatcher.d/{worker}");
        tree.dir(&folder, LAVA, 0o755)?;
        tree.file(
            &format!("{folder}/dispatcher.yaml"),
            LAVA,
            0o644,
            format!("dispatcher_ip: 192.0.2.{}\n", number + 10),
        )?;
        tree.file(&format!("{folder}/env.yaml"), LAVA, 0o644, ENV)?;
    }
    tree.file(
        "etc/apache2/sites-available/lava-server.conf",
        ROOT,
        0o644,
        APACHE,
    )?;
    tree.link(
        "etc/apache2/sites-enabled/lava-server.conf",
        "../sites-available/lava-server.conf",
    )?;
    for module in ["proxy", "proxy_http"] {
        tree.file(
            &format!("etc/apache2/mods-available/{module}.load"),
            ROOT,
            0o644,
            format!("LoadModule {module}_module mod.so\n"),
        )?;
        tree.link(
            &format!("etc/apache2/mods-enabled/{module}.load"),
            &format!("../mods-available/{module}.load"),
        )?;
    }
    tree.dir("var/log/lava-server", ROOT, 0o2775)?;
    for (log, owner) in [
        ("django", LAVA_ADM),
        ("gunicorn", LAVA),
        ("lava-publisher", ROOT),
        ("lava-scheduler", ROOT),
    ] {
        tree.file(
            &format!("var/log/lava-server/{log}.log"),
            owner,
            0o664,
            daemon_log(lab, log),
        )?;
    }
    tree.dir("var/lib/lava-server/default", LAVA, 0o755)?;
    tree.dir(
        "var/lib/lava-server/default/archive/job-output",
        ROOT,
        0o755,
    )?;
    tree.dir("var/lib/lava-server/default/media", LAVA, 0o755)?;
    tree.dir("var/lib/lava-server/home", LAVA, 0o755)
}

/// LAVA's units, of which all but one start at boot, and PostgreSQL's cluster.
fn services(tree: &mut Tree) -> Result<(), Error> {
    let units = [
        ("lava-publisher", true),
        ("lava-scheduler", true),
        ("lava-server-gunicorn", true),
        ("lava-celery-worker", false),
    ];
    for (unit, enabled) in units {
        let path = format!("/lib/systemd/system/{unit}.service");
        tree.file(
            &format!("usr{path}"),
            ROOT,
            0o644,
            format!(
                "[Unit]\nDescription=LAVA {unit}\n\n[Service]\nEnvironmentFile=-/etc/lava-server/{unit}\n\
                 ExecStart=/usr/bin/{unit}\n\n[Install]\nWantedBy=multi-user.target\n"
            ),
        )?;
        if enabled {
            tree.link(
                &format!("etc/systemd/system/multi-user.target.wants/{unit}.service"),
                &path,
            )?;
        }
    }
    tree.file(
        "etc/postgresql/15/main/postgresql.conf",
        ROOT,
        0o644,
        "port = 5432\t\t\t\t# (change requires restart)\n",
    )
}

/// Write the configuration and the state of lava-worker.
pub(crate) fn worker(tree: &mut Tree, lab: &Lab, name: &str, url: &str) -> Result<(), Error> {
    let text = format!(
        "# Configuration for lava-worker daemon\nURL=\"{url}\"\nWORKER_NAME=\"--name {name}\"\n# LOGLEVEL=\"DEBUG\"\n"
    );
    tree.file("etc/lava-dispatcher/lava-worker", ROOT, 0o644, text)?;
    tree.file(
        "etc/exports.d/lava-dispatcher-nfs.exports",
        ROOT,
        0o644,
        "/var/lib/lava/dispatcher/tmp *(rw,no_root_squash,no_all_squash,async,no_subtree_check)\n",
    )?;
    tree.file(
        "etc/modprobe.d/lava-modules.conf",
        ROOT,
        0o644,
        "install brltty /bin/false\n",
    )?;
    let state = "var/lib/lava/dispatcher";
    for folder in ["cache", "results", "tmp", "worker/tmp"] {
        tree.dir(&format!("{state}/{folder}"), ROOT, 0o755)?;
    }
    // A real one ends without a newline, and lava-worker reads it as it is.
    tree.file(
        &format!("{state}/worker/token"),
        ROOT,
        0o600,
        lab.worker_token(name),
    )?;
    tree.file(
        &format!("{state}/worker/db.sqlite3"),
        ROOT,
        0o644,
        // SQLite takes an empty file for an empty database.
        "",
    )?;
    tree.file(
        "var/log/lava-dispatcher/lava-worker.log",
        ROOT,
        0o644,
        daemon_log(lab, "lava-worker"),
    )
}

/// A day or so of what a daemon logs.
fn daemon_log(lab: &Lab, name: &str) -> String {
    let mut dice = Dice::new(lab.seed, name.bytes().map(u64::from).sum::<u64>() << 32);
    let mut when = lab.until.0 - 3_600_000_000;
    (0..500).fold(String::new(), |text, line| {
        when += dice.below(7_000_000);
        let moment = crate::Moment(when).to_string();
        let micros = &moment[20..23];
        text + &moment[..19]
            + &format!(
                ",{micros}   DEBUG [{name}] {line}: scheduling health checks, {} µs\n",
                dice.below(90_000)
            )
    })
}

const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"
NAME=\"Debian GNU/Linux\"
VERSION_ID=\"12\"
VERSION=\"12 (bookworm)\"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL=\"https://www.debian.org/\"
SUPPORT_URL=\"https://www.debian.org/support\"
BUG_REPORT_URL=\"https://bugs.debian.org/\"
";

const SOURCES: &str = "deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://security.debian.org/debian-security bookworm-security main
";

const ENV: &str = "purge: true
overrides:
  LC_ALL: C.UTF-8
  LANG: C
  PATH: /usr/local/bin:/usr/local/sbin:/bin:/usr/bin:/usr/sbin:/sbin
";

const APACHE: &str = "<VirtualHost *:80>
    ServerAdmin webmaster@localhost
    ProxyPass /ws/ ws://127.0.0.1:8001/ws/
    ProxyPass / http://127.0.0.1:8000/
    ProxyPassReverse / http://127.0.0.1:8000/
    ProxyPreserveHost On
    ErrorLog ${APACHE_LOG_DIR}/lava-server.log
</VirtualHost>
";
