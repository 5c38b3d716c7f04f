#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn every_store_has_a_name_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let ids = ["a", "b"].map(|name| {
        let store = Store::init(&dir.path().join(name)).unwrap();
        let again = Store::open(&dir.path().join(name)).unwrap();
        assert_eq!(again.id(), store.id());
        store.id().to_owned()
    });
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}

#[test]
fn what_is_no_store_is_told_by_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for (path, kind) in [
        ("none", ErrorKind::StoreMissing),
        ("file", ErrorKind::NotAStore),
        ("file/below", ErrorKind::NotAStore),
        ("", ErrorKind::NotAStore),
    ] {
        let error = Store::open(&dir.path().join(path)).unwrap_err();
        assert_eq!(error.kind(), kind, "{path:?}");
    }
}
