//! What a disk may hold after a crash.
//!
//! Bytes last when their file was synced, a name when its directory was. Of
//! the rest anything may be there: each name that was given or taken since, on
//! its own and in any order, so that of a rename one half may last; and of the
//! bytes none, some, or zeros.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disks::Call;
use super::tree::Tree;

/// What became of bytes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Torn {
    Whole,
    Empty,
    /// Half of them, to the end of a sector.
    Half,
    Zeros,
}

pub(super) const TORN: [Torn; 4] = [Torn::Whole, Torn::Empty, Torn::Half, Torn::Zeros];

type Names = BTreeMap<OsString, usize>;

/// Files and directories by number, 0 the top.
pub(super) struct Model {
    nodes: Vec<Node>,
    /// Files that were created, in their order.
    created: Vec<usize>,
    /// What does not last yet, in the order in which it was done.
    pending: Vec<Name>,
}

enum Node {
    File { bytes: Vec<u8>, sure: usize },
    Dir { now: Names, sure: Names },
}

/// A name that a directory was given, or that was taken from it.
struct Name {
    dir: usize,
    name: OsString,
    node: Option<usize>,
}

fn set(names: &mut Names, name: &Name) {
    match name.node {
        Some(node) => drop(names.insert(name.name.clone(), node)),
        None => drop(names.remove(&name.name)),
    }
}

impl Model {
    /// A disk on which all of this lasts.
    pub(super) fn new(tree: &Tree) -> Self {
        let mut model = Self {
            nodes: vec![Node::Dir {
                now: Names::new(),
                sure: Names::new(),
            }],
            created: Vec::new(),
            pending: Vec::new(),
        };
        for (path, bytes) in &tree.0 {
            match bytes {
                None => model.call(&Call::MakeDir(path.clone())),
                Some(bytes) => {
                    let number = model.created.len();
                    model.call(&Call::Create(path.clone()));
                    model.call(&Call::Write(number, bytes.to_vec()));
                    model.call(&Call::Sync(number));
                }
            }
        }
        for dir in 0..model.nodes.len() {
            model.sync_dir(dir);
        }
        model.created.clear();
        model
    }

    /// Does what was recorded.
    pub(super) fn call(&mut self, call: &Call) {
        match call {
            Call::MakeDir(path) => {
                self.nodes.push(Node::Dir {
                    now: Names::new(),
                    sure: Names::new(),
                });
                self.name(path, Some(self.nodes.len() - 1));
            }
            Call::Create(path) => {
                self.nodes.push(Node::File {
                    bytes: Vec::new(),
                    sure: 0,
                });
                self.created.push(self.nodes.len() - 1);
                self.name(path, Some(self.nodes.len() - 1));
            }
            Call::Write(file, more) => {
                if let Node::File { bytes, .. } = &mut self.nodes[self.created[*file]] {
                    bytes.extend_from_slice(more);
                }
            }
            Call::Sync(file) => {
                if let Node::File { bytes, sure } = &mut self.nodes[self.created[*file]] {
                    *sure = bytes.len();
                }
            }
            Call::Rename(from, to) => {
                let node = self.find(from);
                self.name(to, Some(node));
                self.name(from, None);
            }
            Call::SyncDir(path) => self.sync_dir(self.find(path)),
            Call::Remove(path) => self.name(path, None),
        }
    }

    fn find(&self, path: &Path) -> usize {
        path.iter().fold(0, |dir, name| match &self.nodes[dir] {
            Node::Dir { now, .. } => now[name],
            Node::File { .. } => unreachable!(),
        })
    }

    fn name(&mut self, path: &Path, node: Option<usize>) {
        let dir = self.find(path.parent().unwrap());
        let name = Name {
            dir,
            name: path.file_name().unwrap().to_owned(),
            node,
        };
        if let Node::Dir { now, .. } = &mut self.nodes[dir] {
            set(now, &name);
        }
        self.pending.push(name);
    }

    fn sync_dir(&mut self, dir: usize) {
        if let Node::Dir { now, sure } = &mut self.nodes[dir] {
            sure.clone_from(now);
        }
        self.pending.retain(|name| name.dir != dir);
    }

    /// How many names were given or taken and do not last yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What is there after a crash that loses these names.
    pub(super) fn crash(&self, lost: &dyn Fn(usize) -> bool, torn: Torn) -> Tree {
        let mut dirs: BTreeMap<usize, Names> = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if let Node::Dir { sure, .. } = node {
                dirs.insert(number, sure.clone());
            }
        }
        for (at, name) in self.pending.iter().enumerate() {
            if !lost(at) {
                set(dirs.get_mut(&name.dir).unwrap(), name);
            }
        }
        let mut tree = Tree::default();
        self.gather(0, Path::new(""), &dirs, torn, &mut tree);
        tree
    }

    fn gather(
        &self,
        dir: usize,
        path: &Path,
        dirs: &BTreeMap<usize, Names>,
        torn: Torn,
        tree: &mut Tree,
    ) {
        for (name, node) in &dirs[&dir] {
            let path: PathBuf = path.join(name);
            let bytes = match &self.nodes[*node] {
                Node::Dir { .. } => None,
                Node::File { bytes, sure } => Some(Arc::new(tear(bytes, *sure, torn))),
            };
            let is_dir = bytes.is_none();
            tree.0.insert(path.clone(), bytes);
            if is_dir {
                self.gather(*node, &path, dirs, torn, tree);
            }
        }
    }
}

fn tear(bytes: &[u8], sure: usize, torn: Torn) -> Vec<u8> {
    let (lasting, rest) = bytes.split_at(sure);
    let mut found = lasting.to_vec();
    match torn {
        Torn::Whole => found.extend_from_slice(rest),
        Torn::Empty => {}
        Torn::Half => found.extend_from_slice(&rest[..rest.len() / 2 / 512 * 512]),
        Torn::Zeros => found.resize(bytes.len(), 0),
    }
    found
}
