//! Classes 1 to 7: paths, links of both kinds, and what stands in the way.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use lava_backup_core::ErrorKind::{Damaged, Io};
use std::path::Path;

use super::{Corpus, Expect, Member, each, plain, with};

/// No member may be called so: the class, and the path.
fn refused() -> Vec<(u8, Vec<u8>)> {
    let text = [
        (1, "/etc/passwd"),
        (1, "//etc/passwd"),
        (1, "/"),
        (1, "/config/x"),
        (2, ".."),
        (2, "."),
        (2, "../config/x"),
        (2, "./config/x"),
        (2, "config/../x"),
        (2, "config/x/.."),
        (2, "config/x/../../../y"),
        (2, "config/./x"),
        (2, "config/x/."),
        (2, "config//x"),
        (2, "config/x/"),
        (2, "config/"),
        (2, "config/.."),
        (3, "config/x\0y"),
        (3, "config/x\0/../../y"),
        (3, ""),
        (16, "config"),
        (16, "lava-backup/x"),
        (16, "Config/x"),
        (16, "con fig/x"),
        (16, "c\u{f6}nfig/x"),
        (16, "con\nfig/x"),
        (16, "con_fig/x"),
        (16, "~/x"),
    ];
    let mut all: Vec<_> = text.map(|(c, t)| (c, t.as_bytes().to_vec())).into();
    all.push((3, [&b"config/"[..], &vec![b'n'; 65_530]].concat()));
    all
}

fn show(path: &[u8]) -> String {
    let text = crate::forge::escape(path);
    match text.len() {
        0..=60 => text,
        long => format!("{}… of {long}", &text[..20]),
    }
}

pub(super) fn add(corpus: &mut Corpus, canaries: &Path) {
    for (class, path) in refused() {
        corpus.class(class);
        for (kind, flag) in [
            ("file", b'0'),
            ("dir", b'5'),
            ("link", b'2'),
            ("pipe", b'6'),
        ] {
            let path = path.clone();
            let name = format!("a {kind} with the path {:?}", show(&path));
            corpus.bad(name, "", move || {
                let mut member = Member::new(&path, flag);
                member.link = if flag == b'2' {
                    b"x".to_vec()
                } else {
                    Vec::new()
                };
                vec![member]
            });
        }
        corpus.class(6);
        let name = format!("a hard link to {:?}", show(&path));
        corpus.bad(name, "", move || {
            vec![plain(), Member::hard("config/g", &path)]
        });
    }
    odd_names(corpus);
    symlinks(corpus, canaries);
    hard_links(corpus);
    planted(corpus);
}

fn odd_names(corpus: &mut Corpus) {
    corpus.class(3);
    let longest = vec![b'n'; 255];
    let deep = vec!["deep"; 1000].join("/");
    let names: Vec<Vec<u8>> = vec![
        b"new\nline".into(),
        b"\x1b[2J\x1b]0;title\x07".into(),
        "\u{202e}txt.exe".into(),
        b"not\xffutf8".into(),
        b"\xed\xa0\x80".into(),
        b"-rf".into(),
        b"--checkpoint-action=x".into(),
        b"$(reboot)".into(),
        b"`reboot`;".into(),
        b"%41".into(),
        b" ".into(),
        b"...".into(),
        b"..x".into(),
        b"\\..\\x".into(),
        b"C:\\x".into(),
        b"con".into(),
        "\u{85}\u{9b}31m".into(),
        longest.clone(),
        [longest.clone(), vec![b'/'], longest.clone()].concat(),
        [&longest[..]; 20].join(&b'/'),
        deep.into(),
        b"kept".into(),
        b"etc/passwd".into(),
    ];
    for name in names {
        for (kind, flag) in [("file", b'0'), ("dir", b'5'), ("link", b'2')] {
            let path = [b"config/", name.as_slice()].concat();
            corpus.sound(format!("a {kind} called {:?}", show(&name)), move || {
                let mut member = Member::new(&path, flag);
                member.link = if flag == b'2' {
                    b"x".to_vec()
                } else {
                    Vec::new()
                };
                vec![member]
            });
        }
    }
    for (name, first, then) in [
        ("case", "config/Name", "config/name"),
        ("composition", "config/e\u{301}", "config/\u{e9}"),
    ] {
        corpus.class(13);
        corpus.sound(
            format!("two names that differ in {name} alone"),
            move || vec![Member::file(first, "1"), Member::file(then, "2")],
        );
    }
    corpus.class(3);
    let long = vec![b'n'; 256];
    corpus.stuck("a component of 256 bytes", Io, "name too long", move || {
        vec![Member::file([b"config/", long.as_slice()].concat(), "x")]
    });
}

fn symlinks(corpus: &mut Corpus, canaries: &Path) {
    let outside = canaries.join("dir").into_os_string().into_encoded_bytes();
    let file = canaries.join("file").into_os_string().into_encoded_bytes();
    let targets: Vec<Vec<u8>> = vec![
        b"/".into(),
        b"..".into(),
        b".".into(),
        b"x".into(),
        b"../../../../../../..".into(),
        b"/proc/self/root".into(),
        b"/proc/self/cwd".into(),
        b"/dev/fd/3".into(),
        b"d".into(),
        b"\x1b[31m\n".into(),
        b"\xff".into(),
        vec![b'l'; 4095],
        b"../outside/dir".into(),
        outside.clone(),
        file,
    ];
    for target in &targets {
        corpus.class(4);
        let name = show(target);
        let link = target.clone();
        corpus.sound(format!("a link to {name:?}"), move || {
            vec![Member::symlink("config/x", &link)]
        });
    }
    corpus.class(4);
    corpus.sound("a chain of 41 links", || {
        let link = |n: u32| Member::symlink(format!("config/l{n:02}"), format!("l{:02}", n + 1));
        (0..41).map(link).collect()
    });
    for (name, link) in [
        ("nothing", vec![]),
        ("a NUL", b"a\0b".to_vec()),
        ("4096 bytes", vec![b'l'; 4096]),
    ] {
        corpus.bad(format!("a link to {name}"), "", move || {
            vec![Member::symlink("config/x", &link)]
        });
    }
    // A link, and then what would lie behind it.
    corpus.class(5);
    for target in [
        outside.clone(),
        b"../outside/dir".to_vec(),
        b".".to_vec(),
        b"d".to_vec(),
        b"/".to_vec(),
    ] {
        for (kind, flag) in [
            ("file", b'0'),
            ("dir", b'5'),
            ("link", b'2'),
            ("pipe", b'6'),
            ("hard link", b'1'),
        ] {
            let target = target.clone();
            corpus.bad(
                format!("a {kind} below a link to {:?}", show(&target)),
                "lies below",
                move || {
                    let mut child = Member::new("config/x/file", flag);
                    child.link = match flag {
                        b'1' => b"config/d/f".to_vec(),
                        b'2' => b"y".to_vec(),
                        _ => Vec::new(),
                    };
                    vec![Member::symlink("config/x", &target), child]
                },
            );
        }
    }
    let kinds = [
        ("file", b'0'),
        ("dir", b'5'),
        ("link", b'2'),
        ("pipe", b'6'),
        ("hard link", b'1'),
    ];
    for (first, one) in kinds {
        for (then, other) in kinds {
            let outside = outside.clone();
            corpus.bad(
                format!("a {first} and a {then} of one name"),
                "config/x",
                move || {
                    let member = |flag: u8| {
                        let mut member = Member::new("config/x", flag);
                        member.link = match flag {
                            b'1' => b"config/d/f".to_vec(),
                            b'2' => outside.clone(),
                            _ => Vec::new(),
                        };
                        member
                    };
                    vec![member(one), member(other)]
                },
            );
        }
    }
    // Two sections are one tree when they are brought back.
    for (then, flag) in [("dir", b'5'), ("file", b'0'), ("link", b'2')] {
        let outside = outside.clone();
        corpus.case(
            format!("a link, and a {then} of its name in another section"),
            Expect::Sound,
            move || {
                let mut member = Member::new("logs/x/file", flag);
                member.link = if flag == b'2' {
                    b"y".to_vec()
                } else {
                    Vec::new()
                };
                with(vec![
                    Member::symlink("config/x", &outside),
                    Member::new("logs/x", b'5'),
                    member,
                ])
            },
        );
    }
}

fn hard_links(corpus: &mut Corpus) {
    corpus.class(6);
    each(
        &[
            "config/z",
            "config/g",
            "config/g/h",
            "data/x",
            "facts/facts.json",
        ],
        |target: &str| {
            corpus.bad(
                format!("a hard link to {target}, which is no earlier file of its section"),
                "",
                move || {
                    vec![
                        plain(),
                        Member::hard("config/g", target),
                        Member::file("config/z", "later"),
                    ]
                },
            );
        },
    );
    for (what, earlier) in [
        ("a directory", Member::dir as fn(&'static str) -> Member),
        ("a link", |path| Member::symlink(path, "/etc/shadow")),
        ("a pipe", |path| Member::new(path, b'6')),
        ("a hard link", |path| Member::hard(path, "config/d/f")),
    ] {
        corpus.stuck(
            format!("a hard link to {what}"),
            Damaged,
            "config/g",
            move || vec![earlier("config/e"), Member::hard("config/g", "config/e")],
        );
    }
    corpus.stuck(
        "a hard link to what is behind a link",
        Damaged,
        "config/g",
        || {
            vec![
                Member::symlink("config/e", "d"),
                Member::hard("config/g", "config/e/f"),
            ]
        },
    );
    corpus.sound("two hard links to one file", || {
        vec![
            plain(),
            Member::hard("config/g", "config/f"),
            Member::hard("config/h", "config/f"),
        ]
    });
    corpus.bad("a hard link with content", "", || {
        let mut link = Member::hard("config/g", "config/f");
        (link.content, link.size) = (b"content".to_vec(), 7);
        vec![plain(), link]
    });
    corpus.bad("a hard link with attributes", "", || {
        let mut link = Member::hard("config/g", "config/f");
        link.xattrs = [(b"user.x".to_vec(), b"y".to_vec())].into();
        vec![plain(), link]
    });
    corpus.bad("a hard link with a digest", "", || {
        let mut link = Member::hard("config/g", "config/f");
        link.line = Some(Box::new(|line| line["blake3"] = "0".repeat(64).into()));
        vec![plain(), link]
    });
    corpus.sound("a hard link to a file with setuid", || {
        let mut file = plain();
        file.mode = 0o4755;
        vec![file, Member::hard("config/g", "config/f")]
    });
}

fn planted(corpus: &mut Corpus) {
    corpus.class(7);
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 9] = [
        ("a link to a file", |t, c| {
            symlink(c.join("file"), t.join("f")).unwrap()
        }),
        ("a link to a directory", |t, c| {
            symlink(c.join("dir"), t.join("d")).unwrap()
        }),
        ("a link in place of a file to a directory", |t, c| {
            symlink(c.join("dir"), t.join("f")).unwrap()
        }),
        ("a hard link to a file outside", |t, c| {
            fs::hard_link(c.join("file"), t.join("f")).unwrap()
        }),
        ("a pipe", |t, _| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                t.join("f"),
                rustix::fs::FileType::Fifo,
                0o666.into(),
                0,
            )
            .unwrap()
        }),
        ("a socket", |t, _| {
            drop(UnixListener::bind(t.join("f")).unwrap())
        }),
        ("a directory that is not empty", |t, _| {
            fs::create_dir_all(t.join("f/x")).unwrap()
        }),
        ("a link where replaced files are kept", |t, c| {
            fs::write(t.join("f"), "old").unwrap();
            symlink(c.join("dir"), t.join("kept")).unwrap();
        }),
        ("links where users and groups are listed", |t, c| {
            fs::create_dir(t.join("etc")).unwrap();
            symlink(c.join("file"), t.join("etc/passwd")).unwrap();
            symlink(c.join("dir"), t.join("etc/group")).unwrap();
        }),
    ];
    for (name, plant) in plants {
        let case = corpus.case(format!("the target holds {name}"), Expect::Sound, || {
            with(vec![plain()])
        });
        case.plant = Some(Box::new(plant));
    }
    for (name, plant) in [plants[0], plants[3]] {
        for (kind, flag) in [("link", b'2'), ("pipe", b'6'), ("hard link", b'1')] {
            let case = corpus.case(
                format!("the target holds {name} where a {kind} belongs"),
                Expect::Sound,
                move || {
                    let mut member = Member::new("config/f", flag);
                    member.link = match flag {
                        b'1' => b"config/d/f".to_vec(),
                        b'2' => b"y".to_vec(),
                        _ => Vec::new(),
                    };
                    with(vec![member])
                },
            );
            case.plant = Some(Box::new(plant));
        }
    }
}
