//! Backups, targets and labs of every era and intent, most of them fit for each other.
//!
//! What is drawn is a sketch of a few choices; the documents follow from it. So a failing case
//! reads as what it is about, and shrinks to it.

use std::collections::BTreeMap;
use std::fmt;

use lava_restore_plan::facts::Role;
use lava_restore_plan::release::Release;
use lava_restore_plan::simulate::Lab;
use lava_restore_plan::{Backup, Host, Intent, Options, Plan, Verdict, plan};
use proptest::prelude::*;

use super::draw::ERAS;

/// What a plan is made from.
#[derive(Clone)]
pub struct Case {
    pub hosts: Vec<Host>,
    pub intent: Intent,
    pub options: Options,
    pub sketch: Sketch,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#?}", self.intent, self.sketch)
    }
}

impl Case {
    pub fn plan(&self) -> Plan {
        plan(self.hosts.clone(), self.intent, &self.options)
    }

    /// The lab that the hosts are in before anything is done to them.
    pub fn lab(&self) -> Lab {
        Lab::new(self.hosts.clone(), self.intent, &self.options)
    }

    /// The backup of the master, or of the one worker.
    pub fn backup(&self) -> &Backup {
        let mut hosts = self.hosts.iter();
        let master = hosts.find(|host| host.backup.facts.role == Role::Master);
        &master.unwrap_or(&self.hosts[0]).backup
    }

    pub fn release(&self) -> &'static Release {
        Release::of(&self.backup().facts.lava_version().unwrap()).unwrap()
    }
}

/// How a target's LAVA stands to the backup's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    Same,
    Rebuilt,
    Older,
    Newer,
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Django {
    Same,
    OtherRevision,
    OtherPatch,
    OlderFeature,
    NewerFeature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebsHeld {
    None,
    Critical,
    Closure,
    Open,
}

/// Something that is as it should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    Nothing,
    OtherSuite,
    LikelySuite,
    OtherArchitecture,
    NewerServer,
    OlderServer,
    UnknownSite,
    UnknownTimers,
    Unclean,
    ServicesDown,
    Offline,
    Data,
    UnknownData,
    OtherDatabase,
    Degraded,
    NoData,
    NoLogs,
    NoSettings,
    LogsElsewhere,
    MoreMigrations,
    OldDatabase,
    OwnSuite,
    ServiceOff,
    OtherPort,
    SecureSite,
    HoldingPage,
}

const ODD: [Odd; 25] = [
    Odd::OtherSuite,
    Odd::LikelySuite,
    Odd::OtherArchitecture,
    Odd::NewerServer,
    Odd::OlderServer,
    Odd::UnknownSite,
    Odd::UnknownTimers,
    Odd::Unclean,
    Odd::ServicesDown,
    Odd::Offline,
    Odd::Data,
    Odd::UnknownData,
    Odd::OtherDatabase,
    Odd::Degraded,
    Odd::NoData,
    Odd::NoLogs,
    Odd::NoSettings,
    Odd::LogsElsewhere,
    Odd::MoreMigrations,
    Odd::OldDatabase,
    Odd::OwnSuite,
    Odd::ServiceOff,
    Odd::OtherPort,
    Odd::SecureSite,
    Odd::HoldingPage,
];

#[derive(Clone, Debug)]
pub struct Sketch {
    pub era: usize,
    pub kind: Kind,
    pub content: Content,
    pub debs: DebsHeld,
    pub options: (bool, Option<bool>),
    pub master: Target,
    pub workers: Vec<Worker>,
    pub order: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Master,
    Worker,
    Lab,
    NewMaster,
    NewWorker,
    DrillMaster,
    DrillWorker,
}

/// What a dump holds.
#[derive(Clone, Debug)]
pub struct Content {
    pub jobs: BTreeMap<u64, usize>,
    pub devices: BTreeMap<String, usize>,
    pub queued: u64,
}

#[derive(Clone, Debug)]
pub struct Target {
    pub there: There,
    pub other_host: bool,
    pub django: Django,
    pub site: bool,
    pub served: bool,
    pub timers: Vec<usize>,
    pub holds: bool,
    pub held_before: bool,
    pub own_worker: bool,
    pub optional_unit: bool,
    pub odd: Odd,
}

#[derive(Clone, Debug)]
pub struct Worker {
    pub there: There,
    pub other_host: bool,
    pub configured: bool,
    pub has_secret: bool,
    pub holds: bool,
    pub timers: Vec<usize>,
    pub odd: Odd,
}

impl Worker {
    /// Of the backup's release and name, with its secret and one timer.
    pub fn usual() -> Self {
        Self {
            there: There::Same,
            other_host: false,
            configured: false,
            has_secret: true,
            holds: false,
            timers: vec![1],
            odd: Odd::Nothing,
        }
    }
}

fn there() -> impl Strategy<Value = There> {
    prop_oneof![
        12 => Just(There::Same),
        4 => Just(There::Bare),
        3 => Just(There::Older),
        2 => Just(There::Rebuilt),
        1 => Just(There::Newer),
    ]
}

fn odd() -> impl Strategy<Value = Odd> {
    prop_oneof![3 => Just(Odd::Nothing), 2 => prop::sample::select(ODD.to_vec())]
}

fn timers() -> impl Strategy<Value = Vec<usize>> {
    prop::sample::subsequence(vec![0, 1, 2], 0..=3)
}

fn target() -> impl Strategy<Value = Target> {
    let django = prop_oneof![
        8 => Just(Django::Same),
        1 => Just(Django::OtherRevision),
        1 => Just(Django::OtherPatch),
        1 => Just(Django::OlderFeature),
        1 => Just(Django::NewerFeature),
    ];
    let often = prop::bool::weighted;
    let flags = (
        often(0.8),
        often(0.9),
        often(0.1),
        often(0.1),
        often(0.5),
        often(0.3),
    );
    (there(), often(0.3), django, timers(), flags, odd()).prop_map(
        |(there, other_host, django, timers, flags, odd)| {
            let (site, served, holds, held_before, own_worker, optional_unit) = flags;
            Target {
                there,
                other_host,
                django,
                site,
                served,
                timers,
                holds,
                held_before,
                own_worker,
                optional_unit,
                odd,
            }
        },
    )
}

fn worker() -> impl Strategy<Value = Worker> {
    let often = prop::bool::weighted;
    let flags = (often(0.2), often(0.3), often(0.8), often(0.1));
    (there(), flags, timers(), odd()).prop_map(|(there, flags, timers, odd)| {
        let (other_host, configured, has_secret, holds) = flags;
        Worker {
            there,
            other_host,
            configured,
            has_secret,
            holds,
            timers,
            odd,
        }
    })
}

fn sketches() -> impl Strategy<Value = Sketch> {
    let kind = prop_oneof![
        5 => Just(Kind::Master),
        3 => Just(Kind::Lab),
        1 => Just(Kind::Worker),
        1 => Just(Kind::NewMaster),
        1 => Just(Kind::NewWorker),
        2 => Just(Kind::DrillMaster),
        1 => Just(Kind::DrillWorker),
    ];
    let jobs = prop::collection::btree_map(1..500_u64, 0..4_usize, 0..4);
    let devices = prop::collection::btree_map("[a-z]{1,3}", 0..6_usize, 0..5);
    let content = (jobs, devices, 0..3_u64).prop_map(|(jobs, devices, queued)| Content {
        jobs,
        devices,
        queued,
    });
    let debs = prop_oneof![
        2 => Just(DebsHeld::None),
        1 => Just(DebsHeld::Critical),
        3 => Just(DebsHeld::Closure),
        1 => Just(DebsHeld::Open),
    ];
    let options = (
        prop::bool::weighted(0.3),
        prop::option::weighted(0.3, prop::bool::weighted(0.9)),
    );
    let workers = prop::collection::vec(worker(), 0..=4);
    let hosts = (target(), workers, 0..24_usize);
    (0..ERAS.len(), kind, content, debs, options, hosts).prop_map(
        |(era, kind, content, debs, options, (master, workers, order))| Sketch {
            era,
            kind,
            content,
            debs,
            options,
            master,
            workers,
            order,
        },
    )
}

/// Cases of every kind.
pub fn cases() -> impl Strategy<Value = Case> {
    sketches().prop_map(Sketch::draw)
}

/// A case for which there are steps.
#[derive(Clone)]
pub struct Planned {
    pub case: Case,
    pub plan: Plan,
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt(f)
    }
}

/// Cases for which there are steps.
pub fn planned() -> impl Strategy<Value = Planned> {
    let refused = "the case is refused";
    cases().prop_filter_map(refused, |case| {
        let plan = case.plan();
        (plan.verdict < Verdict::Refuse).then_some(Planned { case, plan })
    })
}

/// Whether something on the master changes packages by itself.
pub fn has_timers(case: &Case) -> bool {
    let mut masters = case
        .hosts
        .iter()
        .filter(|host| host.backup.facts.role == Role::Master);
    masters.any(|host| !host.target.timers.clone().unwrap_or_default().is_empty())
}
