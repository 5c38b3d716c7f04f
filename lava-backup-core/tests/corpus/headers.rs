//! Classes 9 to 12 and 14: what headers and lines of the index say of a file.

use lava_backup_core::ErrorKind::{Damaged, TooNew};
use serde_json::{Value, json};

use super::{Corpus, Member, each, plain};
use crate::forge::{fix_checksum, pad, pax_block, pax_record};

pub(super) fn add(corpus: &mut Corpus) {
    modes_and_attributes(corpus);
    corpus.class(10);
    each(b"34789ADgKLMNSVXx\0 ", |flag: u8| {
        corpus.headers(
            format!("a tar header of the type {:?}", char::from(flag)),
            "",
            move |headers| {
                ustar(headers, |block| block[156] = flag);
            },
        );
    });
    each(
        &["device", "socket", "whiteout", "File", "", "\u{1b}[31m"],
        |kind: &str| {
            corpus.line(
                format!("an entry of the type {kind:?}"),
                TooNew,
                "unknown variant",
                move |l| l["type"] = json!(kind),
            );
        },
    );
    each(
        &["secrets", "Plain", "", "\u{1b}]0;x\u{7}"],
        |class: &str| {
            corpus.line(
                format!("an entry of the class {class:?}"),
                TooNew,
                "unknown variant",
                move |l| l["class"] = json!(class),
            );
        },
    );
    owners_and_times(corpus);
    sizes(corpus);
    records(corpus);
}

fn modes_and_attributes(corpus: &mut Corpus) {
    corpus.class(9);
    each(
        &[0o4755u32, 0o2755, 0o6777, 0o1777, 0o777, 0, 0o7777],
        |mode: u32| {
            for (user, uid) in [("root", 0), ("nobody-here", 4242), ("", 4243)] {
                corpus.sound(
                    format!("the mode {mode:o} of a file of {user:?}"),
                    move || {
                        let mut file = plain();
                        file.mode = mode;
                        file.owner = (user.into(), user.into(), uid, uid);
                        vec![file]
                    },
                );
            }
        },
    );
    each(
        &[0o10000u32, 0o100_644, 0o060_644, u32::MAX],
        |mode: u32| {
            corpus.line(
                format!("the mode {mode:o} in the index"),
                Damaged,
                "a mode that is none",
                move |l| l["mode"] = json!(mode),
            );
        },
    );
    let attribute = |name: &[u8], value: &[u8]| {
        let mut file = plain();
        file.xattrs = [(name.to_vec(), value.to_vec())].into();
        file
    };
    for name in [
        "security.selinux",
        "security.ima",
        "security.evm",
        "security.apparmor",
        "security.SMACK64",
        "security.capability2",
        "system.posix_acl_access",
        "system.nfs4_acl",
        "os2.x",
        "user.",
        "user",
        "trusted.",
        "",
        "User.x",
    ] {
        corpus.bad(format!("the attribute {name:?}"), "attribute", move || {
            vec![attribute(name.as_bytes(), b"x")]
        });
    }
    corpus.bad(
        "an attribute with a NUL in its name",
        "attribute",
        move || vec![attribute(b"user.x\0y", b"x")],
    );
    corpus.bad(
        "an attribute with a name of 256 bytes",
        "attribute",
        move || vec![attribute(&[&b"user."[..], &[b'n'; 251]].concat(), b"")],
    );
    corpus.bad("an attribute of 64 KiB and a byte", "64 KiB", move || {
        vec![attribute(b"user.x", &vec![b'x'; 65_537])]
    });
    corpus.bad("attributes of 300 KiB", "256 KiB", || {
        let mut file = plain();
        file.xattrs = (0..5)
            .map(|n| (format!("user.{n}").into_bytes(), vec![b'x'; 60 << 10]))
            .collect();
        vec![file]
    });
    corpus.bad("a hundred thousand attributes", "", || {
        let mut file = plain();
        file.xattrs = (0..100_000)
            .map(|n| (format!("user.{n}").into_bytes(), Vec::new()))
            .collect();
        vec![file]
    });
    each(
        &[
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "user.\u{1b}[31m%=",
        ],
        |name: &str| {
            corpus.sound(format!("the attribute {name:?}"), move || {
                vec![Member {
                    xattrs: [(name.as_bytes().to_vec(), b"y".to_vec())].into(),
                    ..Member::dir("config/e")
                }]
            });
        },
    );
    for (user, uid) in [("root", 0), ("nobody-here", 4242)] {
        corpus.sound(format!("capabilities of a file of {user}"), move || {
            let mut file = attribute(
                b"security.capability",
                b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            );
            file.owner = (user.into(), user.into(), uid, uid);
            vec![file]
        });
    }
    each(
        &[
            "",
            "x",
            "user::rwx",
            "user::rwx,group::r-x",
            "user::rwx,group::r-x,other::---",
            "user::rwx,user:a:rwx:1,group::r-x,other::---",
            "other::---,user::rwx,group::r-x,mask::rwx",
            "user::rwx,user:a:rwx,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:rws:1,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:rwx:4294967295,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:rwx:-1,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a:rwx:01,group::r-x,mask::rwx,other::---",
            "user::rwx,user:a\u{1b}:rwx:1,group::r-x,mask::rwx,other::---",
            "user::rwx,group::r-x,mask::rwx,other::---,",
            "user::rwx,user::rwx,group::r-x,mask::rwx,other::---",
        ],
        |list: &str| {
            corpus.bad(format!("the list {list:?}"), "access list", move || {
                vec![Member {
                    acl: Some(list.into()),
                    ..plain()
                }]
            });
        },
    );
    corpus.bad("a default list of a file", "", || {
        vec![Member {
            default_acl: Some("user::rwx,group::r-x,other::---".into()),
            ..plain()
        }]
    });
    corpus.bad("a list of a symbolic link", "", || {
        vec![Member {
            acl: Some("user::rwx,group::r-x,mask::r-x,other::---".into()),
            ..Member::symlink("config/x", "y")
        }]
    });
    corpus.bad("ten thousand entries of a list", "", || {
        let named: String = (1..10_000).map(|n| format!("user:{n}:rwx:{n},")).collect();
        vec![Member {
            acl: Some(format!("user::rwx,{named}group::r-x,mask::r-x,other::---")),
            ..plain()
        }]
    });
}

fn owners_and_times(corpus: &mut Corpus) {
    corpus.class(11);
    for key in ["uid", "gid"] {
        corpus.line(
            format!("the {key} 2^32-1"),
            Damaged,
            "an owner that nobody can be",
            move |l| l[key] = json!(u32::MAX),
        );
        each(
            &[
                json!(-1),
                json!(1u64 << 32),
                json!(1.5),
                json!("0"),
                json!(null),
                json!([0]),
            ],
            |value: Value| {
                corpus.line(
                    format!("the {key} {value}"),
                    Damaged,
                    "bad entry",
                    move |l| l[key] = value.clone(),
                );
            },
        );
        corpus.bad(
            format!("the {key} 2^32-1, in the header too"),
            "an owner that nobody can be",
            move || {
                let mut file = plain();
                file.owner.2 = if key == "uid" { u32::MAX } else { 0 };
                file.owner.3 = if key == "gid" { u32::MAX } else { 0 };
                vec![file]
            },
        );
    }
    each(
        &["n".repeat(257), "a\0b".into(), "x".repeat(1 << 16)],
        |name: String| {
            corpus.bad(
                format!("a name of a user of {} bytes", name.len()),
                "whose name can be none",
                move || {
                    let mut file = plain();
                    file.owner.0 = name.clone();
                    file.headers = None;
                    vec![file]
                },
            );
        },
    );
    each(
        &[
            "root:x:0:0",
            "../root",
            "\u{1b}[31mroot",
            "0",
            "-1",
            "root\n",
            "\u{202e}toor",
            "+",
        ],
        |name: &str| {
            corpus.sound(format!("a user with the name {name:?}"), move || {
                let mut file = plain();
                file.owner = (name.into(), name.into(), 4242, 4242);
                vec![file]
            });
        },
    );
    corpus.class(12);
    each(
        &[
            (-1i64, 0u32),
            (-1, 999_999_999),
            (i64::MIN, 0),
            (i64::MAX, 999_999_999),
            (253_402_300_800, 0),
            (1 << 33, 1),
        ],
        |mtime: (i64, u32)| {
            corpus.sound(format!("the time {mtime:?}"), move || {
                vec![Member { mtime, ..plain() }]
            });
        },
    );
    each(
        &[
            json!([0, 1_000_000_000]),
            json!([0, -1]),
            json!([0]),
            json!([0, 0, 0]),
            json!(0),
            json!("0"),
            json!([1.5, 0]),
            json!([9_223_372_036_854_775_808u64, 0]),
        ],
        |time: Value| {
            corpus.line(format!("the time {time}"), Damaged, "bad entry", move |l| {
                l["mtime"] = time.clone()
            });
        },
    );
}

fn sizes(corpus: &mut Corpus) {
    corpus.class(14);
    each(
        &[
            0u64,
            4,
            6,
            512,
            513,
            1 << 20,
            1 << 33,
            1 << 62,
            1 << 63,
            u64::MAX,
        ],
        |size: u64| {
            corpus.line(
                format!("{size} bytes in the index alone"),
                Damaged,
                "",
                move |l| l["size"] = json!(size),
            );
            corpus.headers(
                format!("{size} bytes in the tar header alone"),
                "",
                move |headers| {
                    let text = format!("{:011o}\0", size & 0o77_777_777_777);
                    ustar(headers, |block| {
                        block[124..136].copy_from_slice(text.as_bytes())
                    });
                },
            );
            corpus.bad(
                format!("a record of {size} bytes beside the field"),
                "",
                move || {
                    vec![Member {
                        after: vec![(b"size".to_vec(), size.to_string().into_bytes())],
                        ..plain()
                    }]
                },
            );
        },
    );
    let fields: [(&str, usize, &[u8]); 14] = [
        (
            "a size in base 256 below zero",
            124,
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb",
        ),
        ("a size in base 256", 124, b"\x80\0\0\0\0\0\0\0\0\0\0\x05"),
        ("a size that is no octal number", 124, b"00000000009\0"),
        ("a size with blanks before it", 124, b"          5\0"),
        ("a size without an end", 124, b"000000000005"),
        ("a size of nothing", 124, b"\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("a mode in base 256", 100, b"\x80\0\0\0\0\0\x01\xa4"),
        ("the magic of GNU tar", 257, b"ustar  \0"),
        ("no magic", 257, b"\0\0\0\0\0\0\0\0"),
        ("a version of NULs", 263, b"\0\0"),
        ("a prefix", 345, b"../../etc"),
        ("a number of a device", 329, b"0000001\0"),
        ("bytes after its fields", 500, b"x"),
        ("bytes after the NUL of its name", 20, b"/../../x"),
    ];
    for (name, at, bytes) in fields {
        corpus.headers(
            format!("a tar header with {name}"),
            "tar header",
            move |headers| {
                ustar(headers, |block| {
                    block[at..at + bytes.len()].copy_from_slice(bytes)
                });
            },
        );
    }
    corpus.headers(
        "a tar header with a checksum that does not fit",
        "checksum",
        |headers| {
            let at = headers.len() - 512;
            headers[at + 148] ^= 1;
        },
    );
    corpus.headers("a tar header with a signed checksum", "", |headers| {
        let at = headers.len() - 512;
        headers[at + 148..at + 156].copy_from_slice(b"\xff0000000");
    });
    corpus.bad(
        "a file that is a tar in a tar, whose header says no bytes",
        "",
        || {
            let mut inner = Member::file("config/smuggled", "x");
            inner.mode = 0o4755;
            let content = crate::forge::metadata_member("../etc/smuggled", b"x");
            let mut file = Member::file("config/f", content);
            file.headers = Some(Box::new(|headers| {
                ustar(headers, |block| block[124..135].fill(b'0'))
            }));
            vec![file]
        },
    );
}

fn records(corpus: &mut Corpus) {
    corpus.class(14);
    let pairs: [(&str, &str); 16] = [
        ("path", "config/other"),
        ("path", "/etc/cron.d/x"),
        ("path", ""),
        ("linkpath", "/etc"),
        ("uid", "0"),
        ("uname", "root"),
        ("mtime", "0"),
        ("mtime", "5.000000000"),
        ("comment", "lava-backup:secret"),
        ("comment", "x"),
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.name", "config/other"),
        ("GNU.sparse.map", "0,1"),
        ("SCHILY.fflags", "immutable"),
        ("hdrcharset", "BINARY"),
        ("SCHILY.dev", "1"),
    ];
    for (key, value) in pairs {
        let pair = || (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        corpus.bad(
            format!("the record {key}={value} after ours"),
            "",
            move || {
                vec![Member {
                    after: vec![pair()],
                    ..plain()
                }]
            },
        );
        corpus.bad(
            format!("the record {key}={value} before ours"),
            "",
            move || {
                vec![Member {
                    before: vec![pair()],
                    ..plain()
                }]
            },
        );
    }
    let lies: [(&str, &[u8]); 12] = [
        ("a length that is too small", b"5 path=config/other\n"),
        ("a length that is too big", b"9999 path=config/other\n"),
        ("a length of nothing", b" path=x\n"),
        ("a length that is no number", b"0x10 path=x\n"),
        ("a length of zero", b"0 path=x\n"),
        ("no length", b"path=config/other\n"),
        ("no equals sign", b"9 abcdef\n"),
        ("no key", b"6 =abc\n"),
        ("no newline", b"11 path=a/b "),
        ("a length with zeros before it", b"000012 path=x\n"),
        (
            "a length beyond all numbers",
            b"99999999999999999999 path=x\n",
        ),
        ("NULs", b"\0\0\0\0\0\0"),
    ];
    for (name, record) in lies {
        corpus.headers(format!("a record with {name}"), "", move |headers| {
            let mut records = pax_record(b"mtime", b"981173106.123456789");
            records.extend_from_slice(record);
            replace_records(headers, &records);
        });
    }
    corpus.headers("two headers of records", "", |headers| {
        let again = headers[..headers.len() - 512].to_vec();
        headers.splice(..0, again);
    });
    corpus.headers("a global header", "", |headers| {
        let mut global = headers[..headers.len() - 512].to_vec();
        global[156] = b'g';
        fix_checksum(&mut global);
        headers.splice(..0, global);
    });
    corpus.headers("records that no header follows", "", |headers| {
        headers.truncate(headers.len() - 512)
    });
    corpus.headers("a header without records", "", |headers| {
        drop(headers.drain(..headers.len() - 512))
    });
    corpus.headers("records of two megabytes", "bytes of records", |headers| {
        let mut records = pax_record(b"mtime", b"981173106.123456789");
        records.extend(pax_record(b"comment", &vec![b'x'; 2 << 20]));
        replace_records(headers, &records);
    });
    corpus.headers("a long name as GNU tar has it", "", |headers| {
        let mut long = Member::file("././@LongLink", b"/etc/x\0");
        long.flag = b'L';
        let mut block = vec![0; 512];
        block[..13].copy_from_slice(b"././@LongLink");
        block[156] = b'L';
        block[124..135].copy_from_slice(b"00000000007");
        block[257..265].copy_from_slice(b"ustar  \0");
        fix_checksum(&mut block);
        block.extend_from_slice(&long.content);
        pad(&mut block);
        headers.splice(..0, block);
    });
}

/// Changes the ustar header, the last block, and makes its checksum fit.
fn ustar(headers: &mut [u8], change: impl Fn(&mut [u8])) {
    let at = headers.len() - 512;
    change(&mut headers[at..]);
    fix_checksum(&mut headers[at..]);
}

fn replace_records(headers: &mut Vec<u8>, records: &[u8]) {
    let mut all = pax_block(records.len() as u64);
    all.extend_from_slice(records);
    pad(&mut all);
    all.extend_from_slice(&headers[headers.len() - 512..]);
    *headers = all;
}
