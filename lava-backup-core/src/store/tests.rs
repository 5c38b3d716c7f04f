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

#[test]
fn a_frame_that_was_changed_or_is_gone_is_given_in_no_form() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let content = b"content";
    let name = FrameName::of(content);
    let stored = frame::Encoder::new(3).encode(name, content).unwrap();
    let put = |bytes: &[u8]| {
        let place = store.frame_place(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, bytes).unwrap();
    };
    let failures = || {
        assert_eq!(store.intact_frame(name), None);
        [store.read_frame(name), store.stored_frame(name)].map(|r| r.unwrap_err().kind())
    };
    assert_eq!(failures(), [ErrorKind::Damaged; 2]);
    put(&stored);
    assert_eq!(store.read_frame(name).unwrap(), content);
    assert_eq!(store.stored_frame(name).unwrap(), stored);
    assert_eq!(store.intact_frame(name), Some(stored.len() as u64));
    let mut changed = stored;
    changed[9] ^= 1;
    put(&changed);
    assert_eq!(failures(), [ErrorKind::Damaged; 2]);
}

#[test]
fn what_has_the_name_of_a_frame_and_is_no_file_is_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store")).unwrap();
    let [real, link] = [FrameName::of(b"real"), FrameName::of(b"link")];
    for name in [real, link] {
        std::fs::create_dir_all(store.frame_place(name).parent().unwrap()).unwrap();
    }
    std::fs::write(store.frame_place(real), "real").unwrap();
    std::os::unix::fs::symlink(store.frame_place(real), store.frame_place(link)).unwrap();
    let mut found = Vec::new();
    store
        .each_frame(&mut |name, _| {
            found.push(name);
            Ok(())
        })
        .unwrap();
    assert_eq!(found, [real]);
}

#[test]
fn a_feature_that_is_not_known_is_refused() {
    assert!(refuse_unknown(Path::new("p"), &[]).is_ok());
    let error = refuse_unknown(Path::new("p"), &["encryption".to_owned()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooNew);
}
