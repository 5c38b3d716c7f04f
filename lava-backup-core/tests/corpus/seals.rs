//! Class 16 and 20: documents and lists that contradict each other or what
//! they speak of, versions, and texts that would steer a terminal.

use lava_backup_core::ErrorKind::{Damaged, NotAStore, TooNew};
use serde_json::{Value, json};

use super::{Corpus, Expect, each, plain, with};
use crate::forge::{self, document, of};

pub(super) fn add(corpus: &mut Corpus) {
    sums(corpus);
    documents(corpus);
    lists(corpus);
    evidence(corpus);
    corpus.class(20);
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\r\n\u{9b}31m";
    corpus.case(
        "problems, hosts and tools that steer a terminal",
        Expect::Sound,
        move || {
            let mut forgery = with(vec![plain()]);
            for key in ["tool", "host", "taken", "sealed"] {
                forgery.seal[key] = json!(evil);
            }
            let problem =
                json!({"code": evil, "path": "config/%1B", "message": evil, "degrades": true});
            forgery.seal["problems"] = json!([problem]);
            forgery.seal["outcome"] = json!("degraded");
            forgery.seal["documents"] = json!({evil: evil});
            forgery
        },
    );
    for key in ["format", "id", "outcome"] {
        let kind = if key == "id" { Damaged } else { TooNew };
        corpus.seal(
            format!("the {key} of a seal steers a terminal"),
            kind,
            "",
            move |s| s[key] = json!(evil),
        );
    }
    corpus.seal(
        "a feature that steers a terminal",
        TooNew,
        "feature",
        move |s| s["requires"] = json!([evil]),
    );
}

fn sums(corpus: &mut Corpus) {
    corpus.class(16);
    for key in ["frames", "bytes", "entries"] {
        for change in [-1i64, 1] {
            corpus.seal(
                format!("a seal whose {key} are {change} more"),
                Damaged,
                "",
                move |s| {
                    let was = s["archive"][key].as_i64().unwrap();
                    s["archive"][key] = json!(was + change);
                },
            );
        }
        corpus.seal(
            format!("a seal whose {key} are 2^64-1"),
            Damaged,
            "",
            move |s| s["archive"][key] = json!(u64::MAX),
        );
        each(&[json!(-1), json!("3"), json!(null)], |value: Value| {
            corpus.seal(
                format!("a seal whose {key} are {value}"),
                Damaged,
                "not as expected",
                move |s| s["archive"][key] = value.clone(),
            );
        });
    }
    for key in ["frames_digest", "index_digest"] {
        each(
            &["0".repeat(64), String::new(), "A".repeat(64)],
            |value: String| {
                corpus.seal(format!("the {key} {value:?}"), Damaged, "", move |s| {
                    s["archive"][key] = json!(value)
                });
            },
        );
    }
    for (name, sections) in [
        ("no sections", json!({})),
        (
            "an entry more",
            json!({"config": {"entries": 4, "bytes": 19}, "facts": {"entries": 1, "bytes": 2}}),
        ),
        (
            "a byte more",
            json!({"config": {"entries": 3, "bytes": 20}, "facts": {"entries": 1, "bytes": 2}}),
        ),
        (
            "a section more",
            json!({"config": {"entries": 3, "bytes": 19}, "facts": {"entries": 1, "bytes": 2}, "x": {"entries": 0, "bytes": 0}}),
        ),
    ] {
        corpus.seal(
            format!("a seal of {name}"),
            Damaged,
            "not what the seal says",
            move |s| s["sections"] = sections.clone(),
        );
    }
}

fn documents(corpus: &mut Corpus) {
    corpus.class(16);
    for format in [
        "lava-backup/2",
        "lava-backup/01",
        "lava-backup/1.1",
        "",
        "borg",
    ] {
        corpus.seal(
            format!("a seal of the format {format:?}"),
            TooNew,
            "format",
            move |s| s["format"] = json!(format),
        );
    }
    corpus.seal(
        "a seal that requires encryption",
        TooNew,
        "encryption",
        |s| s["requires"] = json!(["encryption"]),
    );
    corpus.seal(
        "a seal with an outcome that is unknown",
        TooNew,
        "unknown variant",
        |s| s["outcome"] = json!("superb"),
    );
    for id in ["other", "../x", "", "x/y", "20261122T120000Z-LAB"] {
        // In one file it is the id, whatever it is.
        corpus.case(
            format!("a seal of the id {id:?}"),
            Expect::Refused(Damaged, ""),
            move || {
                let mut forgery = with(vec![plain()]);
                forgery.seal["id"] = json!(id);
                forgery.one_file = false;
                forgery
            },
        );
    }
    each(
        &[
            "archive",
            "id",
            "problems",
            "sections",
            "requires",
            "outcome",
            "documents",
            "tool",
        ],
        |key: &str| {
            corpus.seal(
                format!("a seal without {key}"),
                Damaged,
                "not as expected",
                move |s| drop(s.remove(key)),
            );
        },
    );
    corpus.seal("a problem of a path that leads out", Damaged, "", |s| {
        s["problems"] = json!([{"code": "x", "path": "../x", "message": "", "degrades": false}]);
    });
    corpus.case("a seal from another store", Expect::Sound, || {
        let mut forgery = with(vec![plain()]);
        forgery.seal["store"] = json!("f".repeat(32));
        forgery
    });
    corpus.class(15);
    let texts: Vec<(&str, &str, Vec<u8>)> = vec![
        ("is empty", "no JSON", Vec::new()),
        ("is an array", "", b"[]\n".into()),
        ("is null", "", b"null\n".into()),
        (
            "is ten thousand arrays",
            "no JSON",
            "[".repeat(10_000).into_bytes(),
        ),
        (
            "nests 128 deep",
            "no JSON",
            format!("{}{}\n", "{\"a\":".repeat(200), "}".repeat(200)).into_bytes(),
        ),
        ("holds NaN", "no JSON", b"{\n  \"a\": NaN\n}\n".into()),
        ("holds a fraction", "", b"{\n  \"a\": 1.5\n}\n".into()),
        (
            "holds a number of a million digits",
            "",
            format!("{{\n  \"a\": {}\n}}\n", "9".repeat(1_000_000)).into_bytes(),
        ),
        ("is no UTF-8", "no JSON", b"{\n  \"\xff\": 1\n}\n".into()),
        (
            "begins with a mark of order",
            "no JSON",
            b"\xef\xbb\xbf{}\n".into(),
        ),
    ];
    for (name, text, bytes) in texts {
        corpus.files(format!("a seal that {name}"), Damaged, text, move |files| {
            files.insert(of("backup.json"), bytes.clone());
        });
    }
    let edits: [(&str, fn(String) -> String); 7] = [
        ("has a member twice", |t| {
            t.replacen("{\n", "{\n  \"host\": \"evil\",\n", 1)
        }),
        ("has two digests", |t| {
            t.replacen("{\n", "{\n  \"digest\": \"0\",\n", 1)
        }),
        ("has a space more", |t| t.replacen(": ", ":  ", 1)),
        ("has no newline at its end", |t| t.trim_end().to_owned()),
        ("is there twice", |t| t.repeat(2)),
        ("writes a letter as an escape", |t| {
            t.replacen("forge", "\\u0066orge", 1)
        }),
        ("says another host", |t| t.replacen("\"lab\"", "\"bal\"", 1)),
    ];
    for (name, edit) in edits {
        corpus.files(format!("a seal that {name}"), Damaged, "", move |files| {
            let text = String::from_utf8(files[&of("backup.json")].clone()).unwrap();
            files.insert(of("backup.json"), edit(text).into_bytes());
        });
    }
    corpus.class(16);
    let store = |members: Value| document(members.as_object().unwrap()).into_bytes();
    for (name, kind, text) in [
        (
            "is newer",
            TooNew,
            store(json!({"format": "lava-backup-store/2", "requires": [], "id": "00"})),
        ),
        (
            "requires a feature",
            TooNew,
            store(json!({"format": "lava-backup-store/1", "requires": ["x\u{1b}"], "id": "00"})),
        ),
        (
            "lacks its id",
            Damaged,
            store(json!({"format": "lava-backup-store/1", "requires": []})),
        ),
        (
            "is a seal",
            TooNew,
            store(json!({"format": "lava-backup/1", "requires": [], "id": "00"})),
        ),
        ("is no JSON", Damaged, b"\x1b[2J".to_vec()),
    ] {
        corpus.files(
            format!("a store whose document {name}"),
            kind,
            "store.json",
            move |files| {
                files.insert("store.json".into(), text.clone());
            },
        );
    }
    corpus.files(
        "a store without its document",
        NotAStore,
        "store.json",
        |files| drop(files.remove("store.json")),
    );
}

/// A list of frames that the seal names.
fn list(
    corpus: &mut Corpus,
    name: &str,
    text: &'static str,
    change: impl Fn(&mut Vec<String>) + 'static,
) {
    corpus.case(name, Expect::Refused(Damaged, text), move || {
        let mut forgery = with(vec![plain()]);
        let mut lines: Vec<String> = forgery
            .list
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect();
        change(&mut lines);
        forgery.set_list(lines.concat());
        forgery.one_file = false;
        forgery
    });
}

fn lists(corpus: &mut Corpus) {
    corpus.class(16);
    list(corpus, "a list without its last line", "", |l| {
        drop(l.pop())
    });
    list(corpus, "a list without its first line", "", |l| {
        drop(l.remove(0))
    });
    list(corpus, "an empty list", "", Vec::clear);
    list(corpus, "a list in another order", "", |l| l.swap(0, 1));
    list(corpus, "a list with a line twice", "", |l| {
        l.insert(0, l[0].clone())
    });
    list(
        corpus,
        "a list of a frame that is not there",
        "missing",
        |l| l[1] = format!("aa/{}\n", "a".repeat(64)),
    );
    list(corpus, "a list that names a file elsewhere", "", |l| {
        l[1] = "../backups/x/backup.json\n".into()
    });
    list(corpus, "a list of an absolute path", "", |l| {
        l[1] = "/etc/shadow\n".into()
    });
    list(corpus, "a list with options", "", |l| {
        l[1] = "--version\n".into()
    });
    list(corpus, "a list with two names in a line", "", |l| {
        l[1] = l[1].replace('\n', " /etc/shadow\n")
    });
    list(corpus, "a list in upper case", "at byte 68", |l| {
        l[1] = l[1].to_uppercase()
    });
    list(
        corpus,
        "a list with other digits before a name",
        "at byte 68",
        |l| {
            let digits = if l[1].starts_with("00") { "11" } else { "00" };
            l[1].replace_range(0..2, digits);
        },
    );
    list(
        corpus,
        "a list with ends of lines of another system",
        "",
        |l| l[1] = l[1].replace('\n', "\r\n"),
    );
    list(corpus, "a list that does not end", "", |l| {
        l[2] = l[2].replace('\n', "x")
    });
    list(corpus, "a list that steers a terminal", "at byte 0", |l| {
        l[0] = format!("{}\n", "\u{1b}[2J".repeat(17).get(..67).unwrap())
    });
    corpus.files(
        "a list that is not the sealed one",
        Damaged,
        "frames",
        |files| {
            let list = files.get_mut(&of("frames")).unwrap();
            list[10] = if list[10] == b'0' { b'1' } else { b'0' };
        },
    );
    for file in ["frames", "index.zst"] {
        corpus.files(
            format!("no file {file}"),
            Damaged,
            "missing",
            move |files| drop(files.remove(&of(file))),
        );
    }
    corpus.files(
        "frames that are missing",
        Damaged,
        "the frame is missing",
        |files| files.retain(|key, _| !key.starts_with("frames/")),
    );
    for key in [
        "frames/x",
        "frames/aa/x",
        "backups/x",
        "etc/passwd",
        "\u{1b}[31m",
        "backups/../x",
        "backups/-x/backup.json",
    ] {
        corpus.files(
            format!("a file of the store called {key:?}"),
            Damaged,
            "does not belong",
            move |files| {
                files.insert(key.into(), b"x".to_vec());
            },
        );
    }
    corpus
        .cases
        .retain(|case| !case.name.contains("backups/../x"));
    corpus.files("a backup without a seal", Damaged, "no seal", |files| {
        files.insert("backups/other/frames".into(), Vec::new());
    });
    corpus.class(15);
    each(
        &[1u64 << 20, 1 << 40, 1 << 58, u64::MAX / 68],
        |lines: u64| {
            let case = corpus.case(
                format!("a seal of {lines} frames and a list that is a hole"),
                Expect::Refused(Damaged, ""),
                move || {
                    let mut forgery = with(vec![plain()]);
                    forgery.seal["archive"]["frames"] = json!(lines);
                    forgery.one_file = false;
                    forgery
                },
            );
            case.holes
                .push((of("frames"), lines.saturating_mul(68).min(1 << 43)));
        },
    );
    for (key, name) in [
        (of("backup.json"), "a seal"),
        ("store.json".into(), "a document of the store"),
        (of("evidence/x.json"), "a record"),
    ] {
        each(&[1u64 << 30, 1 << 43], |length: u64| {
            corpus
                .files(
                    format!("{name} that is a hole of {length} bytes"),
                    Damaged,
                    "bytes",
                    |_| (),
                )
                .holes
                .push((key.clone(), length));
        });
    }
}

fn evidence(corpus: &mut Corpus) {
    corpus.class(16);
    let record = || {
        json!({
            "format": "lava-backup-evidence/1", "backup": forge::ID, "seal": "00".repeat(32), "check": "verify", "depth": "full",
            "passed": true, "tool": "t", "began": "", "milliseconds": 1, "findings": null,
        })
    };
    let put = |corpus: &mut Corpus, name: &str, text: &'static str, record: Value| {
        corpus.files(format!("evidence {name}"), Damaged, text, move |files| {
            let text = document(record.as_object().unwrap());
            files.insert(of("evidence/x.json"), text.into_bytes());
        });
    };
    put(corpus, "of another seal", "evidence of", record());
    let mut other = record();
    other["backup"] = json!("other");
    put(corpus, "of another backup", "evidence of", other);
    let mut newer = record();
    newer["format"] = json!("lava-backup-evidence/2");
    put(corpus, "of a newer format", "format", newer);
    let mut short = record();
    short.as_object_mut().unwrap().remove("passed");
    put(
        corpus,
        "that does not say whether it passed",
        "not as expected",
        short,
    );
    corpus.files("evidence that is no JSON", Damaged, "no JSON", |files| {
        files.insert(of("evidence/x.json"), b"\x1b[2J".to_vec());
    });
    corpus.files(
        "evidence that is no record",
        Damaged,
        "does not belong",
        |files| {
            files.insert(of("evidence/x"), b"x".to_vec());
        },
    );
}
