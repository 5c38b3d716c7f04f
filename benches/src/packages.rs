//! What dpkg knows of a host.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::migrations;
use crate::tree::{ROOT, Tree};

/// An installed package.
struct Package {
    name: &'static str,
    version: &'static str,
    arch: &'static str,
    section: &'static str,
    /// Further fields, each a line: relations name packages of the host only.
    fields: &'static str,
    /// Files of its own, besides migrations.
    files: &'static [&'static str],
}

/// What kind of host to lay out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Worker,
}

/// Write dpkg's database and the files of packages that LAVA is known by.
pub(crate) fn write(tree: &mut Tree, role: Role) -> Result<(), Error> {
    let mut status = String::new();
    let alone = match role {
        Role::Master => MASTER,
        Role::Worker => &[],
    };
    for package in BASE.iter().chain(alone) {
        let Package {
            name,
            version,
            arch,
            section,
            fields,
            ..
        } = package;
        status.push_str(&format!(
            "Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: {section}\n\
             Installed-Size: 100\nMaintainer: {name} maintainers <{name}@packages.debian.org>\n\
             Architecture: {arch}\n{fields}Version: {version}\nDescription: {name} of a generated lab\n \
             Its files are those that a backup has to look at.\n\n"
        ));
        let mut files: Vec<String> = package.files.iter().map(ToString::to_string).collect();
        if role == Role::Master {
            for app in migrations::APPS.iter().filter(|app| app.package == *name) {
                for (path, text) in migrations::files(app) {
                    tree.file(&path, ROOT, 0o644, text)?;
                    files.push(path);
                }
            }
        }
        let info = if fields.contains("Multi-Arch: same\n") {
            format!("{name}:{arch}")
        } else {
            name.to_string()
        };
        tree.file(
            &format!("var/lib/dpkg/info/{info}.list"),
            ROOT,
            0o644,
            list(&files),
        )?;
        tree.file(
            &format!("var/lib/dpkg/info/{info}.md5sums"),
            ROOT,
            0o644,
            "",
        )?;
    }
    tree.file("var/lib/dpkg/info/format", ROOT, 0o644, "1\n")?;
    tree.file("var/lib/dpkg/status", ROOT, 0o644, status)?;
    tree.file("var/lib/dpkg/available", ROOT, 0o644, "")?;
    tree.dir("var/lib/dpkg/updates", ROOT, 0o755)?;
    tree.dir("var/lib/dpkg/triggers", ROOT, 0o755)?;
    tree.file(
        "usr/lib/python3/dist-packages/lava_common/VERSION",
        ROOT,
        0o644,
        "2023.01",
    )
}

/// A package's files with the directories above them, as dpkg lists them.
fn list(files: &[String]) -> String {
    let mut all = BTreeSet::new();
    for file in files {
        all.extend(file.match_indices('/').map(|(at, _)| &file[..at]));
        all.insert(file);
    }
    all.iter()
        .fold("/.\n".into(), |text, path| text + "/" + path + "\n")
}

/// On every host of a lab. The sums of configuration files are those of the
/// packages; what lies there is the site's own, so dpkg calls it changed.
const BASE: &[Package] = &[
    Package {
        name: "base-files",
        version: "12.4+deb12u15",
        arch: "amd64",
        section: "admin",
        fields: "Essential: yes\nMulti-Arch: foreign\nConffiles:\n /etc/debian_version da9f3e5a56d6162ea9d5feed57fbf349\n",
        files: &["etc/debian_version", "usr/lib/os-release"],
    },
    Package {
        name: "dpkg",
        version: "1.21.23",
        arch: "amd64",
        section: "admin",
        fields: "Essential: yes\nMulti-Arch: foreign\nPre-Depends: libc6 (>= 2.34)\n",
        files: &["usr/bin/dpkg"],
    },
    Package {
        name: "lava-common",
        version: "2023.01-2",
        arch: "all",
        section: "net",
        fields: "Source: lava\nDepends: python3-yaml, python3:any (>= 3.6~)\n",
        files: &["usr/lib/python3/dist-packages/lava_common/VERSION"],
    },
    Package {
        name: "lava-dispatcher",
        version: "2023.01-2",
        arch: "all",
        section: "net",
        fields: "Source: lava\nDepends: lava-common (= 2023.01-2), lava-dispatcher-host (= 2023.01-2), python3-yaml, \
                 python3:any (>= 3.6~)\nConffiles:\n \
                 /etc/exports.d/lava-dispatcher-nfs.exports 9e484d98adb5fddbe30a0fd2f8ee967e\n \
                 /etc/lava-dispatcher/lava-worker 081e297c28b78537dcc09839ab19b1b1\n \
                 /etc/modprobe.d/lava-modules.conf 5a734f8acde7138fe9a5d8bd8f9a01c4\n",
        files: &[
            "etc/exports.d/lava-dispatcher-nfs.exports",
            "etc/lava-dispatcher/lava-worker",
            "etc/modprobe.d/lava-modules.conf",
            "usr/bin/lava-worker",
        ],
    },
    Package {
        name: "lava-dispatcher-host",
        version: "2023.01-2",
        arch: "all",
        section: "net",
        fields: "Source: lava\nDepends: lava-common (= 2023.01-2), python3:any (>= 3.6~)\n",
        files: &["usr/bin/lava-dispatcher-host"],
    },
    Package {
        name: "libc6",
        version: "2.36-9+deb12u14",
        arch: "amd64",
        section: "libs",
        fields: "Multi-Arch: same\nSource: glibc\n",
        files: &["lib/x86_64-linux-gnu/libc.so.6"],
    },
    Package {
        name: "python3",
        version: "3.11.2-1+b1",
        arch: "amd64",
        section: "python",
        fields: "Multi-Arch: allowed\nSource: python3-defaults (3.11.2-1)\nDepends: libc6 (>= 2.34)\n",
        files: &["usr/bin/python3"],
    },
    Package {
        name: "python3-yaml",
        version: "6.0-3+b2",
        arch: "amd64",
        section: "python",
        fields: "Multi-Arch: allowed\nSource: pyyaml (6.0-3)\nDepends: python3 (>= 3.11~), libc6 (>= 2.14)\n",
        files: &["usr/lib/python3/dist-packages/yaml/__init__.py"],
    },
];

/// On a master alone.
const MASTER: &[Package] = &[
    Package {
        name: "apache2",
        version: "2.4.71-1~deb12u1",
        arch: "amd64",
        section: "httpd",
        fields: "Depends: libc6 (>= 2.34)\n",
        files: &["usr/sbin/a2ensite"],
    },
    Package {
        name: "lava-server",
        version: "2023.01-2",
        arch: "all",
        section: "net",
        fields: "Source: lava\nDepends: lava-common (= 2023.01-2), lava-server-doc (= 2023.01-2), postgresql-client, \
                 python3-django, python3-djangorestframework, python3-yaml, python3:any (>= 3.6~)\n\
                 Recommends: apache2, lava-dispatcher (= 2023.01-2), postgresql\nConffiles:\n \
                 /etc/apache2/sites-available/lava-server.conf b1af94c239c7016774e24a300ac17db7\n \
                 /etc/lava-server/env.yaml 43dde1e0a28bb23f62fb3a0e7a93a19f\n \
                 /etc/lava-server/lava-publisher 85d9e82419b8b4e8e6e9fc55bffe089d\n \
                 /etc/lava-server/lava-scheduler caa06f4daad5e2eac420f88713198f62\n \
                 /etc/lava-server/lava-server-gunicorn 46f9145df0763db6491ff6ab819df99e\n",
        files: &[
            "etc/apache2/sites-available/lava-server.conf",
            "etc/lava-server/env.yaml",
            "etc/lava-server/lava-publisher",
            "etc/lava-server/lava-scheduler",
            "etc/lava-server/lava-server-gunicorn",
            "usr/bin/lava-server",
        ],
    },
    Package {
        name: "lava-server-doc",
        version: "2023.01-2",
        arch: "all",
        section: "doc",
        fields: "Source: lava\n",
        files: &["usr/share/doc/lava-server-doc/copyright"],
    },
    Package {
        name: "postgresql",
        version: "15+248+deb12u2",
        arch: "all",
        section: "database",
        fields: "Source: postgresql-common (248+deb12u2)\nDepends: postgresql-15\n",
        files: &["usr/share/doc/postgresql/copyright"],
    },
    Package {
        name: "postgresql-15",
        version: "15.20-0+deb12u1",
        arch: "amd64",
        section: "database",
        fields: "Depends: postgresql-client-15, postgresql-common (>= 241~), libc6 (>= 2.34)\n",
        files: &["usr/lib/postgresql/15/bin/postgres"],
    },
    Package {
        name: "postgresql-client-15",
        version: "15.20-0+deb12u1",
        arch: "amd64",
        section: "database",
        fields: "Source: postgresql-15\nProvides: postgresql-client\nDepends: postgresql-client-common, libc6 (>= 2.34)\n",
        files: &["usr/lib/postgresql/15/bin/pg_dump"],
    },
    Package {
        name: "postgresql-client-common",
        version: "248+deb12u2",
        arch: "all",
        section: "database",
        fields: "Multi-Arch: foreign\nSource: postgresql-common\n",
        files: &["usr/bin/psql"],
    },
    Package {
        name: "postgresql-common",
        version: "248+deb12u2",
        arch: "all",
        section: "database",
        fields: "Multi-Arch: foreign\nDepends: postgresql-client-common (= 248+deb12u2)\n",
        files: &["usr/bin/pg_lsclusters"],
    },
    Package {
        name: "python3-django",
        version: "3:3.2.25-0+deb12u3",
        arch: "all",
        section: "python",
        fields: "Source: python-django\nDepends: python3:any\n",
        files: &[],
    },
    Package {
        name: "python3-djangorestframework",
        version: "3.14.0-2+deb12u1",
        arch: "all",
        section: "python",
        fields: "Source: djangorestframework\nDepends: python3-django (>= 2:2.2~), python3:any\n",
        files: &[],
    },
];
