//! The example of the crate does what it says.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod common;
#[path = "../examples/there_and_back.rs"]
mod example;

use common::lab::cluster;

#[test]
fn the_example_brings_a_database_there_and_back() {
    let cluster = cluster();
    let admin = cluster.superuser();
    admin.query("postgres", "CREATE DATABASE lab").unwrap();
    let sql = "CREATE TABLE public.job AS SELECT generate_series(1, 7) AS id; CREATE TABLE public.device ()";
    admin.query("lab", sql).unwrap();
    let mut out = Vec::new();
    example::there_and_back(&cluster.address("lab"), admin, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "       0 rows  device\n       7 rows  job\n2 tables of lab_copy are the same\n"
    );
    let copied = admin
        .value("lab_copy", "SELECT sum(id) FROM public.job")
        .unwrap();
    assert_eq!(copied.as_deref(), Some("28"));
}
