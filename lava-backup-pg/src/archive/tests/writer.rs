use super::*;

/// Writes dumps as `pg_dump` does.
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    minor: u8,
    /// Of entries.
    pub(super) section: i32,
}

impl Writer {
    pub(super) fn new(minor: u8, entries: i32) -> Self {
        let mut writer = Self {
            out: b"PGDMP\x01".to_vec(),
            minor,
            section: 3,
        };
        writer.out.extend([minor, 0, 4, 8, 1]);
        match minor {
            ..15 => writer.int(0),
            _ => writer.out.push(0),
        }
        for part in [29, 34, 21, 22, 10, 126, 0] {
            writer.int(part);
        }
        for text in ["lavaserver", "17.12", "17.12"] {
            writer.text(Some(text));
        }
        writer.int(entries);
        writer
    }

    pub(super) fn int(&mut self, value: i32) {
        self.out.push(u8::from(value < 0));
        self.out.extend(value.unsigned_abs().to_le_bytes());
    }

    pub(super) fn text(&mut self, text: Option<&str>) {
        match text {
            None => self.int(-1),
            Some(text) => {
                self.int(text.len() as i32);
                self.out.extend(text.as_bytes());
            }
        }
    }

    pub(super) fn entry(
        &mut self,
        id: i32,
        desc: &str,
        tag: &str,
        sql: [Option<&str>; 2],
        data: u8,
    ) {
        self.int(id);
        self.int(i32::from(data != 3));
        self.text(Some("1259"));
        self.text(Some("16384"));
        self.text(Some(tag));
        self.text(Some(desc));
        self.int(self.section);
        self.text(sql[0]);
        self.text(Some(""));
        self.text(sql[1]);
        self.text(Some("public"));
        self.text(Some(""));
        if self.minor >= 14 {
            self.text(Some("heap"));
        }
        if self.minor >= 16 {
            self.int(i32::from(b'r'));
        }
        self.text(Some("lavaserver"));
        self.text(Some("false"));
        self.text(Some("200"));
        self.text(None);
        self.out.push(data);
        self.out.extend([0; 8]);
    }

    pub(super) fn table_entry(&mut self, id: i32, name: &str) {
        let copy = format!("COPY public.{name} (id, name) FROM stdin;\n");
        self.entry(id, "TABLE DATA", name, [Some(""), Some(&copy)], 1);
    }

    pub(super) fn block(&mut self, block: u8, id: i32) {
        self.out.push(block);
        self.int(id);
    }

    pub(super) fn chunks(&mut self, chunks: &[&str]) {
        for chunk in chunks {
            self.text(Some(chunk));
        }
        self.int(0);
    }

    pub(super) fn table(&mut self, id: i32, chunks: &[&str]) {
        self.block(BLOCK_TABLE, id);
        self.chunks(chunks);
    }

    pub(super) fn read(&self) -> Result<DumpContents, ArchiveError> {
        super::read(&self.out)
    }
}
