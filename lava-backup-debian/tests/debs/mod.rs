//! A root with real packages in it, small ones, and a mirror that they came from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lava_backup_debian::{
    Deb, DebOrigin, Fetch, Fetched, PackageState, Repository, Root, fetch, read_status,
};
use tempfile::TempDir;

/// One package to build.
pub struct Built<'b> {
    pub name: &'b str,
    pub version: &'b str,
    pub arch: &'b str,
    pub fields: &'b str,
    /// Each with its content; one that begins with `-> ` is a link.
    pub files: &'b [(&'b str, &'b str)],
}

pub const SERVER: Built<'static> = Built {
    name: "lava-server",
    version: "1:2023.01-2",
    arch: "all",
    fields: "Depends: lava-common (=1:2023.01-2), libx (>> 0:1.0) | none\nInstalled-Size: 12\n",
    files: &[
        ("DEBIAN/conffiles", "/etc/lava-server/env.yaml\n"),
        ("etc/lava-server/env.yaml", "a: b\n"),
        (
            "usr/lib/python3/dist-packages/lava_scheduler_app/migrations/0001_initial.py",
            "class Migration: pass\n",
        ),
    ],
};
pub const COMMON: Built<'static> = Built {
    name: "lava-common",
    version: "1:2023.01-2",
    arch: "all",
    fields: "",
    files: &[("usr/share/lava-common/VERSION", "2023.01\n")],
};
pub const LIBRARY: Built<'static> = Built {
    name: "libx",
    version: "1.5+b1",
    arch: "amd64",
    fields: "Multi-Arch: same\nSource: x (1.5)\n",
    files: &[
        ("usr/lib/x86_64-linux-gnu/libx.so.1", "\x7fELF no"),
        ("DEBIAN/triggers", "activate-noawait ldconfig\n"),
    ],
};

impl Built<'_> {
    pub fn build(&self, dir: &Path) -> PathBuf {
        let tree = tempfile::tempdir().unwrap();
        let Self {
            name,
            version,
            arch,
            fields,
            files,
        } = self;
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: n <n@e>\n\
             {fields}Description: {name}\n of a test\n"
        );
        let write = |name: &str, text: &str| {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("DEBIAN/control", &control);
        write(&format!("usr/share/doc/{name}/copyright"), "free");
        let mut sums = String::new();
        for (file, text) in *files {
            write(file, text);
            if let Some(target) = text.strip_prefix("-> ") {
                let link = tree.path().join(file);
                fs::remove_file(&link).unwrap();
                std::os::unix::fs::symlink(target, link).unwrap();
                continue;
            }
            if !file.starts_with("DEBIAN") && !file.starts_with("etc") {
                let out = run(Command::new("md5sum").arg(file).current_dir(tree.path()));
                sums += &String::from_utf8(out).unwrap();
            }
        }
        // Unless they are to lie.
        if !files.iter().any(|(name, _)| *name == "DEBIAN/md5sums") {
            write("DEBIAN/md5sums", &sums);
        }
        let version = version.split_once(':').map_or(*version, |(_, rest)| rest);
        let path = dir.join(format!("{name}_{version}_{arch}.deb"));
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "--nocheck", "-b"])
            .args([tree.path(), &path])
            .env("SOURCE_DATE_EPOCH", "1700000000"));
        path
    }
}

pub fn run(command: &mut Command) -> Vec<u8> {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {out:?}");
    out.stdout
}

/// A root in which the three packages are installed, and the mirror.
pub struct Lab {
    pub dir: TempDir,
}

impl Lab {
    /// The packages are on the mirror, and its index was read.
    pub fn new() -> Self {
        let lab = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for inside in [
            "mirror",
            "root/etc/apt/sources.list.d",
            "root/var/lib/dpkg/info",
            "root/var/lib/dpkg/updates",
            "root/var/lib/apt/lists/partial",
            "root/var/cache/apt/archives/partial",
        ] {
            fs::create_dir_all(lab.at(inside)).unwrap();
        }
        fs::write(lab.at("root/var/lib/dpkg/status"), "").unwrap();
        fs::write(lab.at("root/var/lib/dpkg/arch"), "amd64\n").unwrap();
        fs::write(lab.at("root/etc/os-release"), "ID=debian\n").unwrap();
        let debs = [COMMON, LIBRARY, SERVER].map(|built| built.build(&lab.at("mirror")));
        run(Command::new("dpkg")
            .arg(format!("--root={}", lab.at("root").display()))
            .args([
                "--force-not-root",
                "--force-script-chrootless",
                "--force-bad-path",
                "-i",
            ])
            .args(&debs));
        let line = format!("deb [trusted=yes] copy:{} ./\n", lab.at("mirror").display());
        fs::write(lab.at("root/etc/apt/sources.list"), line).unwrap();
        lab.index();
        lab
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn root(&self) -> Root {
        Root::open(self.at("root")).unwrap()
    }

    pub fn packages(&self) -> Vec<PackageState> {
        read_status(&self.root()).unwrap()
    }

    /// Writes the mirror's index, and reads it as `apt-get update` does.
    pub fn index(&self) {
        let mut debs = Vec::new();
        for entry in fs::read_dir(self.at("mirror")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "deb") {
                let deb = Deb::open(&path).unwrap();
                let digest = deb.sha256().unwrap();
                debs.push((deb, digest));
            }
        }
        Repository::of(&debs)
            .unwrap()
            .write(&self.at("mirror"))
            .unwrap();
        if self.at("keys").exists() {
            run(self
                .gpg(&["--yes", "--clearsign", "--output"])
                .args([self.at("mirror/InRelease"), self.at("mirror/Release")]));
        }
        let root = self.at("root").display().to_string();
        let _ = fs::remove_dir_all(self.at("root/var/lib/apt/lists"));
        fs::create_dir_all(self.at("root/var/lib/apt/lists/partial")).unwrap();
        run(Command::new("apt-get")
            .args([
                "-o",
                &format!("Dir::Etc::SourceList={root}/etc/apt/sources.list"),
            ])
            .args(["-o", "Dir::Etc::SourceParts=/dev/null"])
            .args(["-o", &format!("Dir::State::Lists={root}/var/lib/apt/lists")])
            .args(["-o", &format!("Dir::Cache={root}/var/cache/apt")])
            .args(["-o", "APT::Sandbox::User=", "-o", "Debug::NoLocking=1"])
            .args([
                "-o",
                "APT::Architecture=amd64",
                "-o",
                "APT::Update::Error-Mode=any",
            ])
            .args(["-o", "Acquire::GzipIndexes=false"])
            .arg("update"));
        for cache in ["pkgcache.bin", "srcpkgcache.bin"] {
            let _ = fs::remove_file(self.at("root/var/cache/apt").join(cache));
        }
    }

    /// Signs the mirror with a key of its own, which is the only one that its source allows.
    pub fn sign(&self) {
        let keys = self.at("keys");
        fs::create_dir(&keys).unwrap();
        run(Command::new("chmod").arg("700").arg(&keys));
        run(&mut self.gpg(&[
            "--quick-gen-key",
            "lab@example.org",
            "ed25519",
            "sign",
            "never",
        ]));
        let public = run(&mut self.gpg(&["--export", "lab@example.org"]));
        // apt looks for it on this machine, and we in the root.
        let key = self.at("root/usr/share/keyrings/lab.gpg");
        let inside = self.at("root").join(key.strip_prefix("/").unwrap());
        for place in [&key, &inside] {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, &public).unwrap();
        }
        let (key, mirror) = (key.display(), self.at("mirror"));
        let line = format!("deb [signed-by={key}] copy:{} ./\n", mirror.display());
        fs::write(self.at("root/etc/apt/sources.list"), line).unwrap();
        self.index();
    }

    fn gpg(&self, arguments: &[&str]) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--passphrase", "", "--homedir"])
            .arg(self.at("keys"))
            .args(arguments);
        gpg
    }

    /// The cache's place for a package of the mirror.
    pub fn cached(&self, built: &Built<'_>) -> PathBuf {
        let version = built.version.replace(':', "%3a");
        let name = format!("{}_{version}_{}.deb", built.name, built.arch);
        self.at("root/var/cache/apt/archives").join(name)
    }

    /// Puts every .deb of the mirror into the cache.
    pub fn fill_cache(&self) {
        for built in [COMMON, LIBRARY, SERVER] {
            fs::copy(self.on_mirror(&built), self.cached(&built)).unwrap();
        }
    }

    /// The list that apt has of the mirror.
    pub fn list(&self) -> PathBuf {
        let lists = fs::read_dir(self.at("root/var/lib/apt/lists")).unwrap();
        let mut paths = lists.map(|entry| entry.unwrap().path());
        let list = paths.find(|path| path.to_str().unwrap().ends_with("_Packages"));
        list.unwrap()
    }

    pub fn on_mirror(&self, built: &Built<'_>) -> PathBuf {
        let version = built
            .version
            .split_once(':')
            .map_or(built.version, |(_, rest)| rest);
        self.at("mirror")
            .join(format!("{}_{version}_{}.deb", built.name, built.arch))
    }

    pub fn fetch(&self) -> (TempDir, Fetched) {
        self.fetch_with(false, &mut |_, _| Ok(None))
    }

    pub fn fetch_with(
        &self,
        repack: bool,
        earlier: &mut dyn FnMut(&PackageState, &mut fs::File) -> std::io::Result<Option<DebOrigin>>,
    ) -> (TempDir, Fetched) {
        let private = tempfile::tempdir().unwrap();
        let packages = self.packages();
        let wanted: Vec<&PackageState> = packages.iter().filter(|p| p.is_installed()).collect();
        let how = Fetch {
            root: &self.root(),
            dir: private.path(),
            rate: None,
            repack,
            earlier,
            observe: &mut |_| {},
        };
        let fetched = fetch(how, &wanted).unwrap();
        assert_eq!(fetched.debs.len() + fetched.lacking.len(), wanted.len());
        (private, fetched)
    }
}
