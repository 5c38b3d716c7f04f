//! A master whose database, logs and packages do not fit each other does not pass a drill.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Host, cluster, database, url};
use lava_backup_core::{Class, Kind, Meta, SealInput, Store};
use lava_backup_pg::Scratch;
use serde_json::{Value, json};

/// A lab with its database, to be backed up.
struct Lab {
    host: Host,
    cluster: Scratch,
}

impl Lab {
    fn new() -> Self {
        let host = Host::new(12);
        let cluster = cluster();
        database(&cluster, Some(&host.lab));
        Self { host, cluster }
    }

    fn create(&self, code: i32) -> Value {
        let (root, address) = (self.host.text("root"), url(&self.cluster, "lavaserver"));
        let arguments = ["--root", &root, "--database", &address, "--json"];
        self.host.run("create", &arguments).ends(code).json()
    }

    fn drill(&self, backup: &str, code: i32) -> Value {
        self.host
            .run("drill", &[backup, "--json"])
            .ends(code)
            .json()
    }
}

/// What a drill says of one thing that it looked at.
fn check<'d>(drilled: &'d Value, what: &str) -> &'d Value {
    let mut checks = drilled["checks"].as_array().unwrap().iter();
    checks.find(|c| c["what"] == what).unwrap()
}

/// The log of some job.
fn a_log(dir: PathBuf) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    found.sort();
    let is_log = |path: &&PathBuf| path.ends_with("output.yaml");
    let log = found.iter().find(is_log).cloned();
    log.or_else(|| {
        found
            .into_iter()
            .filter(|path| path.is_dir())
            .find_map(a_log)
    })
}

/// The same backup once more, whose seal tells of no problem.
fn without_problems(store: &Store, backup: &str) -> String {
    let backup = store.backup(&backup.parse().unwrap()).unwrap();
    let id = format!("{}-silent", backup.id());
    let mut writer = store.create(id.parse().unwrap()).unwrap();
    let frames = backup.frames().unwrap();
    for entry in backup.index().unwrap() {
        let entry = entry.unwrap();
        if entry.kind == Kind::File {
            let mut content = Vec::new();
            backup.read(&frames, &entry, &mut content).unwrap();
            let meta = Meta::private(Class::Plain, entry.mtime);
            writer.add_file(entry.path, meta, &content).unwrap();
        }
    }
    let seal = backup.seal();
    let input = SealInput {
        tool: seal.tool.clone(),
        host: seal.host.clone(),
        taken: seal.taken.clone(),
        sealed: seal.sealed.clone(),
        documents: seal.documents.clone(),
    };
    writer.seal(input).unwrap();
    id
}

#[test]
fn a_finished_job_lacks_its_log_only_where_the_seal_tells_of_it() {
    const WHAT: &str = "finished jobs without a log";
    let lab = Lab::new();
    let log = a_log(
        lab.host
            .at("root/var/lib/lava-server/default/media/job-output"),
    )
    .unwrap();
    let job = log.parent().unwrap().file_name().unwrap().to_str().unwrap();
    fs::remove_file(&log).unwrap();
    let made = lab.create(0);
    let problem = &made["problems"][0];
    assert_eq!(problem["code"], "jobs.without-log", "{made:#}");
    let backup = made["backup"].as_str().unwrap();
    let drilled = lab.drill(backup, 0);
    assert_eq!(check(&drilled, WHAT)["found"], problem["message"]);

    let store = Store::open(&lab.host.at("store")).unwrap();
    let silent = without_problems(&store, backup);
    let drilled = lab.drill(&silent, 5);
    assert_eq!(drilled["passed"], false);
    assert_eq!(drilled["files_differ"], json!([]), "{drilled:#}");
    let failed = check(&drilled, WHAT);
    assert_eq!(
        (&failed["held"], &failed["expected"]),
        (&json!(false), &json!("none"))
    );
    let found = failed["found"].as_str().unwrap();
    assert!(found.ends_with(&format!("ids: {job}")), "{found}");
    let text = lab.host.run("drill", &[&silent]).ends(5).out;
    assert!(
        text.contains(&format!("DIFFERS  {WHAT}: 1 finished job")),
        "{text}"
    );
}

#[test]
fn a_row_of_a_migration_that_no_package_ships_fails_a_drill() {
    let lab = Lab::new();
    let phantom = "INSERT INTO public.django_migrations (id, app, name, applied) \
        VALUES (0, 'lava_results_app', '0099_phantom', now())";
    lab.cluster
        .superuser()
        .query("lavaserver", phantom)
        .unwrap();
    let backup = lab.create(5)["backup"].as_str().unwrap().to_owned();
    let drilled = lab.drill(&backup, 5);
    assert_eq!(drilled["tables_differ"], json!([]), "{drilled:#}");
    let failed = check(&drilled, "migrations");
    assert_eq!(failed["held"], false);
    assert_eq!(
        failed["found"],
        "only in the database: lava_results_app.0099_phantom"
    );
}
