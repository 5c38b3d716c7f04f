//! Class 15 again: an index whose blocks lie in frames.

use lava_backup_core::ErrorKind::{Damaged, TooNew};

use super::{Corpus, Expect, laid, plain};
use crate::forge::{FORMAT_LINE, Forgery, frame_file, hash, stored};

/// A sound backup whose index is of references to these blocks, each with its
/// base; `make` gets the format's line and those of the entries.
fn referring(
    corpus: &mut Corpus,
    name: &str,
    expect: Expect,
    make: impl Fn(&mut Forgery, &[String]) -> Vec<(String, u64)> + 'static,
) {
    let sound = matches!(expect, Expect::Sound);
    corpus.case(name, expect, move || {
        let laid = laid(vec![plain()]);
        let mut forgery = laid.sealed();
        let lines: Vec<String> = laid.lines.iter().map(|l| format!("{l}\n")).collect();
        let blocks = make(&mut forgery, &lines);
        let names = blocks
            .iter()
            .map(|(text, base)| (hash(text.as_bytes()), *base));
        forgery.set_references(&names.collect::<Vec<_>>());
        // Sound blocks may end elsewhere than a writer ends them; through a pipe
        // they may not.
        forgery.one_file = !sound;
        forgery.blocks = blocks
            .into_iter()
            .map(|(text, _)| text.into_bytes())
            .collect();
        forgery
    });
}

/// The lines of entries as one block.
fn whole(lines: &[String]) -> String {
    format!("{FORMAT_LINE}{}", lines.concat())
}

/// The same with all frames counted from one that comes so much later.
fn counted_from(base: u64, lines: &[String]) -> String {
    let line = |line: &String| {
        let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["frame"] = (entry["frame"].as_u64().unwrap() - base).into();
        format!("{entry}\n")
    };
    lines.iter().map(line).collect()
}

pub(super) fn add(corpus: &mut Corpus) {
    corpus.class(15);
    let damaged = |text| Expect::Refused(Damaged, text);
    referring(corpus, "a reference", Expect::Sound, |_, lines| {
        vec![(whole(lines), 0)]
    });
    referring(corpus, "references", Expect::Sound, |_, lines| {
        let (head, tail) = lines.split_at(1);
        vec![(whole(head), 0), (counted_from(1, tail), 1)]
    });
    for (name, base) in [
        ("a base that is one too many", 1),
        ("a base beyond every frame", 1 << 40),
    ] {
        referring(corpus, name, damaged(""), move |_, lines| {
            vec![(whole(lines), base)]
        });
    }
    referring(
        corpus,
        "a base that overflows",
        damaged("beyond every frame"),
        |_, lines| {
            let (head, tail) = lines.split_at(1);
            vec![(whole(head), 0), (tail.concat(), u64::MAX)]
        },
    );
    referring(
        corpus,
        "references in another order",
        damaged("does not lie after the entry above it"),
        |_, lines| {
            let last = lines.len() - 1;
            vec![(whole(&lines[last..]), 0), (lines[..last].concat(), 0)]
        },
    );
    referring(
        corpus,
        "ten thousand references to one block",
        damaged("config/f comes after config/f"),
        |_, lines| {
            let mut blocks = vec![(whole(lines), 0)];
            blocks.resize(10_000, (lines[lines.len() - 1].clone(), 0));
            blocks
        },
    );
    referring(
        corpus,
        "a reference to a frame of the stream, first",
        Expect::Refused(TooNew, "first line"),
        |forgery, _| {
            let stream = forgery.frames[0].1.clone();
            vec![(String::from_utf8(stream).unwrap(), 0)]
        },
    );
    referring(
        corpus,
        "a reference to a frame of the stream, last",
        damaged("bad entry"),
        |forgery, lines| {
            let stream = forgery.frames[0].1.clone();
            vec![(whole(lines), 0), (String::from_utf8(stream).unwrap(), 0)]
        },
    );
    referring(
        corpus,
        "a block of nine megabytes in a frame",
        damaged("does not decompress"),
        |_, lines| vec![(whole(lines) + &" ".repeat(9 << 20), 0)],
    );
    corpus.case("a reference to no frame", damaged("missing"), || {
        let mut forgery = laid(vec![plain()]).sealed();
        forgery.set_references(&[([7; 32], 0)]);
        forgery
    });
    corpus.case(
        "a reference to a block of another name",
        damaged(""),
        || {
            let laid = laid(vec![plain()]);
            let mut forgery = laid.sealed();
            let text = format!("{FORMAT_LINE}{}\n", laid.lines.join("\n"));
            let name = hash(b"another");
            forgery.set_references(&[(name, 0)]);
            let key = format!("frames/{}", frame_file(&name));
            forgery.files.insert(key, stored(text.as_bytes()));
            forgery.one_file = false;
            forgery
        },
    );
}
