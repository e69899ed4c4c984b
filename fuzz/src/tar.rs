//! An archive that somebody sends: what is read of it, what is written of that, and the
//! volume that it becomes, in memory.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dirvol::archive::{Entry, Error, Kind, Piece, Reader, Writer};
use dirvol::store::{Init, Scope, Settings};
use dirvol::volume::{self, Driver, Options, VolumeName};

use super::assert_line;

/// A block, which everything in an archive is a multiple of.
const BLOCK: usize = 512;

/// An archive. What is read of it is written as the same; nothing is made but in its
/// volume, which is whole or not there; and that becomes an archive which can be read.
pub fn tar(bytes: &[u8]) {
    let bytes = &mended(bytes);
    let read = entries(bytes);
    match &read {
        Ok(entries) => assert_written(entries),
        Err(Error::Bad(why)) => assert_line(why),
        Err(Error::Read(error)) => panic!("bytes can be read: {error}"),
    }
    // Most of what is made up is none, and the disk is slow.
    if bytes.len() >= BLOCK && (read.is_ok() || first(bytes)) {
        assert_imported(bytes, read.is_ok());
    }
}

/// Makes the sums of all heads right: else little of what is made up is read.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

/// Whether there is a first entry.
fn first(bytes: &[u8]) -> bool {
    Reader::new(&mut Cursor::new(bytes)).entry().is_ok_and(|entry| entry.is_some())
}

/// Reads everything, data too. Of each file comes as much as was said, and in order.
fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut from = Cursor::new(bytes);
    let mut reader = Reader::new(&mut from);
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry()? {
        let mut data = Vec::new();
        if let Kind::File { size, pieces } = &entry.kind {
            let mut end = 0;
            for piece in pieces.iter().filter(|piece| piece.len > 0) {
                assert!(piece.at >= end && piece.len <= size - piece.at, "{entry:?}");
                end = piece.at + piece.len;
            }
            reader.data::<Error>(pieces, |_, bytes| {
                data.extend_from_slice(bytes);
                Ok(())
            })?;
            assert_eq!(data.len() as u64, pieces.iter().map(|piece| piece.len).sum::<u64>());
        }
        assert!(entry.mode <= 0o7777 && entry.uid != u32::MAX && entry.gid != u32::MAX);
        assert!(entry.mtime.nanoseconds < 1_000_000_000);
        entries.push((entry, data));
    }
    Ok(entries)
}

/// What was read is written, and read as the same, but for what no tree has.
fn assert_written(entries: &[(Entry, Vec<u8>)]) {
    let kept: Vec<&(Entry, Vec<u8>)> = entries.iter().filter(|(entry, _)| may_be(entry)).collect();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    for (entry, data) in &kept {
        writer.entry(entry).expect("memory has room");
        writer.data(data).expect("it is as long as was said");
    }
    writer.finish().expect("memory has room");
    let again = self::entries(&bytes).expect("what was written is read");
    assert_eq!(again.len(), kept.len());
    for ((again, data), (entry, had)) in again.iter().zip(kept) {
        assert_eq!((plain(again), data), (plain(entry), had));
    }
}

/// Whether a tree can have it.
fn may_be(entry: &Entry) -> bool {
    let text = |text: &[u8]| !text.contains(&0);
    text(&entry.path)
        && match &entry.kind {
            // So a directory is said in the oldest archives.
            Kind::File { .. } => !entry.path.ends_with(b"/"),
            Kind::Link(to) | Kind::Symlink(to) => text(to),
            Kind::Char(major, minor) | Kind::Block(major, minor) => {
                *major < 1 << 12 && *minor < 1 << 20
            }
            Kind::Dir | Kind::Fifo => true,
        }
}

/// An entry whose pieces are as few as they can be.
fn plain(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Kind::File { pieces, .. } = &mut entry.kind {
        let mut fewer: Vec<Piece> = Vec::new();
        for piece in pieces.iter().filter(|piece| piece.len > 0) {
            match fewer.last_mut() {
                Some(last) if last.at + last.len == piece.at => last.len += piece.len,
                _ => fewer.push(*piece),
            }
        }
        *pieces = fewer;
    }
    entry
}

/// A directory in memory, which goes with everything in it.
struct Memory(PathBuf);

impl Memory {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = format!("/dev/shm/dirvol-fuzz-{}-{count}", std::process::id());
        fs::create_dir_all(&dir).expect("memory has room");
        Self(dir.into())
    }

    /// What is in a directory of it, and nothing below.
    fn listed(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(dir)).expect("it is there");
        let mut lines: Vec<String> = entries
            .map(|entry| {
                let entry = entry.expect("it can be read");
                let meta = entry.metadata().expect("it can be read");
                let (mode, size, changed) = (meta.mode(), meta.len(), meta.ctime_nsec());
                match meta.is_file() {
                    true => format!("{:?} {mode:o} {size} {changed}", entry.file_name()),
                    false => format!("{:?}", entry.file_name()),
                }
            })
            .collect();
        lines.sort();
        lines
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What is left of it is in memory.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// The archive becomes a volume, or nothing; and that an archive.
fn assert_imported(bytes: &[u8], sound: bool) {
    let dir = Memory::new();
    fs::create_dir_all(dir.0.join("root")).expect("memory has room");
    fs::create_dir_all(dir.0.join("outside")).expect("memory has room");
    fs::write(dir.0.join("outside/a"), "secret").expect("memory has room");
    let outside = dir.listed("outside");
    let driver = Arc::new(Driver::new(volume::Settings {
        bind_roots: Vec::new(),
        root: Settings {
            path: dir.0.join("root"),
            state_dir: dir.0.join("state"),
            init: Init::Auto,
            scope: Scope::Local,
            accept: None,
            plugin: false,
            node: None,
            unusable: None,
            probe: None,
        },
        retention: Duration::ZERO,
        defaults: Options::default(),
        fixture: None,
    }));
    driver.check();
    let name = VolumeName::new("db").expect("it is a name");
    let imported = driver.import(&name, &Options::default(), &mut Cursor::new(bytes));
    driver.collect();
    assert_eq!(dir.listed("outside"), outside);
    assert_eq!(dir.listed("").len(), 3);
    assert!(dir.listed("root/staging").is_empty());
    match imported {
        Ok(_) => {
            assert!(sound, "an archive that cannot be read is no volume");
            assert_eq!(dir.listed("root/volumes"), ["\"db\""]);
            let export = driver.export(&name, true).expect("nobody uses it");
            let mut bytes = Vec::new();
            export.write(&driver, &mut bytes).expect("what was imported is exported");
            entries(&bytes).expect("what was exported is read");
        }
        Err(error) => {
            assert!(dir.listed("root/volumes").is_empty());
            if let volume::Error::Archive(_, why) = error {
                assert_line(&why);
            }
        }
    }
}
