//! What differs between two hosts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Class, ConffileContent, HostState};

/// One thing that two hosts do not have alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// What it is: a kind and a name, as in `package lava-server:all`.
    pub subject: String,
    /// How the one has it; `None` when it does not.
    pub here: Option<String>,
    /// How the other has it; `None` when it does not.
    pub there: Option<String>,
}

impl HostState {
    /// What another host has otherwise, in the order of subjects.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (mut here, mut there) = (self.subjects(), other.subjects());
        let all: BTreeSet<String> = here.keys().chain(there.keys()).cloned().collect();
        all.into_iter()
            .filter_map(|subject| {
                let (here, there) = (here.remove(&subject), there.remove(&subject));
                (here != there).then_some(Difference {
                    subject,
                    here,
                    there,
                })
            })
            .collect()
    }

    /// Everything that can differ, each with how it is here.
    pub fn subjects(&self) -> BTreeMap<String, String> {
        let mut subjects = BTreeMap::new();
        let mut put = |subject: String, how: String| {
            subjects.insert(subject, how);
        };
        let base = self
            .base
            .suite
            .as_ref()
            .map_or("unknown", |suite| suite.as_str());
        put("base".into(), base.into());
        put("architectures".into(), self.architectures.join(" "));
        for package in &self.packages {
            let version = package
                .version
                .as_ref()
                .map_or("-", |version| version.as_str());
            let mark = if self.auto.contains(package) {
                "auto"
            } else {
                "manual"
            };
            let class = self
                .origin(package)
                .map_or(Class::Unknown, |origin| origin.class);
            put(
                format!("package {}:{}", package.name, package.architecture),
                format!(
                    "{version} {} {} {} {mark} {}",
                    package.want,
                    package.flag,
                    package.state,
                    class.as_str()
                ),
            );
        }
        for conffile in &self.conffiles {
            let how = match &conffile.content {
                ConffileContent::Shipped => "as shipped".to_owned(),
                ConffileContent::Modified(md5) => format!("modified, MD5 {md5}"),
                ConffileContent::Missing => "missing".to_owned(),
                ConffileContent::Unreadable(why) => why.clone(),
            };
            let obsolete = if conffile.obsolete { ", obsolete" } else { "" };
            put(
                format!("conffile {}", conffile.path.display()),
                format!("{how}{obsolete}"),
            );
        }
        for diversion in &self.diversions {
            let by = diversion.package.as_deref().unwrap_or("the admin");
            let how = format!("to {} by {by}", diversion.to.display());
            put(format!("diversion {}", diversion.from.display()), how);
        }
        for o in &self.stat_overrides {
            let how = format!("{} {} {:o}", o.user, o.group, o.mode);
            put(format!("override {}", o.path.display()), how);
        }
        for alternative in &self.alternatives {
            let mode = if alternative.manual { "manual" } else { "auto" };
            let value = alternative
                .value
                .as_deref()
                .map(|path| path.display().to_string());
            let how = format!("{mode} {}", value.as_deref().unwrap_or("-"));
            put(format!("alternative {}", alternative.name), how);
        }
        for selection in &self.selections {
            let how = match (&selection.value, selection.secret) {
                (_, true) => "a secret",
                (Some(value), _) => value,
                (None, _) => "-",
            };
            put(format!("debconf {}", selection.question), how.to_owned());
        }
        for source in &self.sources {
            for (uri, suite) in source
                .uris
                .iter()
                .flat_map(|uri| source.suites.iter().map(move |suite| (uri, suite)))
            {
                let on = if source.enabled { "on" } else { "off" };
                let options: Vec<String> = source
                    .options
                    .iter()
                    .map(|(k, v)| format!("{k}={}", v.join(",")))
                    .collect();
                put(
                    format!("source {uri} {suite} {:?}", source.types),
                    format!("{on} {} {}", source.components.join(" "), options.join(" ")),
                );
            }
        }
        for preference in &self.preferences {
            let subject = format!(
                "preference {} {}",
                preference.packages.join(" "),
                preference.pin
            );
            put(subject, preference.priority.to_string());
        }
        for keyring in &self.keyrings {
            let how = keyring.sha256.map(|digest| digest.to_string());
            let how = how.unwrap_or_else(|| "missing".to_owned());
            put(format!("keyring {}", keyring.file.display()), how);
        }
        for setting in &self.settings {
            // A list has many of one name.
            let value = setting.value.clone().unwrap_or_default();
            let (subject, how) = match setting.name.ends_with("::") {
                true => (format!("setting {} {value:?}", setting.name), String::new()),
                false => (format!("setting {}", setting.name), value),
            };
            put(subject, how);
        }
        for timer in &self.timers {
            let how = match (timer.masked, timer.enabled) {
                (true, _) => "masked",
                (false, true) => "enabled",
                (false, false) => "not enabled",
            };
            put(format!("timer {}", timer.name), how.to_owned());
        }
        subjects
    }
}
