//! The cases of the hostile corpus, by the classes of what is known to have
//! hurt those who restore archives.

use lava_backup_core::ErrorKind::{self, Damaged};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

use crate::forge::{Forgery, Laid, Member};

mod content;
mod headers;
mod names;
mod references;
mod seals;

/// What an archive must come to.
pub(crate) enum Expect {
    /// It is what it says, and extraction stays where it is told to.
    Sound,
    /// Opening, listing or verifying it says so, in a text that holds this.
    Refused(ErrorKind, &'static str),
    /// It is sound, and can't be extracted, for a reason that holds this.
    Stuck(ErrorKind, &'static str),
}

type Files = BTreeMap<String, Vec<u8>>;

pub(crate) struct Case {
    pub class: u8,
    pub name: String,
    pub expect: Expect,
    pub forge: Box<dyn Fn() -> Forgery>,
    /// What is done to the files of the store when all of them fit.
    pub files: Option<Box<dyn Fn(&mut Files)>>,
    /// Files that are nothing but a hole, and how long.
    pub holes: Vec<(String, u64)>,
    /// What is there before extraction: given the target and the canaries.
    pub plant: Option<Box<dyn Fn(&Path, &Path)>>,
}

/// Gathers cases.
#[derive(Default)]
pub(crate) struct Corpus {
    pub cases: Vec<Case>,
    class: u8,
}

impl Corpus {
    fn class(&mut self, class: u8) {
        self.class = class;
    }

    fn case(
        &mut self,
        name: impl Into<String>,
        expect: Expect,
        forge: impl Fn() -> Forgery + 'static,
    ) -> &mut Case {
        self.cases.push(Case {
            class: self.class,
            name: name.into(),
            expect,
            forge: Box::new(forge),
            files: None,
            holes: Vec::new(),
            plant: None,
        });
        self.cases.last_mut().unwrap()
    }

    /// A backup with these members more that must be found damaged.
    fn bad(
        &mut self,
        name: impl Into<String>,
        text: &'static str,
        members: impl Fn() -> Vec<Member> + 'static,
    ) {
        self.case(
            name,
            Expect::Refused(Damaged, text),
            move || with(members()),
        );
    }

    fn sound(&mut self, name: impl Into<String>, members: impl Fn() -> Vec<Member> + 'static) {
        self.case(name, Expect::Sound, move || with(members()));
    }

    fn stuck(
        &mut self,
        name: impl Into<String>,
        kind: ErrorKind,
        text: &'static str,
        members: impl Fn() -> Vec<Member> + 'static,
    ) {
        self.case(name, Expect::Stuck(kind, text), move || with(members()));
    }

    /// A sound backup whose line of `config/f` in the index is another.
    fn line(
        &mut self,
        name: impl Into<String>,
        kind: ErrorKind,
        text: &'static str,
        twist: impl Fn(&mut Value) + Clone + 'static,
    ) {
        self.case(name, Expect::Refused(kind, text), move || {
            let mut member = plain();
            member.line = Some(Box::new(twist.clone()));
            with(vec![member])
        });
    }

    /// A sound backup whose headers of `config/f` are others: what tars would
    /// restore that can't read an index.
    fn headers(
        &mut self,
        name: impl Into<String>,
        text: &'static str,
        twist: impl Fn(&mut Vec<u8>) + Clone + 'static,
    ) {
        self.bad(name, text, move || {
            let mut member = plain();
            member.headers = Some(Box::new(twist.clone()));
            vec![member]
        });
    }

    /// A sound backup whose seal says something else.
    fn seal(
        &mut self,
        name: impl Into<String>,
        kind: ErrorKind,
        text: &'static str,
        change: impl Fn(&mut serde_json::Map<String, Value>) + 'static,
    ) {
        self.case(name, Expect::Refused(kind, text), move || {
            let mut forgery = with(vec![plain()]);
            change(&mut forgery.seal);
            forgery
        });
    }

    /// A sound backup whose files are changed.
    fn files(
        &mut self,
        name: impl Into<String>,
        kind: ErrorKind,
        text: &'static str,
        change: impl Fn(&mut Files) + 'static,
    ) -> &mut Case {
        let case = self.case(name, Expect::Refused(kind, text), || with(vec![plain()]));
        case.files = Some(Box::new(change));
        case
    }
}

/// All cases.
pub(crate) fn corpus(canaries: &Path) -> Vec<Case> {
    let mut corpus = Corpus::default();
    names::add(&mut corpus, canaries);
    headers::add(&mut corpus);
    content::add(&mut corpus);
    references::add(&mut corpus);
    seals::add(&mut corpus);
    corpus.cases
}

/// One that is sound: two frames and the end.
pub(crate) fn sample() -> Forgery {
    with(vec![plain()])
}

fn plain() -> Member {
    Member::file("config/f", "plain")
}

/// A backup of a little that is sound, and these members; each section in the
/// order of its paths.
fn with(members: Vec<Member>) -> Forgery {
    laid(members).sealed()
}

fn laid(members: Vec<Member>) -> Laid {
    let mut all = vec![
        Member::file("facts/facts.json", "{}"),
        Member::dir("config/d"),
        Member::file("config/d/f", "in a directory"),
    ];
    all.extend(members);
    let parts = |path: &[u8]| path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
    all.sort_by_key(|member| {
        let parts: Vec<Vec<u8>> = parts(&member.path);
        (parts[0] != b"facts", parts)
    });
    Laid::of(&all)
}

/// One case of each value, named by it.
fn each<T: Clone + 'static>(values: &[T], mut add: impl FnMut(T)) {
    values.iter().cloned().for_each(&mut add);
}
