//! What LAVA kept of devices and jobs up to 2017.12 is told in the words of the time since.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Host, cluster, database, lava_backup, url};
use serde_json::json;

/// As LAVA's models had them then: `status` of both, `health_status` of a device.
const TABLES: &str = "SET ROLE lavaserver; SET search_path = public;
    CREATE TABLE django_migrations (app text, name text);
    CREATE TABLE lava_scheduler_app_device (hostname text, status int, health_status int);
    CREATE TABLE lava_scheduler_app_testjob (id int, status int);
    CREATE TABLE lava_scheduler_app_worker (hostname text, display boolean);
    INSERT INTO lava_scheduler_app_device VALUES
        ('offline', 0, 1), ('idle', 1, 1), ('running', 2, 0), ('offlining', 3, 2),
        ('retired', 4, 0), ('reserved', 5, 3);
    INSERT INTO lava_scheduler_app_testjob SELECT n, (n - 1) % 6 FROM generate_series(1, 12) n;
    INSERT INTO lava_scheduler_app_worker VALUES ('rack-b', true), ('rack-a', true), ('gone', false)";

#[test]
fn a_lab_of_2017_is_known_by_the_words_of_today() {
    let host = Host::new(1);
    let server = cluster();
    database(&server, None);
    server.superuser().query("lavaserver", TABLES).unwrap();
    let root = host.text("root");
    let url = url(&server, "lavaserver");
    let facts = lava_backup(&["facts", "--root", &root, "--database", &url]);
    let found = &facts.ends(0).json()["database"];
    let devices = json!({
        "GOOD": ["idle"], "UNKNOWN": ["running"], "LOOPING": ["reserved"], "BAD": ["offlining"],
        "MAINTENANCE": ["offline"], "RETIRED": ["retired"],
    });
    assert_eq!(found["devices_by_health"], devices);
    let jobs = json!({ "SUBMITTED": 2, "RUNNING": 2, "CANCELING": 2, "FINISHED": 6 });
    assert_eq!(found["jobs_by_state"], jobs);
    let active = [
        (2, "RUNNING"),
        (6, "CANCELING"),
        (8, "RUNNING"),
        (12, "CANCELING"),
    ];
    let active = active.map(|(id, state)| json!({ "id": id, "state": state }));
    assert_eq!(found["active_jobs"], json!(active));
    assert_eq!(found["worker_names"], json!(["rack-a", "rack-b"]));
}
