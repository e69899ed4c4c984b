//! Writes an archive, entry by entry: ustar, with a pax header where that has no room.

use std::io::{self, Write};

use super::header::{
    CHECKSUM, GID, Header, LINK, MAGIC, MAJOR, MINOR, MODE, MTIME, NAME, SIZE, TYPE, UID, USTAR,
    checksum, put_number,
};
use super::pax::{put, put_xattr, shown};
use super::{BLOCK, Entry, Kind, Piece};

/// An archive that is written.
pub struct Writer<'a> {
    to: &'a mut dyn Write,
    /// What is still to come of the last entry's data, and its padding.
    left: u64,
    padding: usize,
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'a> Writer<'a> {
    /// Begins to write an archive.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self { to, left: 0, padding: 0 }
    }

    /// Writes what comes before an entry's data. The pieces of a file follow by
    /// [`Writer::data`], all of them.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.pad()?;
        let mut pax = Vec::new();
        let mut header = [0; BLOCK];
        let mut before = Vec::new();
        let mut sparse_name = b"GNUSparseFile.0/".to_vec();
        let mut size = 0;
        let (mut name, mut link) = (&entry.path[..], &b""[..]);
        header[TYPE] = match &entry.kind {
            Kind::File { size: real, pieces } => {
                size = pieces.iter().map(|piece| piece.len).sum();
                if size != *real {
                    // GNU tar's version 1.0: the list stands before the data.
                    before = listed(*real, pieces);
                    size += before.len() as u64;
                    put(&mut pax, b"GNU.sparse.major", b"1");
                    put(&mut pax, b"GNU.sparse.minor", b"0");
                    put(&mut pax, b"GNU.sparse.name", &entry.path);
                    put(&mut pax, b"GNU.sparse.realsize", real.to_string().as_bytes());
                    // What those see who do not know of it.
                    let last = entry.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                    sparse_name.extend_from_slice(last);
                    sparse_name.truncate(NAME.len());
                    name = &sparse_name;
                }
                b'0'
            }
            Kind::Link(to) => {
                link = to;
                b'1'
            }
            Kind::Symlink(to) => {
                link = to;
                b'2'
            }
            Kind::Char(..) => b'3',
            Kind::Block(..) => b'4',
            Kind::Dir => b'5',
            Kind::Fifo => b'6',
        };
        if let Kind::Char(major, minor) | Kind::Block(major, minor) = entry.kind {
            // Linux has 12 and 20 bits for them.
            put_number(&mut header[MAJOR], major.into());
            put_number(&mut header[MINOR], minor.into());
        }
        put_text(&mut header, NAME, name, b"path", &mut pax);
        put_text(&mut header, LINK, link, b"linkpath", &mut pax);
        let mut number = |range, value: u64, key: &[u8]| {
            if !put_number(&mut header[range], value) {
                put(&mut pax, key, value.to_string().as_bytes());
            }
        };
        number(UID, entry.uid.into(), b"uid");
        number(GID, entry.gid.into(), b"gid");
        number(SIZE, size, b"size");
        number(MODE, entry.mode.into(), b"mode");
        let seconds = u64::try_from(entry.mtime.seconds).ok();
        let fits = seconds.is_some_and(|seconds| put_number(&mut header[MTIME], seconds));
        if !fits || entry.mtime.nanoseconds != 0 {
            put(&mut pax, b"mtime", shown(entry.mtime).as_bytes());
        }
        for (name, value) in &entry.xattrs {
            put_xattr(&mut pax, name, value);
        }
        if !pax.is_empty() {
            let mut head = [0; BLOCK];
            head[NAME][..12].copy_from_slice(b"PaxHeaders/0");
            head[TYPE] = b'x';
            put_number(&mut head[MODE], 0o644);
            put_number(&mut head[UID], 0);
            put_number(&mut head[GID], 0);
            put_number(&mut head[MTIME], 0);
            put_number(&mut head[SIZE], pax.len() as u64);
            self.head(head, pax.len() as u64)?;
            self.data(&pax)?;
            self.pad()?;
        }
        self.head(header, size)?;
        self.data(&before)
    }

    /// Writes some of the data of the entry.
    ///
    /// # Errors
    /// It cannot be written, or is more than the entry was said to have.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| io::Error::other("more data than was announced"))?;
        self.to.write_all(bytes)
    }

    /// Writes the end of the archive.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.pad()?;
        self.to.write_all(&[0; 2 * BLOCK])?;
        self.to.flush()
    }

    fn head(&mut self, mut header: Header, size: u64) -> io::Result<()> {
        header[MAGIC].copy_from_slice(USTAR);
        let sum = format!("{:06o}\0 ", checksum(&header));
        header[CHECKSUM].copy_from_slice(sum.as_bytes());
        self.to.write_all(&header)?;
        self.left = size;
        self.padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        if self.left != 0 {
            return Err(io::Error::other("less data than was announced"));
        }
        let padding = std::mem::take(&mut self.padding);
        self.to.write_all(&[0; BLOCK][..padding])
    }
}

fn put_text(
    header: &mut Header,
    field: std::ops::Range<usize>,
    text: &[u8],
    key: &[u8],
    pax: &mut Vec<u8>,
) {
    let room = field.len();
    let short = &text[..text.len().min(room)];
    header[field][..short.len()].copy_from_slice(short);
    if text.len() > room {
        put(pax, key, text);
    }
}

/// Returns the list of pieces as it stands before the data, in whole blocks. GNU tar
/// reads an empty piece at the end as how long a file is that ends with a hole.
fn listed(size: u64, pieces: &[Piece]) -> Vec<u8> {
    let end = pieces.last().map_or(0, |last| last.at + last.len);
    let last = (end < size).then_some(Piece { at: size, len: 0 });
    let mut list = format!("{}\n", pieces.len() + last.iter().len());
    for piece in pieces.iter().chain(&last) {
        list += &format!("{}\n{}\n", piece.at, piece.len);
    }
    let mut list = list.into_bytes();
    list.resize(list.len().next_multiple_of(BLOCK), 0);
    list
}
