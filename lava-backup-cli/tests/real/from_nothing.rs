//! From nothing, with no network: a system is built of the .debs of a backup alone, and a bare
//! Debian becomes the master that was backed up, with the same packages, serving LAVA.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::PROGRAM;
use crate::common::Ran;
use crate::master::{self, Master};
use crate::release::Release;

const JOBS: u32 = 50;
/// What a job that is added or started changes. One that is ended before it began gets both times
/// at once.
const STARTED: &str = "SELECT max(id), count(start_time), max(start_time) \
    FROM lava_scheduler_app_testjob WHERE start_time IS DISTINCT FROM end_time";
/// Within a master.
const STORE: &str = "/srv/store";

/// A clone of a master that stands still; gone when dropped.
struct Clone(PathBuf);

impl Clone {
    /// As a running master, which takes it over.
    fn boot(self, program: &Path) -> Master {
        lava_master(&["start", text(&self.0)]).ends(0);
        fs::copy(program, self.0.join("usr/local/bin/lava-backup")).unwrap();
        let master = Master {
            dir: self.0.clone(),
        };
        std::mem::forget(self);
        master
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = lava_master(&["delete", text(&self.0)]);
    }
}

fn lava_master(arguments: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/real-lava/lava-master");
    let mut command = Command::new(script);
    let out = command.args(arguments).stdin(Stdio::null()).output();
    out.unwrap().into()
}

fn lava_backup(program: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    let out = command.args(arguments).stdin(Stdio::null()).output();
    out.unwrap().into()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(command: &mut Command) -> String {
    let ran: Ran = command.stdin(Stdio::null()).output().unwrap().into();
    assert_eq!(ran.code, 0, "{command:?}\n{}\n{}", ran.out, ran.err);
    ran.out
}

/// `name version architecture state` of each package that dpkg knows.
fn packages(root: &Path) -> Vec<String> {
    let out = run(&mut dpkg_query(root));
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn dpkg_query(root: &Path) -> Command {
    let form = "${Package} ${Version} ${Architecture} ${db:Status-Status}\n";
    let admin = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let mut query = Command::new("dpkg-query");
    query.args([&admin, "-W", "-f", form]);
    query
}

/// .debs that were downloaded once, and the indexes that name them.
struct Cache(PathBuf);

impl Cache {
    fn name(line: &str) -> String {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap();
        let (name, version, arch) = (next(), next(), next());
        format!("{name}_{}_{arch}.deb", version.replace(':', "%3a"))
    }

    /// Gives a host what is here; otherwise its apt reads its indexes.
    fn fill(&self, root: &Path) {
        let archives = root.join("var/cache/apt/archives");
        let warm = packages(root)
            .iter()
            .all(|line| self.0.join("archives").join(Self::name(line)).exists());
        fs::create_dir_all(&archives).unwrap();
        if warm {
            run(Command::new("cp")
                .arg("-rT")
                .args([self.0.join("lists"), root.join("var/lib/apt/lists")]));
            run(Command::new("cp")
                .arg("-rT")
                .args([self.0.join("archives"), archives]));
        } else {
            run(Command::new("chroot")
                .arg(root)
                .args(["apt-get", "-q", "update"]));
        }
    }

    /// Keeps what a host's apt knows, and the .debs of a repository.
    fn keep(&self, root: &Path, repository: &Path) {
        if self.0.join("archives").exists() {
            fs::remove_dir_all(&self.0).unwrap();
        }
        let making = self.0.with_extension("making");
        let _ = fs::remove_dir_all(&making);
        fs::create_dir_all(making.join("archives")).unwrap();
        for line in packages(root) {
            let name = Self::name(&line);
            let mut words = line.split(' ');
            let (package, version) = (words.next().unwrap(), words.next().unwrap());
            let version = version.split_once(':').map_or(version, |(_, rest)| rest);
            let arch = words.next().unwrap();
            let deb = repository.join(format!("{package}_{version}_{arch}.deb"));
            fs::copy(deb, making.join("archives").join(name)).unwrap();
        }
        run(Command::new("cp")
            .arg("-rT")
            .args([root.join("var/lib/apt/lists"), making.join("lists")]));
        fs::rename(making, &self.0).unwrap();
    }
}

on_each_release!(a_backup_alone_makes_a_system_and_a_bare_debian_a_serving_master);

fn a_backup_alone_makes_a_system_and_a_bare_debian_a_serving_master(release: &Release) {
    let program = Path::new(PROGRAM);
    let lava_backup = |arguments: &[&str]| lava_backup(program, arguments);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let lab = Clone(dir.path().join("lab"));
    lava_master(&["clone", text(&release.pristine()), text(&lab.0)]).ends(0);
    let cache = Cache(release.debs("debs"));
    cache.fill(&lab.0);
    let before = packages(&lab.0);
    assert!(before.len() > 200 && before.iter().all(|line| line.ends_with(" installed")));

    fs::create_dir_all(lab.0.join("srv")).unwrap();
    let store = lab.0.join("srv/store").to_str().unwrap().to_owned();
    lava_backup(&["init", "--store", &store]).ends(0);
    let create = |code| {
        let root = [
            "--root",
            text(&lab.0),
            "--no-database",
            "--packages",
            "closure",
            "--json",
        ];
        let made = lava_backup(&[&["create", "--store", &store][..], &root].concat());
        made.ends(code).json()
    };
    let made = create(0);
    assert_eq!(made["debs"], before.len() as u64, "{made:#}");
    let manifest = lava_backup(&["cat", "--store", &store, "latest", "packages/debs.json"]).ends(0);
    let manifest: Value = serde_json::from_str(&manifest.out).unwrap();
    assert_eq!(manifest["closed"], true, "{manifest:#}");
    for deb in manifest["debs"].as_array().unwrap() {
        assert_eq!(deb["installed_build"], true, "{deb:#}");
        assert_eq!(deb["index"], "same", "{deb:#}");
    }
    let repository = dir.path().join("repository");
    let to = ["--to", text(&repository)];
    lava_backup(&[&["packages", "repo", "--store", &store, "latest"], &to[..]].concat()).ends(0);
    cache.keep(&lab.0, &repository);
    what_the_backup_lacks_comes_from_where_the_host_has_its_own(release, &lab.0, &repository);
    fs::remove_dir_all(&repository).unwrap();

    // With every .deb in an earlier backup, neither cache nor mirror is needed.
    fs::remove_dir_all(lab.0.join("var/cache/apt/archives")).unwrap();
    fs::remove_dir_all(lab.0.join("var/lib/apt/lists")).unwrap();
    let again = create(0);
    assert_eq!(again["debs"], before.len() as u64);
    let (first, second) = (
        made["new_bytes"].as_u64().unwrap(),
        again["new_bytes"].as_u64().unwrap(),
    );
    assert!(
        second * 100 < first,
        "{second} bytes are new beside {first}"
    );

    let lab = lab.boot(program);
    let new = Clone(dir.path().join("target"));
    lava_master(&["clone", text(&release.root("bare")), text(&new.0)]).ends(0);
    becomes_a_serving_master(program, &lab, &new.boot(program), &before);
}

/// A backup that has .debs of LAVA's packages alone, on a bare Debian with a mirror of the others.
fn what_the_backup_lacks_comes_from_where_the_host_has_its_own(
    release: &Release,
    lab: &Path,
    mirror: &Path,
) {
    // LAVA's own, which wants others of the mirror's, and no database.
    const WANTED: &str = "lava-common";
    let program = Path::new(PROGRAM);
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let new = Clone(dir.path().join("new"));
    lava_master(&["clone", text(&release.root("bare")), text(&new.0)]).ends(0);
    let store = new.0.join("srv/store").to_str().unwrap().to_owned();
    fs::create_dir_all(new.0.join("srv")).unwrap();
    lava_backup(program, &["init", "--store", &store]).ends(0);
    let create = [
        "create",
        "--store",
        &store,
        "--root",
        text(lab),
        "--no-database",
    ];
    lava_backup(
        program,
        &[&create[..], &["--packages", "critical"]].concat(),
    )
    .ends(0);
    run(Command::new("cp")
        .arg("-rT")
        .args([mirror, &new.0.join("srv/mirror")]));
    let own = "deb [trusted=yes] file:/srv/mirror ./\n";
    fs::write(new.0.join("etc/apt/sources.list"), "").unwrap();
    fs::write(new.0.join("etc/apt/sources.list.d/lab.list"), own).unwrap();

    let new = new.boot(program);
    let sources = [
        "find",
        "/etc/apt",
        "-type",
        "f",
        "-exec",
        "sha256sum",
        "{}",
        "+",
    ];
    let before = new.run(&sources).ends(0).out;
    let install = ["packages", "install", "--store", STORE, "latest"];
    let installed = new.lava_backup(&[&install[..], &[WANTED]].concat(), 0);
    assert_eq!(installed["alone"], false, "{installed:#}");
    let is_wanted = |line: &&String| line.starts_with(&format!("{WANTED} "));
    let [then, now] = [packages(lab), packages(&new.dir)].map(|all| {
        let found = all.iter().find(is_wanted).cloned();
        found.unwrap()
    });
    assert_eq!(then, now);
    assert!(then.ends_with(" installed"), "{then}");
    assert_eq!(
        new.run(&sources).ends(0).out,
        before,
        "its own sources are others now"
    );
    left_no_debs(&new);
}

/// Nothing is left of what was laid out for apt.
fn left_no_debs(new: &Master) {
    let left = fs::read_dir(new.dir.join("var/lib/lava-backup")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    let made =
        |name: &std::ffi::OsString| name.to_string_lossy().starts_with("lava-backup-packages-");
    assert!(!left.iter().any(made), "{left:?}");
}

/// Where lava-server's scripts write how its database is reached, before they make that.
const DATABASE_SETTINGS: [&str; 2] = [
    "etc/lava-server/settings.d/00-database.yaml",
    "etc/lava-server/instance.conf",
];

/// A run is cut off while packages are unpacked, then, with its host, while they are configured, and
/// once more while lava-server is.
fn is_cut_off_in_the_install(new: &Master, restore: &str) {
    let cut_off = |restore: &str, is_time: &mut dyn FnMut() -> bool, cut: &dyn Fn()| {
        std::thread::scope(|scope| {
            let run = scope.spawn(|| new.run(&["sh", "-c", restore]));
            while !is_time() {
                assert!(!run.is_finished(), "{}", run.join().unwrap().err);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            cut();
            assert_ne!(run.join().unwrap().code, 0);
        });
        let journal = new.dir.join("var/lib/lava-backup/restore");
        let journal = fs::read_dir(journal).unwrap().next().unwrap().unwrap();
        let journal = fs::read_to_string(journal.path().join("journal")).unwrap();
        // The run may see its command killed before it is killed itself, and write that down.
        let of_commands = |line: &&str| line.contains("\"what\":\"command-begins\"");
        let last = journal.lines().rfind(of_commands).unwrap();
        let step = "\"step\":\"master.install.packages\"";
        assert!(last.contains(step), "it was cut off elsewhere: {last}");
        let is_done = |line: &str| line.contains("\"step-done\"") && line.contains(step);
        assert!(!journal.lines().any(is_done), "it was not cut off");
    };
    // dpkg may put its records in order just while it is asked.
    let count = |state: &str| {
        let asked = dpkg_query(&new.dir).output().unwrap().stdout;
        let all = String::from_utf8(asked).unwrap();
        all.lines().filter(|line| line.ends_with(state)).count()
    };
    let before = count(" unpacked");
    cut_off(restore, &mut || count(" unpacked") >= before + 20, &|| {
        // A bare Debian has no pkill.
        let kill = "for process in /proc/[0-9]*; do case $(cat $process/comm) in
            lava-backup | apt-get | dpkg) kill -KILL ${process#/proc/} ;; esac; done";
        new.run(&["sh", "-c", kill]).ends(0);
    });
    let resume = format!("{restore} --resume");
    let before = count(" installed");
    cut_off(&resume, &mut || count(" installed") >= before + 20, &|| {
        new.crash();
    });
    new.start();
    let written = || {
        let mut files = DATABASE_SETTINGS.iter();
        files.any(|file| new.dir.join(file).exists())
    };
    assert!(!written());
    cut_off(&resume, &mut || written(), &|| new.crash());
    new.start();
}

/// A store with one complete backup: drills of its packages, alone and in a system that boots, and
/// then a bare Debian that is the target.
fn becomes_a_serving_master(program: &Path, lab: &Master, new: &Master, packages_then: &[String]) {
    lab.populate(JOBS);
    let made = lab.lava_backup(&["create", "--store", STORE, "--packages", "closure"], 0);
    assert_eq!(made["outcome"], "complete", "{made:#}");
    let store = lab.dir.join("srv/store");
    for (level, checks, tables) in [
        ("packages", 0, 0.into()),
        ("boot", 11, made["tables"].clone()),
    ] {
        let drill = ["drill", "--level", level, "--store", text(&store), "--json"];
        let drilled = lava_backup(program, &drill).ends(0).json();
        assert_eq!(drilled["passed"], true, "{drilled:#}");
        let packages = packages_then.len() as u64;
        assert_eq!(drilled["packages_equal"], packages, "{drilled:#}");
        let looks = drilled["checks"].as_array().unwrap().len();
        assert!(looks >= checks, "{drilled:#}");
        assert_eq!(drilled["tables_equal"], tables, "{drilled:#}");
        let took = drilled["step_milliseconds"].as_object().unwrap();
        assert_eq!(drilled["steps"], took.len() as u64, "{drilled:#}");
    }

    let stores = [lab, new].map(|master| master.dir.join("srv/store"));
    fs::create_dir_all(new.dir.join("srv")).unwrap();
    run(Command::new("cp").arg("-a").args(&stores));

    // One command line prints the plan, one runs it.
    let plan = "lava-backup plan --store STORE --format json > /root/plan.json || [ $? = 4 ]";
    new.run(&["sh", "-c", &plan.replace("STORE", STORE)])
        .ends(0);
    let plan = fs::read(new.dir.join("root/plan.json")).unwrap();
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    assert_eq!(plan["verdict"], "prepare");
    let answers = master::answers(&plan, "master").join("\n");
    fs::write(new.dir.join("root/answers"), answers).unwrap();
    let restore = "lava-backup --json restore /root/plan.json --confirm /root/answers";
    is_cut_off_in_the_install(new, restore);
    let resume = format!("{restore} --resume");
    let done = new.run(&["sh", "-c", &resume]).ends(0);
    // It says what the drill in a system that boots has measured.
    let is_load = |line: &&str| line.starts_with("step ") && line.ends_with(".database.load");
    let told = done.err.lines().skip_while(|line| !is_load(line)).nth(2);
    let told = told.unwrap_or_default();
    assert!(told.starts_with("  in a drill: "), "{}", done.err);
    let done = done.json();
    assert_eq!(done["outcome"], "finished", "{done:#}");

    let installed = |line: &&String| line.ends_with(" installed");
    let now = packages(&new.dir);
    let missing: Vec<_> = packages_then
        .iter()
        .filter(|line| !now.contains(line))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(now.iter().all(|line| installed(&line)), "{now:?}");
    let counts = ["testjob", "device", "worker"].map(|table| {
        let sql = format!("SELECT count(*) FROM lava_scheduler_app_{table}");
        assert_eq!(new.sql(&sql), lab.sql(&sql), "{table}");
        new.sql(&sql)
    });
    assert!(counts.iter().all(|count| count != "0"), "{counts:?}");
    assert_eq!(new.sql(STARTED), lab.sql(STARTED), "a job was started");
    new.is_the_lab_of(STORE, made["backup"].as_str().unwrap());

    let job = new.sql(
        "SELECT max(id) FROM lava_scheduler_app_testjob WHERE is_public AND state = 5 AND health = 1",
    );
    for path in ["/scheduler/alljobs".into(), format!("/scheduler/job/{job}")] {
        let statuses = [new, lab].map(|master| master.page(&path).0);
        assert_eq!(statuses, [200, 200], "{path}");
    }
    for path in [
        "/api/v0.2/system/version/".into(),
        format!("/api/v0.2/jobs/{job}/"),
        format!("/scheduler/job/{job}/log_file/plain"),
    ] {
        let (status, said) = new.page(&path);
        assert!(status == 200 && !said.is_empty(), "{path}: {status}");
        assert_eq!((status, said), lab.page(&path), "{path}");
    }
    left_no_debs(new);
}
