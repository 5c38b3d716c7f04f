//! Classes 13 to 15: what stands beside and after members, and bombs.

use lava_backup_core::ErrorKind::{Damaged, TooNew};
use serde_json::json;

use super::{Corpus, Expect, Member, each, laid, plain, with};
use crate::forge::{self, Forgery, of};

pub(super) fn add(corpus: &mut Corpus) {
    stream(corpus);
    frames(corpus);
    index(corpus);
    sparse(corpus);
}

/// A sound backup whose stream is changed before it is sealed.
fn changed(
    corpus: &mut Corpus,
    name: &str,
    text: &'static str,
    change: impl Fn(&mut Vec<Vec<u8>>) + 'static,
) {
    corpus.case(name, Expect::Refused(Damaged, text), move || {
        let mut laid = laid(vec![plain()]);
        change(&mut laid.frames);
        laid.sealed()
    });
}

fn smuggled() -> Vec<u8> {
    forge::metadata_member("../../etc/cron.d/x", b"* * * * * root id\n")
}

fn stream(corpus: &mut Corpus) {
    corpus.class(13);
    changed(corpus, "a member after the end", "", |f| f.push(smuggled()));
    changed(corpus, "a member after the end, in its frame", "", |f| {
        f.last_mut().unwrap().extend(smuggled())
    });
    changed(corpus, "a member that the index leaves out", "", |f| {
        f[1].extend(smuggled())
    });
    changed(corpus, "a member before all others", "", |f| {
        f.insert(0, smuggled())
    });
    changed(corpus, "a byte after the end", "", |f| {
        f.last_mut().unwrap().push(b'x')
    });
    changed(corpus, "zeros after the end", "", |f| f.push(vec![0; 9216]));
    changed(corpus, "no end", "", |f| drop(f.pop()));
    changed(corpus, "half an end", "", |f| {
        f.last_mut().unwrap().truncate(512)
    });
    changed(corpus, "an end before the members", "", |f| {
        f.insert(0, vec![0; 1024])
    });
    changed(corpus, "an end between sections", "", |f| {
        f.insert(1, vec![0; 1024])
    });
    changed(corpus, "two archives, one after the other", "", |f| {
        let again = f.clone();
        f.extend(again);
    });
    changed(corpus, "padding that is no zeros", "", |f| {
        *f[1].last_mut().unwrap() = b'x'
    });
    changed(corpus, "padding that is too short", "", |f| {
        let _ = f[1].pop();
    });
    changed(corpus, "content that is not what the index says", "", |f| {
        let at = f[1].len() - 512;
        f[1][at] ^= 1;
    });
    changed(corpus, "frames in another order", "", |f| f.swap(0, 1));
    changed(corpus, "a frame twice", "", |f| {
        let again = f[1].clone();
        f.insert(1, again);
    });
    corpus.case(
        "a section that comes back later",
        Expect::Refused(Damaged, ""),
        || {
            let file = |path: &str| Member::file(path, "x");
            forge::Laid::of(&[file("config/a"), file("logs/a"), file("config/b")]).sealed()
        },
    );
    corpus.case("members out of order", Expect::Refused(Damaged, ""), || {
        let file = |path: &str| Member::file(path, "x");
        forge::Laid::of(&[file("config/a-b"), file("config/a/b")]).sealed()
    });
}

/// A sound backup whose second frame has another stored form, whose trailer fits.
fn stored(
    corpus: &mut Corpus,
    name: impl Into<String>,
    text: &'static str,
    make: impl Fn(&[u8]) -> Vec<u8> + 'static,
) {
    corpus.case(name, Expect::Refused(Damaged, text), move || {
        let mut forgery = with(vec![plain()]);
        let (name, bytes) = forgery.frames[1].clone();
        let key = format!("frames/{}", forge::frame_file(&name));
        forgery
            .files
            .insert(key, forge::with_trailer(make(&bytes), &name));
        forgery.one_file = false;
        forgery
    });
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// One zstd frame of a single raw block, with this byte for its window.
fn windowed(bytes: &[u8], window: u8) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let header = u32::try_from(bytes.len()).unwrap() << 3 | 1;
    out.extend(&header.to_le_bytes()[..3]);
    out.extend(bytes);
    out
}

fn frames(corpus: &mut Corpus) {
    corpus.class(15);
    for megabytes in [9usize, 64] {
        corpus.case(
            format!("a frame of {megabytes} MiB of zeros"),
            Expect::Refused(Damaged, "does not decompress"),
            move || {
                let mut laid = laid(vec![plain()]);
                laid.frames[1].resize(megabytes << 20, 0);
                laid.sealed()
            },
        );
    }
    stored(
        corpus,
        "a frame that decodes to a gibibyte",
        "does not decompress",
        |_| {
            // Blocks of one byte that is repeated 128 KiB times.
            let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
            for block in 1..=8192u32 {
                let header = (128 << 10) << 3 | 1 << 1 | u32::from(block == 8192);
                out.extend(&header.to_le_bytes()[..3]);
                out.push(0);
            }
            out
        },
    );
    stored(corpus, "a window of two gibibytes", "window", |bytes| {
        windowed(bytes, 21 << 3)
    });
    stored(corpus, "a window of 9 MiB", "window", |bytes| {
        windowed(bytes, (13 << 3) | 1)
    });
    stored(corpus, "the largest window", "", |bytes| {
        windowed(bytes, 0xff)
    });
    stored(corpus, "two zstd frames", "not one zstd frame", |bytes| {
        [compressed(&bytes[..9]), compressed(&bytes[9..])].concat()
    });
    stored(corpus, "a skippable frame before", "", |bytes| {
        [
            vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9],
            compressed(bytes),
        ]
        .concat()
    });
    stored(
        corpus,
        "a skippable frame after",
        "not one zstd frame",
        |bytes| {
            [
                compressed(bytes),
                vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9],
            ]
            .concat()
        },
    );
    stored(corpus, "a dictionary that it needs", "", |bytes| {
        let mut out = compressed(bytes);
        out[4] |= 1;
        out.insert(5, 7);
        out
    });
    stored(corpus, "nothing", "", |_| Vec::new());
    stored(corpus, "no zstd", "", |bytes| bytes.to_vec());
    stored(corpus, "half of it", "", |bytes| {
        compressed(&bytes[..bytes.len() / 2])
    });
    stored(corpus, "other content", "", |_| compressed(b"other"));
    stored(corpus, "a cut frame", "", |bytes| {
        let mut out = compressed(bytes);
        out.truncate(out.len() - 1);
        out
    });
    changed(corpus, "an empty frame", "holds nothing", |f| {
        f.insert(1, Vec::new())
    });
    corpus.case(
        "a frame's file under another name",
        Expect::Refused(Damaged, ""),
        || {
            let mut forgery = with(vec![plain()]);
            let key = format!("frames/{}", forge::frame_file(&forgery.frames[1].0));
            forgery.files.insert(key, forge::stored(b"other"));
            forgery.one_file = false;
            forgery
        },
    );
}

/// An index of these blocks.
fn blocks(
    corpus: &mut Corpus,
    name: impl Into<String>,
    expect: Expect,
    make: impl Fn(&Forgery, String) -> Vec<Vec<u8>> + 'static,
) {
    corpus.case(name, expect, move || {
        let laid = laid(vec![plain()]);
        let mut forgery = laid.sealed();
        let text = format!("{}{}\n", forge::FORMAT_LINE, laid.lines.join("\n"));
        let blocks = make(&forgery, text);
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        forgery.set_index(&blocks);
        forgery
    });
}

fn index(corpus: &mut Corpus) {
    corpus.class(15);
    let damaged = |text| Expect::Refused(Damaged, text);
    blocks(
        corpus,
        "an index without blocks",
        damaged("no block"),
        |_, _| Vec::new(),
    );
    blocks(
        corpus,
        "an index of 9 MiB in a block",
        damaged("does not decompress"),
        |_, t| vec![[t.into_bytes(), vec![b' '; 9 << 20]].concat()],
    );
    blocks(
        corpus,
        "a line of three megabytes",
        damaged("line of"),
        |_, t| vec![[t.as_bytes(), b"{\"a\":\"", &vec![b'x'; 3 << 20], b"\"}\n"].concat()],
    );
    blocks(
        corpus,
        "a line without an end",
        damaged("does not end"),
        |_, t| vec![t.trim_end().as_bytes().to_vec()],
    );
    blocks(
        corpus,
        "a line over two blocks",
        damaged("does not end"),
        |_, t| {
            let (head, tail) = t.as_bytes().split_at(t.len() - 9);
            vec![head.to_vec(), tail.to_vec()]
        },
    );
    blocks(
        corpus,
        "no first line",
        Expect::Refused(TooNew, "first line"),
        |_, t| vec![t.split_once('\n').unwrap().1.as_bytes().to_vec()],
    );
    blocks(
        corpus,
        "a newer index",
        Expect::Refused(TooNew, "first line"),
        |_, t| vec![t.replace("index/1", "index/2\u{1b}[2J").into_bytes()],
    );
    for (name, line) in [
        ("an empty line", String::new()),
        ("no JSON", "\u{1b}[31m".into()),
        ("an array", "[]".into()),
        ("null", "null".into()),
        ("arrays ten thousand deep", "[".repeat(10_000)),
        ("objects ten thousand deep", "{\"path\":".repeat(10_000)),
        (
            "a number of a million digits",
            format!("{{\"size\":{}}}", "9".repeat(1_000_000)),
        ),
        (
            "a million members",
            format!("{{{}}}", vec!["\"a\":1"; 300_000].join(",")),
        ),
        ("two values", "{} {}".into()),
        ("no member", "{}".into()),
        ("NaN", "{\"size\":NaN}".into()),
        ("an infinite number", "{\"size\":1e999}".into()),
    ] {
        blocks(
            corpus,
            format!("a line of {name}"),
            damaged("bad entry"),
            move |_, t| vec![format!("{t}{line}\n").into_bytes()],
        );
    }
    for key in ["path", "type", "size", "blake3", "frame", "class", "mode"] {
        blocks(
            corpus,
            format!("an entry with two members {key}"),
            damaged("bad entry"),
            move |_, t| {
                let last = t.trim_end().lines().last().unwrap().to_owned();
                let value = serde_json::from_str::<serde_json::Value>(&last).unwrap()[key].clone();
                let twice = last.replacen('{', &format!("{{\"{key}\":{value},"), 1);
                vec![t.replace(&last, &twice).into_bytes()]
            },
        );
    }
    for key in [
        "path", "type", "size", "mode", "user", "group", "uid", "gid", "mtime", "class", "frame",
        "offset",
    ] {
        corpus.line(
            format!("an entry without {key}"),
            Damaged,
            "bad entry",
            move |l| drop(l.as_object_mut().unwrap().remove(key)),
        );
    }
    corpus.class(16);
    corpus.line("an entry without a digest", Damaged, "digest", |l| {
        drop(l.as_object_mut().unwrap().remove("blake3"))
    });
    for value in [
        json!("0".repeat(64)),
        json!("A".repeat(64)),
        json!("0".repeat(63)),
        json!(""),
        json!(null),
        json!(7),
    ] {
        corpus.line(format!("the digest {value}"), Damaged, "", move |l| {
            l["blake3"] = value.clone()
        });
    }
    for (key, values) in [
        ("frame", [0u64, 2, 3, 99, u64::MAX]),
        ("offset", [0, 1, 1535, 8 << 20, u64::MAX]),
    ] {
        for value in values {
            corpus.line(format!("the {key} {value}"), Damaged, "", move |l| {
                l[key] = json!(value)
            });
        }
    }
    for (key, value) in [
        ("link", json!("/etc")),
        ("target", json!("config/d/f")),
        ("extents", json!([[0, 1]])),
        ("user", json!("mallory")),
        ("uid", json!(7)),
        ("mode", json!(0o4755)),
        ("mtime", json!([0, 0])),
        ("class", json!("secret")),
        ("path", json!("config/g")),
        ("type", json!("fifo")),
        ("attributes", json!({})),
        ("attributes", json!({"xattrs": {"user.x": "y"}})),
        ("path", json!("config/%66")),
        ("path", json!("config/%6g")),
        ("path", json!("config/\u{1b}")),
        ("user", json!("")),
        ("group", json!("lava")),
        ("gid", json!(7)),
    ] {
        corpus.line(
            format!("{key} {value} in the index alone"),
            Damaged,
            "",
            move |l| l[key] = value.clone(),
        );
    }
    // Names are checked against the seal before any block is decoded.
    for (name, at, bytes, text) in [
        (
            "another magic",
            0,
            vec![0x50, 0x2a, 0x4d, 0x18],
            "at byte 0: expected a piece",
        ),
        (
            "the magic of metadata",
            0,
            vec![0x5d, 0x2a, 0x4d, 0x18],
            "expected a block",
        ),
        (
            "a prelude of 41 bytes",
            4,
            vec![41, 0, 0, 0],
            "expected a prelude of 40 bytes, found 41",
        ),
        (
            "a piece of 2^64-1 bytes",
            8,
            vec![0xff; 8],
            "found 18446744073709551615",
        ),
        (
            "a piece of a gibibyte",
            8,
            1u64.wrapping_shl(30).to_le_bytes().to_vec(),
            "found 1073741824",
        ),
        (
            "a piece of 40 bytes",
            8,
            40u64.to_le_bytes().to_vec(),
            "found 40",
        ),
        (
            "a piece of 9 MiB that is not there",
            8,
            (9u64 << 20).to_le_bytes().to_vec(),
            "expected 9437184 more bytes",
        ),
        (
            "another name",
            16,
            vec![7; 32],
            "not those that the seal names",
        ),
        ("other bytes", 60, vec![7; 9], "at byte 48"),
    ] {
        let case = corpus.case(
            format!("an index whose file has {name}"),
            Expect::Refused(Damaged, text),
            || with(vec![plain()]),
        );
        case.files = Some(Box::new(move |files| {
            let index = files.get_mut(&of("index.zst")).unwrap();
            index.splice(at..at + bytes.len(), bytes.iter().copied());
        }));
    }
    each(&[1usize, 47, 48, 100], |length: usize| {
        corpus.files(
            format!("{length} bytes after the index"),
            Damaged,
            "at byte",
            move |files| {
                files
                    .get_mut(&of("index.zst"))
                    .unwrap()
                    .extend(vec![0; length]);
            },
        );
    });
}

fn sparse(corpus: &mut Corpus) {
    corpus.class(15);
    let cases: [(&str, u64, &[(u64, u64)]); 9] = [
        ("no bytes", 0, &[(0, 0)]),
        ("extents that touch", 4096, &[(0, 512), (512, 512)]),
        ("extents that overlap", 4096, &[(0, 1024), (512, 512)]),
        ("extents in another order", 4096, &[(1024, 512), (0, 512)]),
        ("an extent beyond its end", 4096, &[(4096, 512)]),
        ("an extent that wraps around", 4096, &[(u64::MAX, 512)]),
        ("half a block", 4096, &[(0, 100), (1024, 512)]),
        ("an empty extent", 4096, &[(0, 512), (1024, 0), (2048, 512)]),
        ("2^63 bytes", 1 << 63, &[(0, 512)]),
    ];
    for (name, size, extents) in cases {
        let extents = extents.to_vec();
        corpus.bad(format!("a sparse file of {name}"), "", move || {
            vec![Member::sparse("config/s", size, &extents)]
        });
    }
    corpus.bad("a sparse file of five thousand extents", "extents", || {
        let extents: Vec<_> = (0..5000).map(|n| (n * 1024 + 512, 512)).collect();
        vec![Member::sparse("config/s", 1 << 40, &extents)]
    });
    each(
        &[
            "9999999\n",
            "4294967296\n0\n1\n",
            "\n",
            "x\n",
            "1\n0\n",
            "1\n0\n-1\n",
            "18446744073709551616\n0\n0\n",
            "1\r\n0\n512\n",
            "01\n0\n512\n",
        ],
        |map: &str| {
            corpus.bad(
                format!("a sparse file with the map {map:?}"),
                "",
                move || {
                    let mut file = Member::sparse("config/s", 1 << 20, &[(0, 512)]);
                    file.headers = Some(Box::new(move |headers| {
                        let at = headers.len() - 512;
                        headers[at..].fill(0);
                        headers[at..at + map.len()].copy_from_slice(map.as_bytes());
                    }));
                    vec![file]
                },
            );
        },
    );
    // No file system here holds the first; a hole costs nothing where it fits.
    for (name, size) in [("1 EiB", 1u64 << 60), ("8 EiB", (1 << 63) - 1)] {
        corpus.sound(format!("a hole of {name}"), move || {
            vec![Member::sparse("config/s", size, &[(size, 0)])]
        });
    }
    corpus.sound("a hole of 1 TiB", || {
        vec![Member::sparse("config/s", 1 << 40, &[(1 << 39, 512)])]
    });
}
