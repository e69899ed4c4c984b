//! The record that dm-log-writes makes, read as its kernel documentation has it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// One entry: a write, a discard, a flush or a mark.
#[derive(Debug)]
pub struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where in the record its data begin.
    data: u64,
    /// The number that a mark has for its name.
    pub mark: Option<usize>,
}

pub struct Record {
    log: File,
    sector: u64,
    pub entries: Vec<Entry>,
}

impl Entry {
    pub fn is_flush(&self) -> bool {
        self.flags & (FLUSH | FUA) != 0
    }
}

impl Record {
    pub fn read(device: &Path) -> Self {
        let log = File::open(device).unwrap();
        let mut head = [0; 28];
        log.read_exact_at(&mut head, 0).unwrap();
        assert_eq!(number(&head, 0), MAGIC);
        let sector = u64::from(u32::from_le_bytes(head[24..28].try_into().unwrap()));
        let mut at = sector;
        let mut entries = Vec::new();
        for _ in 0..number(&head, 2) {
            let mut bytes = vec![0; usize::try_from(sector).unwrap()];
            log.read_exact_at(&mut bytes, at).unwrap();
            let (flags, length) = (number(&bytes, 2), number(&bytes, 3));
            let text = &bytes[32..][..usize::try_from(length).unwrap()];
            // The kernel puts a mark of its own at the end.
            let mark = (flags & MARK != 0).then(|| String::from_utf8_lossy(text).parse().ok());
            let data = at + sector;
            let sectors = number(&bytes, 1);
            let held = if flags & DISCARD == 0 { sectors } else { 0 };
            at = data + held * sector;
            let mark = mark.flatten();
            entries.push(Entry { sector: number(&bytes, 0), sectors, flags, data, mark });
        }
        Self { log, sector, entries }
    }

    /// Writes to a disk what it was told by these entries.
    pub fn replay(&self, entries: std::ops::Range<usize>, disk: &File) {
        for entry in &self.entries[entries] {
            let mut bytes = vec![0; usize::try_from(entry.sectors * self.sector).unwrap()];
            if entry.flags & DISCARD == 0 {
                self.log.read_exact_at(&mut bytes, entry.data).unwrap();
            }
            disk.write_all_at(&bytes, entry.sector * self.sector).unwrap();
        }
        disk.sync_all().unwrap();
    }
}

/// The number at this place among others.
fn number(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(bytes[place * 8..][..8].try_into().unwrap())
}
