use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Finding, Plan, schema};

mod text;

/// How two plans differ, by the ids of what they hold; see [`diff`].
///
/// As text it is a line for each thing: `+` for what only the later plan has, `-` for what only the
/// earlier one has, `!` for what both have otherwise, with the fields that differ below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct PlanDiff {
    /// The version of this document.
    pub schema: PlanDiffSchema,
    /// What differs in the plans themselves: intent, verdict, and under `hosts`, `steps`, `gates`
    /// and `findings` the order of those that are the same in both.
    pub plan: Vec<FieldChange>,
    /// The hosts that differ, by id: what they are bound to.
    pub hosts: Vec<Difference>,
    /// The steps that differ, by id.
    pub steps: Vec<Difference>,
    /// The gates that differ, by id.
    pub gates: Vec<Difference>,
    /// The findings that differ, by host, code and subject.
    pub findings: Vec<Difference>,
}

/// The versions of [`PlanDiff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlanDiffSchema {
    /// The first.
    #[serde(rename = "lava-restore-plan/plan-diff/1")]
    V1,
}

/// One host, step, gate or finding that is not the same in both plans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Difference {
    /// Its id; of a finding, its host, code and subject.
    pub id: String,
    /// Which of the plans has it.
    pub side: Side,
    /// Its title, of a gate why it is there, of a finding what was found, of a host its backup.
    pub title: String,
    /// The fields that differ, when both plans have it.
    pub fields: Vec<FieldChange>,
}

/// Which of two plans has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Only the earlier one.
    Removed,
    /// Only the later one.
    Added,
    /// Both, and not the same.
    Changed,
}

/// A field with two values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct FieldChange {
    /// Its name; with dots, where it is in what has that name before them.
    pub field: String,
    /// Its value in the earlier plan.
    pub before: Value,
    /// Its value in the later plan.
    pub after: Value,
}

/// Tells how two plans differ: nothing of it depends on where in a plan something stands, but the
/// order of what is the same in both is compared too. Equal plans, and no others, give an empty one.
#[must_use]
pub fn diff(before: &Plan, after: &Plan) -> PlanDiff {
    let [before, after] = [before, after].map(Parts::of);
    let mut plan = fields(&before.plan, &after.plan);
    let mut compare = |name: &str, before: &Things, after: &Things| {
        plan.extend(order(name, before, after));
        things(before, after)
    };
    let hosts = compare("hosts", &before.hosts, &after.hosts);
    let steps = compare("steps", &before.steps, &after.steps);
    let gates = compare("gates", &before.gates, &after.gates);
    let findings = compare("findings", &before.findings, &after.findings);
    PlanDiff {
        schema: PlanDiffSchema::V1,
        plan,
        hosts,
        steps,
        gates,
        findings,
    }
}

impl PlanDiff {
    /// Whether the plans are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
            && self.hosts.is_empty()
            && self.steps.is_empty()
            && self.gates.is_empty()
            && self.findings.is_empty()
    }
}

impl Plan {
    /// Reads a plan without [`check`](Self::check), to compare it: one that another version made,
    /// or that was altered, can be looked at. No rendering takes it then.
    ///
    /// # Errors
    /// `UnknownSchema` and `Malformed` for a document that is no plan of this version.
    pub fn from_json_unchecked(json: &[u8]) -> Result<Self, Error> {
        schema::read(json, schema::PLAN)
    }
}

/// A plan taken apart: gates are compared by themselves and leave their ids in their steps.
struct Parts {
    plan: Value,
    hosts: Things,
    steps: Things,
    gates: Things,
    findings: Things,
}

/// Things by key, in their order.
type Things = Vec<(String, Value)>;

impl Parts {
    fn of(plan: &Plan) -> Self {
        let (mut steps, mut gates) = (Vec::new(), Vec::new());
        for step in &plan.steps {
            let mut value = json(step);
            for (field, own) in [("pre", &step.pre), ("post", &step.post)] {
                value[field] = own.iter().map(|gate| gate.id.clone()).collect();
                gates.extend(own.iter().map(|gate| (gate.id.clone(), json(gate))));
            }
            steps.push((step.id.clone(), value));
        }
        let about = |f: &Finding| {
            let on = if f.host.is_empty() { "all" } else { &f.host };
            (format!("{on} {} {}", f.code, f.subject), json(f))
        };
        let hosts = plan.hosts.iter().map(|host| (host.id.clone(), json(host)));
        let hosts = numbered(hosts.collect());
        let findings = plan.findings.iter().map(about).collect();
        let mut plan = json(plan);
        if let Some(plan) = plan.as_object_mut() {
            plan.retain(|field, _| !["hosts", "steps", "findings"].contains(&field.as_str()));
        }
        Self {
            plan,
            hosts,
            steps: numbered(steps),
            gates: numbered(gates),
            findings: numbered(findings),
        }
    }
}

/// Ids are unique in every plan that was made, but not in every document.
fn numbered(mut things: Things) -> Things {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (key, _) in &mut things {
        let count = seen.entry(key.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            *key = format!("{key} ({count})");
        }
    }
    things
}

fn json(part: &impl Serialize) -> Value {
    // Nothing in a plan has a key that is no text, which is all that could fail.
    serde_json::to_value(part).unwrap_or_default()
}

fn things(before: &Things, after: &Things) -> Vec<Difference> {
    let [old, new] = [before, after].map(by_key);
    let mut differences = Vec::new();
    for (id, value) in before
        .iter()
        .filter(|(id, _)| !new.contains_key(id.as_str()))
    {
        differences.push(Difference::of(id, Side::Removed, value, Vec::new()));
    }
    for (id, value) in after {
        match old.get(id.as_str()) {
            None => differences.push(Difference::of(id, Side::Added, value, Vec::new())),
            Some(earlier) if *earlier != value => {
                let fields = fields(earlier, value);
                differences.push(Difference::of(id, Side::Changed, value, fields));
            }
            Some(_) => {}
        }
    }
    differences
}

fn by_key(things: &Things) -> BTreeMap<&str, &Value> {
    things
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect()
}

fn fields(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    if before.is_object() && after.is_object() {
        compare_at(None, before, after, &mut changes);
    }
    changes
}

/// Of an object in both, what differs in it, and not all that it holds.
fn compare_at(place: Option<&str>, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        changes.push(FieldChange {
            field: place.unwrap_or_default().to_owned(),
            before: before.clone(),
            after: after.clone(),
        });
        return;
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let [before, after] = [old, new].map(|fields| fields.get(name));
        if before == after {
            continue;
        }
        let place = place.map_or_else(|| name.clone(), |place| format!("{place}.{name}"));
        let [before, after] = [before, after].map(|value| value.unwrap_or(&Value::Null));
        compare_at(Some(&place), before, after, changes);
    }
}

/// The order of what is the same in both, where it differs. What has changed may stand elsewhere for
/// that, as a finding that is worse now.
fn order(name: &str, before: &Things, after: &Things) -> Option<FieldChange> {
    let common = |things: &Things, other: &Things| -> Vec<Value> {
        let other = by_key(other);
        let same = |(key, value): &&(String, Value)| other.get(key.as_str()) == Some(&value);
        let kept = things.iter().filter(same);
        kept.map(|(key, _)| Value::from(key.as_str())).collect()
    };
    let (old, new) = (common(before, after), common(after, before));
    (old != new).then(|| FieldChange {
        field: name.to_owned(),
        before: Value::from(old),
        after: Value::from(new),
    })
}

impl Difference {
    fn of(id: &str, side: Side, value: &Value, fields: Vec<FieldChange>) -> Self {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let titles = ["title", "found", "why", "backup"];
        let title = titles.into_iter().find_map(text);
        Self {
            id: id.to_owned(),
            side,
            title: title.unwrap_or_default(),
            fields,
        }
    }
}
