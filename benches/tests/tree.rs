//! What is on disk: repeatable, as a master's should be, and refused where it
//! would mix with something else.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use lava_backup_benches::{ErrorKind, Lab, master, migrations, worker};
use tempfile::TempDir;
use walkdir::WalkDir;

const LAB: Lab = Lab {
    seed: 5,
    jobs: 40,
    job_bytes: 20_000,
    until: lava_backup_benches::Moment(1_685_577_600_000_000),
    packed: 10,
    small: 0,
};

fn made(lab: &Lab) -> TempDir {
    let dir = TempDir::new().unwrap();
    master::write(lab, dir.path()).unwrap();
    dir
}

/// Path, type, mode, owner, time and content of all there is.
fn digest(root: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        let content = match meta.file_type() {
            kind if kind.is_symlink() => fs::read_link(entry.path())
                .unwrap()
                .into_os_string()
                .into_encoded_bytes(),
            kind if kind.is_file() => fs::read(entry.path()).unwrap(),
            _ => Vec::new(),
        };
        // The time of a link can't be set, nor does anything look at it.
        let time = if meta.is_symlink() {
            0
        } else {
            meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
        };
        let line = format!(
            "{path:?} {:o} {}:{} {time} {}\n",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            content.len()
        );
        hasher.update(line.as_bytes()).update(&content);
    }
    hasher.finalize()
}

#[test]
fn the_same_seed_gives_the_same_tree_and_another_seed_another() {
    let first = digest(made(&LAB).path());
    // The two threads are not in step, so a dependence on order would show.
    for _ in 0..3 {
        assert_eq!(first, digest(made(&LAB).path()));
    }
    assert_ne!(first, digest(made(&Lab { seed: 6, ..LAB }).path()));
    let worker = |name: &str| {
        let dir = TempDir::new().unwrap();
        worker::write(&LAB, name, dir.path()).unwrap();
        digest(dir.path())
    };
    assert_eq!(worker("rack-a"), worker("rack-a"));
    assert_ne!(worker("rack-a"), worker("rack-b"));
}

#[test]
fn each_finished_job_has_its_six_files_and_no_other_has_a_folder() {
    let dir = made(&LAB);
    let output = dir.path().join(master::JOB_OUTPUT);
    let mut folders = BTreeSet::new();
    for job in LAB.all_jobs() {
        let folder = output.join(job.folder());
        assert_eq!(folder.exists(), job.id <= LAB.jobs, "{}", job.id);
        if !folder.exists() {
            continue;
        }
        folders.insert(folder.clone());
        let files: BTreeSet<String> = WalkDir::new(&folder)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                entry
                    .path()
                    .strip_prefix(&folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_string()
            })
            .collect();
        let log: &[&str] = if job.packed {
            &["output.yaml.size", "output.yaml.xz"]
        } else {
            &["output.yaml"]
        };
        assert_eq!(files.len(), 5 + log.len(), "{files:?}");
        for name in ["job.yaml", "device.yaml", "description.yaml", "output.idx"]
            .iter()
            .chain(log)
        {
            assert!(files.contains(*name), "{name}");
            assert_eq!(
                fs::metadata(folder.join(name))
                    .unwrap()
                    .permissions()
                    .mode()
                    & 0o7777,
                0o644
            );
        }
        assert!(
            files
                .iter()
                .any(|name| name.starts_with("metadata/lava-") && name.ends_with(".yaml"))
        );
    }
    let found: BTreeSet<_> = WalkDir::new(&output)
        .min_depth(4)
        .max_depth(4)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    assert_eq!(found, folders);
}

#[test]
fn a_packed_log_unpacks_to_the_size_beside_it() {
    let dir = made(&LAB);
    let packed: Vec<_> = (1..=LAB.jobs)
        .map(|id| LAB.job(id))
        .filter(|job| job.packed)
        .collect();
    assert_eq!(packed.len(), 4);
    for job in packed {
        let folder = dir.path().join(master::JOB_OUTPUT).join(job.folder());
        let Output { status, stdout, .. } = Command::new("xz")
            .arg("-dc")
            .arg(folder.join("output.yaml.xz"))
            .output()
            .unwrap();
        assert!(status.success() && stdout.starts_with(b"- {\"dt\": "));
        assert_eq!(
            fs::read_to_string(folder.join("output.yaml.size")).unwrap(),
            stdout.len().to_string()
        );
        let last = &fs::read(folder.join("output.idx")).unwrap();
        let last = u64::from_ne_bytes(last[last.len() - 8..].try_into().unwrap()) as usize;
        assert!(
            stdout[last..].starts_with(b"- {")
                && stdout[last..].iter().filter(|&&byte| byte == b'\n').count() == 1
        );
        let seconds = fs::metadata(folder.join("output.yaml.xz")).unwrap().mtime();
        assert_eq!(seconds as u64, job.end().0 / 1_000_000);
    }
}

#[test]
fn files_add_up_to_the_size_asked_for() {
    let lab = Lab {
        jobs: 300,
        job_bytes: 30_000,
        packed: 0,
        ..LAB
    };
    let dir = made(&lab);
    let bytes: u64 = WalkDir::new(dir.path().join(master::JOB_OUTPUT))
        .into_iter()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum();
    let asked: u64 = (1..=lab.jobs).map(|id| lab.job(id).bytes).sum();
    assert!(bytes.abs_diff(asked) < asked / 10, "{bytes} of {asked}");
}

/// What real dpkg says of a root, as lines.
fn dpkg(root: &Path, args: &[&str]) -> String {
    let admin = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new("dpkg-query")
        .arg(admin)
        .args(args)
        .output()
        .unwrap();
    assert!(
        status.success() && stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}

#[test]
fn dpkg_knows_the_packages_and_whose_the_migrations_are() {
    let dir = made(&Lab { jobs: 0, ..LAB });
    let text = dpkg(
        dir.path(),
        &[
            "--show",
            "--showformat",
            "${Package} ${db:Status-Status} ${Version}\\n",
        ],
    );
    let versions: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    for (name, version) in [
        ("lava-server", "2023.01-2"),
        ("lava-dispatcher", "2023.01-2"),
        ("python3-django", "3:3.2.25-0+deb12u3"),
    ] {
        assert_eq!(versions[name], format!("installed {version}"));
    }
    assert!(versions["postgresql-15"].starts_with("installed 15."));
    let mut count = 0;
    for app in &migrations::APPS {
        let listed = dpkg(dir.path(), &["--listfiles", app.package]);
        for (path, _) in migrations::files(app) {
            assert!(
                dir.path().join(&path).is_file()
                    && listed.lines().any(|line| line == format!("/{path}")),
                "{path}"
            );
            count += usize::from(!path.ends_with("__init__.py"));
        }
    }
    assert_eq!(count, migrations::COUNT);
    let owner = dpkg(
        dir.path(),
        &[
            "--search",
            "/usr/lib/python3/dist-packages/rest_framework/authtoken/migrations/0003_tokenproxy.py",
        ],
    );
    assert!(
        owner.starts_with("python3-djangorestframework: "),
        "{owner}"
    );
}

#[test]
fn every_relation_of_a_package_is_met_on_the_same_host() {
    for role in ["master", "worker"] {
        let dir = TempDir::new().unwrap();
        match role {
            "master" => master::write(&Lab { jobs: 0, ..LAB }, dir.path()).unwrap(),
            _ => worker::write(&LAB, "rack-b", dir.path()).unwrap(),
        }
        let names = dpkg(
            dir.path(),
            &["--show", "--showformat", "${Package}, ${Provides}, "],
        );
        let names: BTreeSet<&str> = names.split(", ").collect();
        let needs = dpkg(
            dir.path(),
            &["--show", "--showformat", "${Depends}, ${Pre-Depends}, "],
        );
        for need in needs.split(", ").filter(|need| !need.is_empty()) {
            let name = need.split([' ', ':']).next().unwrap();
            assert!(names.contains(name), "{role}: {need}");
        }
    }
}

#[test]
fn secrets_and_settings_have_the_modes_of_a_real_master() {
    let dir = made(&Lab { jobs: 0, ..LAB });
    for (path, mode) in [
        ("etc/lava-server/settings.d/00-database.yaml", 0o640),
        ("etc/lava-server/settings.d/00-secret-key.yaml", 0o640),
        ("var/lib/lava/dispatcher/worker/token", 0o600),
        ("var/log/lava-server", 0o2775),
        ("etc/passwd", 0o644),
    ] {
        let meta = fs::metadata(dir.path().join(path)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{path}");
        // Only root can give files away.
        if fs::metadata("/proc/self").unwrap().uid() == 0 && path.contains("settings.d") {
            assert_eq!((meta.uid(), meta.gid()), (103, 111));
        }
    }
    let link = fs::read_link(
        dir.path()
            .join("etc/apache2/sites-enabled/lava-server.conf"),
    )
    .unwrap();
    assert_eq!(link, Path::new("../sites-available/lava-server.conf"));
    assert_eq!(
        fs::read_to_string(
            dir.path()
                .join("usr/lib/python3/dist-packages/lava_common/VERSION")
        )
        .unwrap(),
        "2023.01"
    );
    let token =
        fs::read_to_string(dir.path().join("var/lib/lava/dispatcher/worker/token")).unwrap();
    assert_eq!(token, LAB.worker_token("rack-a"));
}

#[test]
fn a_directory_that_holds_something_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("mine"), "x").unwrap();
    let error = master::write(&LAB, dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotEmpty);
    let done = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("worker")
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let expected = format!(
        "lab: could not lay out a lab in {}: it is not empty\n",
        dir.path().display()
    );
    assert_eq!(String::from_utf8(done.stderr).unwrap(), expected);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn small_files_are_as_many_as_asked_for_and_not_alike() {
    let lab = Lab { small: 4050, ..LAB };
    let (plain, made) = (made(&LAB), made(&lab));
    let below = |root: &Path| -> BTreeMap<String, Vec<u8>> {
        let root = root.join(master::JOB_OUTPUT);
        let found = WalkDir::new(&root).into_iter().map(Result::unwrap);
        let files = found.filter(|entry| entry.file_type().is_file());
        let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
        files
            .map(|file| (name(file.path()), fs::read(file.path()).unwrap()))
            .collect()
    };
    let mut small = below(made.path());
    for (name, text) in below(plain.path()) {
        assert_eq!(small.remove(&name), Some(text), "{name}");
    }
    assert_eq!(small.len(), 4050);
    let contents: BTreeSet<&Vec<u8>> = small.values().collect();
    assert_eq!(contents.len(), 4050);
    for (name, text) in &small {
        assert!((900..1300).contains(&text.len()), "{name}: {}", text.len());
    }
}

#[test]
fn a_missing_xz_is_named() {
    let dir = TempDir::new().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_lab"))
        .env("PATH", "/nonexistent")
        .args(["master", "--jobs", "20", "--job-bytes", "9000"])
        .arg(dir.path().join("lab"))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let text = String::from_utf8(done.stderr).unwrap();
    assert!(
        text.starts_with("lab: could not pack the logs below ") && text.contains(" with xz: "),
        "{text}"
    );
}
