#![allow(clippy::unwrap_used)]

use std::io;
use std::time::Duration;

use super::*;
use crate::entry::{Class, Kind, Time};
use crate::writer::{Meta, new_entry};

/// A disk and a store of frames that take their time, or fail.
struct Slow {
    _alive: Arc<()>,
}

impl Slow {
    fn wait() {
        std::thread::sleep(Duration::from_millis(300));
    }
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::wait();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that tells when it is let go.
struct Closing(SyncSender<()>);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
    }
}

#[derive(Default)]
struct Frames {
    fail: bool,
    /// Nothing is put before this is told.
    closed: Option<Mutex<Receiver<()>>>,
}

impl Sink for Frames {
    fn known(&self, _: FrameName) -> Option<u64> {
        None
    }

    fn put(&self, _: u64, name: FrameName, _: Vec<u8>) -> Result<()> {
        if self.fail {
            let full = io::ErrorKind::StorageFull;
            return Err(Error::io(name.to_string(), "write", full));
        }
        if let Some(closed) = &self.closed {
            let closed = closed.lock().unwrap();
            closed.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        Slow::wait();
        Ok(())
    }

    fn rewind(&self, _: u64) {}
}

/// An entry whose line fills a block.
fn long(number: u64) -> Entry {
    let path = format!("config/{number:06}").parse().unwrap();
    let meta = Meta::private(Class::Plain, Time::default());
    Entry {
        user: "u".repeat(BLOCK),
        frame: number,
        offset: 512,
        ..new_entry(path, Kind::Dir, meta)
    }
}

#[test]
fn a_block_of_just_the_least_length_ends_with_a_path_that_says_so() {
    let chosen = |number: &u64| {
        let path = long(*number).path;
        blake3::hash(path.as_bytes()).as_bytes()[1].is_multiple_of(128)
    };
    let number = (0..).find(chosen).unwrap();
    for (length, expected) in [(SHORT - 1, 1), (SHORT, 2)] {
        let form = Form::Frames(Arc::new(Frames::default()));
        let mut index = IndexWriter::new("i".into(), Vec::new(), form).unwrap();
        let mut entry = long(number);
        // The frames of a block count from its first one.
        entry.frame = 0;
        let line = serde_json::to_string(&entry).unwrap() + "\n";
        let others = HEADER.len() + line.len() - BLOCK;
        entry.user.truncate(length - others);
        index.push(&entry).unwrap();
        index.push(&long(number + 1)).unwrap();
        let (_, _, file) = index.finish().unwrap();
        let blocks = piece::survey("i".as_ref(), &file, 9).unwrap();
        assert_eq!(blocks.len(), expected, "{length}");
    }
}

#[test]
fn one_that_is_dropped_leaves_no_thread_at_work() {
    let alive = Arc::new(());
    let slow = Slow {
        _alive: Arc::clone(&alive),
    };
    let mut index = IndexWriter::new("i".into(), slow, Form::Inline).unwrap();
    index.push(&long(0)).unwrap();
    drop(index);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn one_that_fails_leaves_no_thread_at_work() {
    // The block before the failure is still being put when all is let go.
    let (close, closed) = sync_channel(1);
    let sink: Arc<dyn Sink> = Arc::new(Frames {
        fail: false,
        closed: Some(Mutex::new(closed)),
    });
    let form = Form::Frames(Arc::clone(&sink));
    let mut index = IndexWriter::new("i".into(), Closing(close), form).unwrap();
    index.push(&long(0)).unwrap();
    let mut refused = long(1);
    refused.user = "u".repeat(MAX_LINE);
    index.push(&refused).unwrap();
    let error = index.finish().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(Arc::strong_count(&sink), 1);
}

#[test]
fn a_block_that_no_frame_can_take_is_told_at_the_end_and_long_before() {
    let begin = || {
        let form = Form::Frames(Arc::new(Frames {
            fail: true,
            closed: None,
        }));
        IndexWriter::new("i".into(), Vec::new(), form).unwrap()
    };
    let mut index = begin();
    index.push(&long(0)).unwrap();
    assert_eq!(index.finish().unwrap_err().kind(), ErrorKind::Io);
    // More than there can be in queues.
    let mut index = begin();
    let error = (0..4096).find_map(|number| index.push(&long(number)).err());
    assert!(error.unwrap().to_string().contains("write"));
}
