use crate::backend::Content;
use crate::error::Result;
use crate::frame::FrameName;
use crate::layout;
use crate::marks::Marks;
use crate::pipeline::Sink;
use crate::store::Store;

/// Puts frames into a store.
pub(crate) struct StoreSink {
    store: Store,
    pub(crate) marks: Marks,
}

impl StoreSink {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            marks: Marks::load(store)?,
        })
    }
}

impl Sink for StoreSink {
    fn known(&self, name: FrameName) -> Option<u64> {
        // One that is marked may be swept; written anew, it is not.
        let safe = !self.marks.holds(name);
        safe.then(|| self.store.intact_frame(name)).flatten()
    }

    fn put(&self, _number: u64, name: FrameName, stored: Vec<u8>) -> Result<()> {
        let content = Content::Bytes(stored);
        self.store.backend().put(&layout::frame(name), content)
    }

    fn rewind(&self, _number: u64) {}
}
