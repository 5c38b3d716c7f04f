//! Who reaches a real LAVA while only its workers may.

use crate::release::Release;

/// A second way to LAVA, whose own rules let everybody in.
const OWN_SITE: &str = r#"Listen 8443
<VirtualHost *:8443>
    ProxyPreserveHost On
    ProxyPass / http://127.0.0.1:8000/
    <Location "/">
        Require all granted
    </Location>
</VirtualHost>
"#;

/// A page of users', also by a doubled slash, out of what is open, and escaped.
const USERS: [&str; 5] = [
    "/api/v0.2/system/version/",
    "//api/v0.2/system/version/",
    "/tmp/../api/v0.2/system/version/",
    "/tmp/%2e%2e/api/v0.2/system/version/",
    "/%61pi/v0.2/system/version/",
];

/// The status of each page, by its port and path.
const ASK: &str = "import socket, sys\n\
    for page in sys.argv[1:]:\n\
    \x20 port, path = page.split(' ')\n\
    \x20 s = socket.create_connection(('127.0.0.1', int(port)), 60)\n\
    \x20 s.sendall(f'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'.encode())\n\
    \x20 print(s.recv(64).split()[1].decode(), page)";

on_each_release!(no_site_of_apaches_lets_users_in_while_only_workers_may);

fn no_site_of_apaches_lets_users_in_while_only_workers_may(release: &Release) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let lab = release.master(dir.path().join("lab"));
    let site = lab.dir.join("etc/apache2/sites-available/own.conf");
    std::fs::write(site, OWN_SITE).unwrap();
    let close = "set -e; a2ensite -q own lava-server; lava-backup admit workers\n\
        a2enconf -q lava-backup-workers-only; systemctl reload apache2.service; sleep 2";
    lab.run(&["sh", "-c", close]).ends(0);
    let mut pages = Vec::new();
    for port in ["80", "8443"] {
        pages.extend(USERS.map(|path| (format!("{port} {path}"), "403")));
        // LAVA's own answer: no worker is named.
        pages.push((format!("{port} /scheduler/internal/v1/workers/"), "404"));
    }
    let mut ask = vec!["python3", "-c", ASK];
    ask.extend(pages.iter().map(|(page, _)| page.as_str()));
    let found = lab.run(&ask).ends(0).out;
    let wanted: String = pages
        .iter()
        .map(|(page, status)| format!("{status} {page}\n"))
        .collect();
    assert_eq!(found, wanted);
}
