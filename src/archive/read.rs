//! Reads an archive, entry by entry.

use std::io::{self, Read};

use super::header::{
    self, CHECKSUM, GID, Header, LINK, MAGIC, MAJOR, MINOR, MODE, MTIME, NAME, PREFIX, SIZE, TYPE,
    UID, number, text,
};
use super::pax::Pax;
use super::{BLOCK, Entry, Kind, Piece, Time};

/// The most of pax headers and long names that is read for one entry, together with the
/// headers that hold for all: they are in memory.
const LONGEST: u64 = 1 << 20;

/// How many zeros may follow the end of an archive. tar fills up its last record with
/// them, which is of 10 KiB unless somebody wants it otherwise.
const MOST_ZEROS: u64 = 64 << 20;

/// How much of a file is handed on at a time.
const CHUNK: usize = 1 << 16;

/// Programs that compress, by what their files begin with, and how to undo it.
const COMPRESSED: [(&[u8], &str, &str); 5] = [
    (b"\x1f\x8b", "gzip", "zcat"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"\xfd7zXZ\x00", "xz", "xzcat"),
    (b"BZh", "bzip2", "bzcat"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
];

/// Why an archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read at all.
    #[error("{0}")]
    Read(io::Error),
    /// It makes no sense, or is of a kind that is not read.
    #[error("{0}")]
    Bad(String),
}

/// An archive that is read.
pub struct Reader<'a> {
    from: &'a mut dyn Read,
    /// How far it was read.
    at: u64,
    /// What is still to be read of the last entry's data, and of its last block.
    pub(super) left: u64,
    padding: u64,
    /// What holds for all entries that follow, and how long that was.
    global: Pax,
    global_size: u64,
    /// A key that was passed over although it says something of a file.
    lost: Option<String>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// Begins to read an archive.
    pub fn new(from: &'a mut dyn Read) -> Self {
        Self {
            from,
            at: 0,
            left: 0,
            padding: 0,
            global: Pax::default(),
            global_size: 0,
            lost: None,
        }
    }

    /// Returns what entries said that is not kept, if any did: the first key.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Returns the next entry, or `None` at the end of the archive, after which there
    /// must be nothing but zeros. What was not read of the entry before is passed over.
    ///
    /// # Errors
    /// It is cut off, is no tar archive, is compressed, or has an entry of a kind that
    /// is not known.
    pub fn entry(&mut self) -> Result<Option<Entry>, Error> {
        self.pass_over()?;
        let mut pax = self.global.clone();
        let (mut name, mut link) = (None, None);
        let mut room = LONGEST - self.global_size;
        loop {
            let Some(header) = self.header()? else {
                return self.end().map(|()| None);
            };
            match header[TYPE] {
                b'x' | b'X' => {
                    pax.add(&self.long(&header, &mut room)?).map_err(|why| self.bad(&why))?;
                }
                b'g' => {
                    let records = self.long(&header, &mut room)?;
                    self.global_size += records.len() as u64;
                    self.global.add(&records).map_err(|why| self.bad(&why))?;
                    pax.add(&records).map_err(|why| self.bad(&why))?;
                }
                b'L' => name = Some(terminated(self.long(&header, &mut room)?)),
                b'K' => link = Some(terminated(self.long(&header, &mut room)?)),
                // The name that GNU tar gave the whole archive.
                b'V' => {}
                _ => return self.described(&header, pax, name, link).map(Some),
            }
        }
    }

    /// Passes what is left of the entry's data to `each`, with its place in the file.
    ///
    /// # Errors
    /// The archive is cut off, or `each` fails.
    pub fn data<E: From<Error>>(
        &mut self,
        pieces: &[Piece],
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; CHUNK];
        for piece in pieces {
            let mut done = 0;
            while done < piece.len {
                let want = (piece.len - done).min(CHUNK as u64);
                let chunk = &mut buffer[..usize::try_from(want).unwrap_or(CHUNK)];
                self.exactly(chunk)?;
                self.left = self.left.saturating_sub(want);
                each(piece.at + done, chunk)?;
                done += want;
            }
        }
        Ok(())
    }

    fn described(
        &mut self,
        header: &Header,
        pax: Pax,
        name: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
    ) -> Result<Entry, Error> {
        let path = pax.sparse.name.clone().or_else(|| pax.path.clone()).or(name);
        let path = path.unwrap_or_else(|| short_name(header));
        let link = pax.link.clone().or(link).unwrap_or_else(|| text(header, LINK).to_vec());
        let shown = path.escape_ascii().to_string();
        let bad = |why: &str| Error::Bad(format!("entry \"{shown}\": {why}"));
        let field = |range: std::ops::Range<usize>, what: &str| {
            number(&header[range]).ok_or_else(|| bad(&format!("its {what} is no number")))
        };
        let small = |value: i64, what: &str| {
            let fits = u32::try_from(value).ok().filter(|&id| id != u32::MAX);
            fits.ok_or_else(|| bad(&format!("its {what}, {value}, cannot be used")))
        };
        let size = match pax.size {
            Some(size) => size,
            None => u64::try_from(field(SIZE, "size")?).map_err(|_| bad("its size is negative"))?,
        };
        if size > i64::MAX.cast_unsigned() - BLOCK as u64 {
            return Err(bad("its size cannot be used"));
        }
        let device = || -> Result<(u32, u32), Error> {
            let numbers = (field(MAJOR, "major number")?, field(MINOR, "minor number")?);
            Ok((small(numbers.0, "major number")?, small(numbers.1, "minor number")?))
        };
        let device = |kind: fn(u32, u32) -> Kind| device().map(|(major, minor)| kind(major, minor));
        let kind = match header[TYPE] {
            // So the oldest archives say it.
            b'0' | 0 | b'7' if path.ends_with(b"/") && size == 0 => Kind::Dir,
            b'0' | 0 | b'7' | b'S' => {
                self.left = size;
                self.padding = padding(size);
                let (size, pieces) = self.pieces(header, &pax, size, &bad)?;
                Kind::File { size, pieces }
            }
            b'1' => Kind::Link(link),
            b'2' => Kind::Symlink(link),
            b'3' => device(Kind::Char)?,
            b'4' => device(Kind::Block)?,
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            other => {
                let kind = other.escape_ascii();
                return Err(bad(&format!("it is of the unknown kind '{kind}'")));
            }
        };
        if self.lost.is_none() {
            self.lost = pax.lost;
        }
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => Time { seconds: field(MTIME, "time")?, nanoseconds: 0 },
        };
        let id = |known: Option<u32>, range, what| match known {
            Some(id) => Ok(id),
            None => field(range, what).and_then(|id| small(id, what)),
        };
        let uid = id(pax.uid, UID, "owner")?;
        let gid = id(pax.gid, GID, "group")?;
        let mode = u32::try_from(field(MODE, "mode")? & 0o7777).unwrap_or_default();
        Ok(Entry { kind, mode, uid, gid, mtime, xattrs: pax.xattrs, path })
    }

    /// Reads a header, or `None` where a block of zeros stands in its place.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let first = self.at == 0;
        let mut header = [0; BLOCK];
        self.exactly(&mut header)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        if header::is_sound(&header) && !text(&header, CHECKSUM).is_empty() {
            return Ok(Some(header));
        }
        if !first {
            return Err(self.bad("this is not the head of an entry: the archive is damaged"));
        }
        for (magic, name, undo) in COMPRESSED {
            if header.starts_with(magic) {
                return Err(Error::Bad(format!(
                    "the archive is compressed with {name}; undo that on the way, as in \
                     '{undo} FILE | dirvol import NAME -'"
                )));
            }
        }
        Err(Error::Bad("this is not a tar archive".into()))
    }

    /// Reads the data of a header that has some, whole, where there is `room` for it.
    fn long(&mut self, header: &Header, room: &mut u64) -> Result<Vec<u8>, Error> {
        let size = number(&header[SIZE]).and_then(|size| u64::try_from(size).ok());
        let size = size.filter(|size| size <= room);
        let size = size.ok_or_else(|| self.bad("a pax header or a name is too long"))?;
        *room -= size;
        let mut bytes = Vec::new();
        // It grows by what really comes.
        let read = self.from.take(size).read_to_end(&mut bytes).map_err(Error::Read)?;
        self.at += read as u64;
        if (read as u64) < size {
            return Err(self.cut_off());
        }
        self.padding = padding(size);
        self.pass_over()?;
        Ok(bytes)
    }

    fn pass_over(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; if self.left > 0 { CHUNK } else { BLOCK }];
        let mut rest = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        while rest > 0 {
            let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            self.exactly(&mut buffer[..len])?;
            rest -= len as u64;
        }
        Ok(())
    }

    /// Reads on to the very end, where nothing else may come.
    fn end(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; CHUNK];
        let ended = self.at;
        loop {
            match self.from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) if self.at - ended > MOST_ZEROS => {
                    return Err(self.bad("zeros follow the end of the archive, and do not end"));
                }
                Ok(len) if buffer[..len].iter().all(|&byte| byte == 0) => self.at += len as u64,
                Ok(_) => {
                    return Err(self.bad(
                        "something follows the end of the archive: if these are several \
                         archives, import each by itself",
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }

    pub(super) fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        match self.from.read_exact(buffer) {
            Ok(()) => {
                self.at += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.cut_off()),
            Err(error) => Err(Error::Read(error)),
        }
    }

    fn cut_off(&self) -> Error {
        let at = self.at;
        match at {
            0 => Error::Bad("the archive is empty, or cut off in its first block".into()),
            _ => Error::Bad(format!("the archive is cut off after {at} bytes")),
        }
    }

    fn bad(&self, why: &str) -> Error {
        Error::Bad(format!("at byte {}: {why}", self.at))
    }
}

/// Returns the name in a header: POSIX's prefix is before it.
fn short_name(header: &Header) -> Vec<u8> {
    let name = text(header, NAME);
    match text(header, PREFIX) {
        prefix if !prefix.is_empty() && header[MAGIC].starts_with(b"ustar\0") => {
            [prefix, b"/", name].concat()
        }
        _ => name.to_vec(),
    }
}

/// A name in a block of its own ends with a NUL.
fn terminated(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    name
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}
