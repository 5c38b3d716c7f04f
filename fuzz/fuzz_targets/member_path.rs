//! Paths: every one has one text and every text one path, and none leads out of a directory.
#![no_main]

use std::path::Component;

use lava_backup_core::{LinkTarget, MemberPath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A link's text is escaped as a path's is, and what it points to is nobody's business.
    if let Some(link) = LinkTarget::new(data) {
        assert!(!link.to_string().chars().any(char::is_control));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(path) = text.parse::<MemberPath>()
    {
        assert_eq!(path.to_string(), text);
    }
    let Ok(path) = MemberPath::new(data) else {
        return;
    };
    assert!(
        path.as_path()
            .components()
            .all(|c| matches!(c, Component::Normal(_)))
    );
    assert_eq!(
        path.as_path().components().count(),
        path.components().count()
    );
    let text = path.to_string();
    assert!(!text.chars().any(char::is_control));
    assert_eq!(text.parse::<MemberPath>().unwrap(), path);
    let (parent, name) = path.split_last();
    match parent {
        None => assert_eq!(name, path.as_bytes()),
        Some(parent) => {
            assert!(parent < path && path.is_within(&parent));
            assert_eq!(parent.join(name).unwrap(), path);
            // A walk of the tree gives this order.
            let sibling = parent.join(&[name, b"-"].concat()).unwrap();
            let child = path.join(b"x").unwrap_or_else(|_| path.clone());
            assert!(path <= child && child < sibling);
        }
    }
});
