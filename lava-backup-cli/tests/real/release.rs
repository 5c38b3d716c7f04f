//! Releases of LAVA, each with the Debian that ships it, as pristine hosts.
#![allow(unreachable_pub)]

use std::path::{Path, PathBuf};

use crate::PROGRAM;
use crate::common::skip;
use crate::master::Master;

/// The one that every day's tests are about.
const DAILY: &str = "bookworm";

/// What `scripts/test` has made of one.
pub struct Release {
    pub suite: &'static str,
    cache: PathBuf,
}

/// Makes a job that is done on hosts of a release a test for each of them.
macro_rules! on_each_release {
    ($job:ident) => {
        mod $job {
            use crate::release::on;

            #[test]
            fn bookworm() {
                on(
                    "bookworm",
                    concat!(module_path!(), "::bookworm"),
                    super::$job,
                );
            }

            #[test]
            fn bullseye() {
                on(
                    "bullseye",
                    concat!(module_path!(), "::bullseye"),
                    super::$job,
                );
            }

            #[test]
            fn trixie() {
                on("trixie", concat!(module_path!(), "::trixie"), super::$job);
            }
        }
    };
}

/// Does a job on one, if it is asked for.
pub fn on(suite: &'static str, test: &str, job: fn(&Release)) {
    if suite != DAILY && std::env::var_os("LAVA_BACKUP_ALL_RELEASES").is_none() {
        return skip(test, "takes long: --all-releases runs it");
    }
    if let Some(release) = Release::at_hand(suite, test) {
        job(&release);
    }
}

impl Release {
    /// A test without one is skipped.
    pub fn at_hand(suite: &'static str, test: &str) -> Option<Self> {
        let Some(cache) = std::env::var_os("LAVA_BACKUP_CACHE") else {
            skip(test, "LAVA_BACKUP_CACHE names no real LAVA masters");
            return None;
        };
        let cache = cache.into();
        Some(Self { suite, cache })
    }

    /// The root of a pristine master.
    pub fn pristine(&self) -> PathBuf {
        self.cache.join(self.suite)
    }

    /// Another root of its Debian, by what it is for: `bare`, `worker`, `ansible`.
    pub fn root(&self, of: &str) -> PathBuf {
        self.cache.join(format!("{}-{of}", self.suite))
    }

    /// A directory of .debs: `debs`, the pristine master's own, or those of a package that it
    /// lacks.
    pub fn debs(&self, of: &str) -> PathBuf {
        self.cache.join(format!("{}.{of}", self.suite))
    }

    /// A clone of the pristine master, running, with our program in it.
    pub fn master(&self, dir: PathBuf) -> Master {
        Master::clone_of(&self.pristine(), dir, Path::new(PROGRAM))
    }

    /// A clone of a pristine worker, as that of the master.
    pub fn worker(&self, dir: PathBuf) -> Master {
        Master::clone_of(&self.root("worker"), dir, Path::new(PROGRAM))
    }

    /// A pristine master that is to become a lab, below `dir`, and the lab's backup, which it has in
    /// its store; the lab is filled first, and gone then.
    pub fn master_to_become(
        &self,
        dir: &Path,
        store: &str,
        fill: impl FnOnce(&Master),
    ) -> (Master, String) {
        let new = self.master(dir.join("new"));
        let lab = self.master(dir.join("lab"));
        fill(&lab);
        let backup = lab.back_up_for(&new, store);
        (new, backup)
    }
}
