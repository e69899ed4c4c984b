//! Writing a tree as an archive: a volume that is exported, or the directory that a
//! person imports. Nothing is followed, and no mount is crossed.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, major, minor};
use nix::unistd::{Whence, lseek};

use super::dir::{Dir, Identity, Kind as Below, Mounts};
use super::error::{Error, Result};
use super::import::Moved;
use super::layout::{DATA, FileName};
use super::node::{Attributes, stat};
use super::root::Root;
use super::unpack::DEPTH;
use crate::archive::{Entry, Kind, MOST_PIECES, Piece, Time, Writer};
use crate::order;

/// What packing is called in errors. One without a number of the kernel is of something
/// that changed meanwhile, or of whoever wanted the archive.
pub const PACK: &str = "pack";

/// How much of a file is read at a time.
const CHUNK: usize = 1 << 16;

/// How many bytes of paths are remembered, so that a file with several names is written
/// once: a container chooses how many there are, and how long.
const REMEMBERED: usize = 256 << 20;

/// How many bytes of values a file's extended attributes may have, so that the header of
/// an archive which has them can be read again.
const ATTRIBUTES: usize = 512 << 10;

/// How something has changed that has another kind by now.
const BECAME: &str = "it became something else";

/// What is lost where there is no room for more paths.
const SEVERAL: &str = "that some files have several names, as there are too many of those";

/// A tree that is going to be written as an archive, held.
#[derive(Debug)]
pub struct Packing(Dir);

impl Root {
    /// Holds the data of the volume `name`, to write it as an archive.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn packing(&self, name: &FileName) -> Result<Packing> {
        let data = FileName::new(DATA).expect("it is one component");
        self.volumes.open_dir(name)?.open_dir(&data).map(Packing)
    }
}

impl Packing {
    pub(super) fn of(dir: Dir) -> Self {
        Self(dir)
    }

    /// Holds the directory at `path`, which a person has chosen.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Dir::open(path, None).map(Self)
    }

    /// Returns which directory this is.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn identity(&self) -> Result<Identity> {
        self.0.identity()
    }

    /// Writes all that is in the tree, beginning with the directory itself as `./`.
    /// Where it is `live`, a file may change meanwhile: that is told.
    ///
    /// # Errors
    /// The disk refuses; `to` does; or something has changed and may not.
    pub fn write(&self, to: &mut dyn Write, live: bool) -> Result<Moved> {
        self.write_within(REMEMBERED, to, live)
    }

    fn write_within(&self, room: usize, to: &mut dyn Write, live: bool) -> Result<Moved> {
        let mut packer = Packer {
            writer: Writer::new(to),
            path: b"./".to_vec(),
            links: HashMap::new(),
            room,
            live,
            moved: Moved::default(),
            buffer: vec![0; CHUNK],
        };
        packer.tree(&self.0, 0)?;
        packer.writer.finish().map_err(unwritten)?;
        Ok(packer.moved)
    }
}

struct Packer<'a> {
    writer: Writer<'a>,
    /// The path of where it is, as the archive has it.
    path: Vec<u8>,
    /// The files of more than one name, by what they are.
    links: HashMap<Identity, Vec<u8>>,
    /// How many more bytes of paths may be remembered.
    room: usize,
    live: bool,
    moved: Moved,
    buffer: Vec<u8>,
}

impl Packer<'_> {
    /// Writes the directory `dir`, what is in it, and then what is below that: so only
    /// one directory of each level is open, and one listing.
    fn tree(&mut self, dir: &Dir, depth: usize) -> Result<()> {
        let node = stat(dir.as_fd(), dir, c"")?;
        let attributes = Attributes::read(dir.as_fd(), &node, dir, c"")?;
        self.head(Kind::Dir, attributes)?;
        let mut below: Vec<CString> = Vec::new();
        dir.each(|name, kind| match kind {
            Below::Dir => {
                below.push(name.to_owned());
                Ok(())
            }
            Below::Other => match self.within(name, b"", |packer| packer.node(dir, name)) {
                Ok(Some(how)) => self.changed(dir, name, how),
                written => self.unless_gone(written.map(drop), dir, name),
            },
        })?;
        if depth == DEPTH && !below.is_empty() {
            return Err(failed(dir, c"", "more than 512 directories lie in one another"));
        }
        order::sort(&mut below, Ord::cmp);
        for name in below {
            let written = dir.open_dir_read(&name, Mounts::Stay).and_then(|inner| {
                self.within(&name, b"/", |packer| packer.tree(&inner, depth + 1))
            });
            self.unless_gone(written, dir, &name)?;
        }
        Ok(())
    }

    /// Runs `write` with the path of `name`.
    fn within<T>(
        &mut self,
        name: &CStr,
        end: &[u8],
        write: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let length = self.path.len();
        self.path.extend_from_slice(name.to_bytes());
        self.path.extend_from_slice(end);
        let written = write(self);
        self.path.truncate(length);
        written
    }

    /// Leaves out what is mounted somewhere, and of a volume in use what goes away, or
    /// becomes a link or a file in a directory's place, while it is read.
    fn unless_gone(&mut self, written: Result<()>, dir: &Dir, name: &CStr) -> Result<()> {
        match written.as_ref().err().and_then(Error::errno) {
            Some(Errno::EXDEV) => {
                self.leave_out(name, "something is mounted there");
                Ok(())
            }
            Some(Errno::ENOENT) => self.changed(dir, name, "it went away"),
            Some(Errno::ENOTDIR | Errno::ELOOP) => self.changed(dir, name, BECAME),
            _ => written,
        }
    }

    fn changed(&mut self, dir: &Dir, name: &CStr, how: &str) -> Result<()> {
        if !self.live {
            return Err(failed(dir, name, &format!("{how} while it was read: try again")));
        }
        self.leave_out(name, how);
        Ok(())
    }

    fn leave_out(&mut self, name: &CStr, why: &str) {
        let path = [&self.path[..], name.to_bytes()].concat();
        self.moved.left_out.add(format!("{} ({why})", path.escape_ascii()));
    }

    /// Writes what is no directory, and returns what became of it meanwhile.
    fn node(&mut self, dir: &Dir, name: &CStr) -> Result<Option<&'static str>> {
        let place = dir.open_node(name)?;
        let node = stat(place.as_fd(), dir, name)?;
        let kind = match SFlag::from_bits_truncate(node.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => return self.file(dir, name),
            SFlag::S_IFLNK => {
                let target = readlinkat(&place, c"").map_err(|errno| {
                    let source = errno.into();
                    Error { op: "readlinkat", path: at(dir, name), source }
                })?;
                Kind::Symlink(target.as_bytes().to_vec())
            }
            SFlag::S_IFIFO => Kind::Fifo,
            SFlag::S_IFCHR => device(&node, Kind::Char),
            SFlag::S_IFBLK => device(&node, Kind::Block),
            SFlag::S_IFSOCK => {
                let path = self.path.escape_ascii().to_string();
                self.moved.left_out.add(format!("{path} (a socket)"));
                return Ok(None);
            }
            _ => return Ok(Some(BECAME)),
        };
        let attributes = Attributes::read(place.as_fd(), &node, dir, name)?;
        let kind = self.known(&node).map_or(kind, Kind::Link);
        self.head(kind, attributes).map(|()| None)
    }

    fn file(&mut self, dir: &Dir, name: &CStr) -> Result<Option<&'static str>> {
        let Some(file) = dir.open_regular(name)? else {
            return Ok(Some(BECAME));
        };
        let node = stat(file.as_fd(), dir, name)?;
        let attributes = Attributes::read(file.as_fd(), &node, dir, name)?;
        if let Some(path) = self.known(&node) {
            return self.head(Kind::Link(path), attributes).map(|()| None);
        }
        let size = u64::try_from(node.st_size).unwrap_or(0);
        let found = pieces(file.as_fd(), &node, size);
        let pieces = found.map_err(|errno| Error {
            op: "lseek",
            path: at(dir, name),
            source: errno.into(),
        })?;
        self.head(Kind::File { size, pieces: pieces.clone() }, attributes)?;
        let mut whole = true;
        for piece in &pieces {
            whole &= self.piece(&file, piece, dir, name)?;
        }
        let now = stat(file.as_fd(), dir, name)?;
        let change = |node: &FileStat| (node.st_size, node.st_mtime, node.st_mtime_nsec);
        let same = whole && change(&now) == change(&node);
        Ok((!same).then_some("it was written to"))
    }

    /// Writes a piece of a file, and zeros where that has become shorter since.
    fn piece(&mut self, file: &File, piece: &Piece, dir: &Dir, name: &CStr) -> Result<bool> {
        let mut done = 0;
        let mut whole = true;
        while done < piece.len {
            let want = usize::try_from(piece.len - done).unwrap_or(CHUNK).min(CHUNK);
            let mut got = file
                .read_at(&mut self.buffer[..want], piece.at + done)
                .map_err(|source| Error { op: "read", path: at(dir, name), source })?;
            if got == 0 {
                self.buffer[..want].fill(0);
                (got, whole) = (want, false);
            }
            self.writer.data(&self.buffer[..got]).map_err(unwritten)?;
            done += got as u64;
        }
        self.moved.bytes += piece.len;
        Ok(whole)
    }

    /// Returns the path under which a file was written already; else notes it, where it
    /// has other names and there is room. Without, it is written with each of them.
    fn known(&mut self, node: &FileStat) -> Option<Vec<u8>> {
        if node.st_nlink < 2 {
            return None;
        }
        let identity = (node.st_dev, node.st_ino);
        let known = self.links.get(&identity).cloned();
        if known.is_none() {
            match self.room.checked_sub(self.path.len() + size_of::<(Identity, Vec<u8>)>()) {
                Some(room) => {
                    self.room = room;
                    self.links.insert(identity, self.path.clone());
                }
                None => self.moved.left_out.add(SEVERAL.into()),
            }
        }
        known
    }

    fn head(&mut self, kind: Kind, attributes: Attributes) -> Result<()> {
        self.moved.files += 1;
        let mut xattrs: Vec<_> = attributes
            .extended
            .into_iter()
            .filter(|_| !matches!(kind, Kind::Link(_)))
            .map(|(name, value)| (name.into_bytes(), value))
            .collect();
        order::sort(&mut xattrs, Ord::cmp);
        let mut room = ATTRIBUTES;
        xattrs.retain(|(name, value)| {
            let (path, left) = (self.path.escape_ascii(), room.checked_sub(value.len()));
            match left {
                Some(left) => room = left,
                None => self.moved.left_out.add(format!("{path}: {}", name.escape_ascii())),
            }
            left.is_some()
        });
        let mtime = Time {
            seconds: attributes.modified.tv_sec(),
            nanoseconds: u32::try_from(attributes.modified.tv_nsec()).unwrap_or(0),
        };
        let (uid, gid) = (attributes.uid, attributes.gid);
        let mode = attributes.mode.unwrap_or(0o777);
        let path = self.path.clone();
        let entry = Entry { path, kind, mode, uid, gid, mtime, xattrs };
        self.writer.entry(&entry).map_err(unwritten)
    }
}

/// Returns the parts of a file that are no holes. Of one that has too many, the rest is
/// taken as it reads.
fn pieces(fd: BorrowedFd<'_>, node: &FileStat, size: u64) -> nix::Result<Vec<Piece>> {
    let whole = vec![Piece { at: 0, len: size }];
    if u64::try_from(node.st_blocks).unwrap_or(0) * 512 >= size {
        return Ok(whole);
    }
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < size {
        let seek = |at: u64, whence| -> nix::Result<u64> {
            let at = lseek(fd, i64::try_from(at).map_err(|_| Errno::EFBIG)?, whence)?;
            Ok(u64::try_from(at).unwrap_or(0).min(size))
        };
        let start = match seek(from, Whence::SeekData) {
            Ok(start) => start,
            // A hole up to the end.
            Err(Errno::ENXIO) => break,
            // The file system cannot tell.
            Err(Errno::EINVAL) => return Ok(whole),
            Err(errno) => return Err(errno),
        };
        let end = match pieces.len() {
            length if length + 1 >= MOST_PIECES - 1 => size,
            _ => seek(start, Whence::SeekHole)?,
        };
        if end <= start {
            break;
        }
        pieces.push(Piece { at: start, len: end - start });
        from = end;
    }
    Ok(pieces)
}

fn device(node: &FileStat, kind: fn(u32, u32) -> Kind) -> Kind {
    let number = |number: u64| u32::try_from(number).unwrap_or_default();
    kind(number(major(node.st_rdev)), number(minor(node.st_rdev)))
}

fn at(dir: &Dir, name: &CStr) -> std::path::PathBuf {
    dir.path().join(OsString::from_vec(name.to_bytes().to_vec()))
}

fn failed(dir: &Dir, name: &CStr, why: &str) -> Error {
    Error { op: PACK, path: at(dir, name), source: io::Error::other(why.to_owned()) }
}

fn unwritten(source: io::Error) -> Error {
    Error { op: PACK, path: "the archive".into(), source }
}

#[cfg(test)]
mod tests;
