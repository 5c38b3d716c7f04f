//! A small sound backup with a member of every type, and bytes as decisions.

#![allow(dead_code)]

use std::path::{Path, PathBuf};

use crate::hand::{Forgery, Laid, Member};

/// A member of every type, in three sections.
pub fn members() -> Vec<Member> {
    let mut secret = Member::file("config/etc/key", "secret");
    secret.class = "secret".into();
    secret.xattrs = [(b"user.note".to_vec(), b"=%\0".to_vec())].into();
    let mut listed = Member::dir("config/etc/listed");
    listed.acl = Some("user::rwx,user:lava:r-x:996,group::r-x,mask::rwx,other::---".into());
    listed.default_acl = Some("user::rwx,group::r-x,other::---".into());
    let sparse = Member::sparse("data/holes", 1 << 20, &[(4096, 512), (65536, 100)]);
    vec![
        Member::file("facts/facts.json", "{}"),
        Member::dir("config/etc"),
        Member::file("config/etc/a", vec![b'a'; 700]),
        Member::hard("config/etc/b", "config/etc/a"),
        secret,
        Member::symlink("config/etc/link", "../run/x"),
        listed,
        Member::new("config/etc/pipe", b'6'),
        sparse,
        Member::file(format!("data/{}", "n".repeat(120)), vec![0; 2048]),
    ]
}

/// The sample as a backup whose digests fit.
pub fn forgery() -> Forgery {
    Laid::of(&members()).sealed()
}

/// Where scratch is fast.
pub fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() {
        shm.to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new()
        .prefix("lava-fuzz")
        .tempdir_in(base)
        .unwrap()
}

/// A directory made anew.
pub fn anew(dir: &Path) -> PathBuf {
    if dir.exists() {
        std::fs::remove_dir_all(dir).unwrap();
    }
    std::fs::create_dir_all(dir).unwrap();
    dir.to_owned()
}

/// Decisions out of the fuzzer's bytes; zeros when they are used up.
pub struct Bytes<'b>(pub &'b [u8]);

impl Bytes<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.number() % end.max(1)
    }

    pub fn run(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        run.to_vec()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes a run of bytes in place, cuts them, or makes them longer.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        match self.byte() % 6 {
            0 => bytes.truncate(at),
            1 => bytes.extend(self.run()),
            2 => drop(bytes.splice(at..at, self.run())),
            3 => bytes.drain(at..).take(512).for_each(drop),
            _ => {
                for (old, new) in bytes[at..].iter_mut().zip(self.run()) {
                    *old = new;
                }
            }
        }
    }
}
