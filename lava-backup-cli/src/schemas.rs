//! The JSON Schemas in `schemas/` are those of the documents that commands
//! print. `UPDATE_SCHEMAS=1 cargo test` writes them anew.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use schemars::{JsonSchema, schema_for};

use crate::{
    compare, create, database, diff, drill, extract, forget, look, onefile, packages, prune,
    repair, status, verify,
};

#[test]
fn the_published_schemas_are_those_of_the_answers() {
    check::<look::Made>("init");
    check::<create::Created>("create");
    check::<status::Status>("status");
    check::<look::Listed>("list");
    check::<look::Shown>("show");
    check::<look::Files>("ls");
    check::<look::Content>("cat");
    check::<verify::Verified>("verify");
    check::<extract::Extracted>("extract");
    check::<database::DumpShown>("database-show");
    check::<database::Compared>("database-compare");
    check::<packages::RepositoryMade>("packages-repo");
    check::<packages::plan::InstallPlan>("packages-install-plan");
    check::<packages::install::Installed>("packages-install");
    check::<crate::admit::Admission>("admit");
    check::<crate::admit::Reached>("admit-check");
    check::<crate::debs::DebsDocument>("debs");
    check::<drill::Drilled>("drill");
    check::<compare::Equivalence>("compare");
    check::<diff::Differing>("diff");
    check::<forget::Forgotten>("forget");
    check::<prune::Pruned>("prune");
    check::<onefile::Exported>("export");
    check::<onefile::Taken>("import");
    check::<repair::Repaired>("repair");
    check::<crate::restore::Restored>("restore");
    check::<lava_restore_plan::run::Evidence>("verified");
}

fn check<T: JsonSchema>(name: &str) {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let path = schemas.join(format!("{name}.schema.json"));
    let schema = serde_json::to_value(schema_for!(T)).unwrap();
    let text = format!("{schema:#}\n");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, text, "{} is out of date", path.display());
}
