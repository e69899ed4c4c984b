//! Copying the tree of a volume into that of a new one.
//!
//! The source may be anything that a container makes: nothing in it is followed, no
//! mount is crossed, no fifo waited for and no device opened, and it may change under
//! the walk. The copy lies in `staging/`, where nobody else looks.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;

use super::bytes::{Bytes, reopen};
use super::descent::Descent;
use super::dir::{Dir, Kind, Mounts, error};
use super::error::{Error, Result};
use super::layout::FileName;
use super::links::Links;
use super::node::{Attributes, stat};
use super::root::Root;
use super::verbs::shown;
use crate::sys::btrfs;
use crate::sys::sharing::has_subvolumes;

/// What a copy is called in errors. One without a number of the kernel is of something
/// that changed meanwhile, or of a root that was given up.
pub const COPY: &str = "copy";

/// How many bytes pass between two calls of [`Job::now_and_then`].
const STRETCH: u64 = 64 << 20;

/// How many things that were not copied are named; the others are counted.
const NAMED: usize = 100;

/// How a tree was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it was at one moment, in an instant.
    Snapshot,
    /// File by file; the two share their bytes until one is written to.
    Reflink,
    /// Byte by byte.
    Copy,
}

impl Method {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Reflink => "reflink",
            Self::Copy => "copy",
        }
    }
}

/// What has been copied so far; another thread may look.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files, and whatever else has a name.
    pub files: AtomicU64,
    /// Bytes, without holes.
    pub bytes: AtomicU64,
}

/// How to copy.
pub struct Job<'a> {
    /// What is counted.
    pub progress: &'a Progress,
    /// Whether somebody may be changing the source: what goes is then not missed.
    pub live: bool,
    /// Called now and then, so that space can be made while the copy takes it.
    pub now_and_then: &'a dyn Fn(),
}

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// How it was made.
    pub method: Method,
    /// How many files and directories were copied, if they were looked at.
    pub files: Option<u64>,
    /// How many bytes they hold, without holes where they were copied.
    pub bytes: Option<u64>,
    /// What was not copied, and why: the first hundred.
    pub skipped: Vec<String>,
    /// How many more were not.
    pub more_skipped: u64,
}

impl Copied {
    /// Describes a snapshot: of what is in it, nothing was looked at.
    pub fn snapshot() -> Self {
        let (method, skipped) = (Method::Snapshot, Vec::new());
        Self { method, files: None, bytes: None, skipped, more_skipped: 0 }
    }
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("live", &self.live).finish_non_exhaustive()
    }
}

impl Root {
    /// Opens the data directory of the volume `name`, or returns `None` where there is
    /// none.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    pub fn data(&self, name: &FileName) -> Result<Option<Dir>> {
        match self.open_data(name) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether `data` still is the data directory of the volume `name`.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn is_data_of(&self, data: &Dir, name: &FileName) -> Result<bool> {
        match self.data(name)? {
            Some(now) => Ok(now.identity()? == data.identity()?),
            None => Ok(false),
        }
    }

    /// Copies all that is in `source`, and the attributes of the directory itself, to
    /// `data`, which is empty and which nobody else sees.
    ///
    /// # Errors
    /// The disk refuses; the root was given up; or something went while it was copied,
    /// and nobody was said to be using the source.
    pub fn copy(&self, source: &Dir, data: &Dir, job: &Job<'_>) -> Result<Copied> {
        let copied = Copied { method: Method::Copy, ..Copied::snapshot() };
        let (links, bytes) = (Links::default(), Bytes::default());
        let pace = Pace { root: self, job, stretch: 0 };
        let mut copy = Copy { source, data, copied, links, bytes, pace };
        copy.tree()?;
        copy.copied.files = Some(job.progress.files.load(Ordering::Relaxed));
        copy.copied.bytes = Some(job.progress.bytes.load(Ordering::Relaxed));
        if copy.bytes.were_shared() {
            copy.copied.method = Method::Reflink;
        }
        Ok(copy.copied)
    }
}

impl Dir {
    /// Returns whether this directory can be copied by a snapshot, with all that is in it:
    /// it is a subvolume of btrfs that has no other in it.
    pub fn can_be_snapshot(&self) -> bool {
        btrfs::is_subvolume(self.as_fd()).unwrap_or(false)
            && !has_subvolumes(self.as_fd()).unwrap_or(true)
    }

    /// Returns the owner, the group and the permissions of this directory.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn owner(&self) -> Result<(u32, u32, u32)> {
        let stat = stat(self.as_fd(), self, c"")?;
        Ok((stat.st_uid, stat.st_gid, stat.st_mode & 0o7777))
    }
}

/// A copy that is being made.
struct Copy<'a> {
    source: &'a Dir,
    data: &'a Dir,
    copied: Copied,
    links: Links,
    bytes: Bytes,
    pace: Pace<'a>,
}

/// How a copy goes on.
struct Pace<'a> {
    root: &'a Root,
    job: &'a Job<'a>,
    /// How many bytes were copied since [`Job::now_and_then`].
    stretch: u64,
}

impl Pace<'_> {
    /// Counts `bytes`, and looks whether to go on.
    fn look(&mut self, bytes: u64) -> io::Result<()> {
        self.job.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.stretch += bytes;
        if self.stretch >= STRETCH {
            self.stretch = 0;
            (self.job.now_and_then)();
        }
        if self.root.is_lost() {
            return Err(io::Error::other("the root was given up"));
        }
        Ok(())
    }
}

impl Copy<'_> {
    fn tree(&mut self) -> Result<()> {
        let mut from = Descent::new(self.source.try_clone()?)?;
        let mut to = Descent::new(self.data.try_clone()?)?;
        let mut below = vec![self.files(from.here(), to.here())?];
        while let Some(dirs) = below.last_mut() {
            if let Some(name) = dirs.pop() {
                let Some(dir) = self.open_dir(from.here(), &name)? else { continue };
                let made = to.here().make_dir_open(&name)?;
                from.down(dir)?;
                to.down(made)?;
                below.push(self.files(from.here(), to.here())?);
                self.count()?;
                continue;
            }
            below.pop();
            if below.is_empty() {
                self.links.remove(self.data)?;
            }
            let (left, made) = (from.here(), to.here());
            let stat = stat(left.as_fd(), left, c"")?;
            let attributes = Attributes::read(left.as_fd(), &stat, left, c"")?;
            self.give(left, made, c"", made.as_fd(), &attributes)?;
            from.up()?;
            to.up()?;
        }
        Ok(())
    }

    /// Copies what is in `from` and is no directory to `to`, and returns the names of
    /// the directories.
    fn files(&mut self, from: &Dir, to: &Dir) -> Result<Vec<CString>> {
        let mut dirs = Vec::new();
        from.each(|name, kind| {
            match kind {
                Kind::Dir => dirs.push(name.to_owned()),
                Kind::Other => self.node(from, to, name)?,
            }
            Ok(())
        })?;
        Ok(dirs)
    }

    fn open_dir(&mut self, from: &Dir, name: &CStr) -> Result<Option<Dir>> {
        match from.open_dir_read(name, Mounts::Stay) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) => self.not_opened(from, name, error).map(|()| None),
        }
    }

    /// Says what became of something that cannot be opened.
    fn not_opened(&mut self, from: &Dir, name: &CStr, error: Error) -> Result<()> {
        match error.errno() {
            Some(Errno::EXDEV) => {
                self.skip(from, name, "another file system is mounted there");
                Ok(())
            }
            // Of a live source, what goes while it is copied was not there.
            Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) if self.pace.job.live => Ok(()),
            _ => Err(error),
        }
    }

    fn node(&mut self, from: &Dir, to: &Dir, name: &CStr) -> Result<()> {
        let place = match from.open_node(name) {
            Ok(place) => place,
            Err(error) => return self.not_opened(from, name, error),
        };
        let found = stat(place.as_fd(), from, name)?;
        let linked = found.st_nlink > 1;
        if linked && self.links.link(to, name, &found)? {
            return self.count();
        }
        let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
        let made = match kind {
            SFlag::S_IFREG => {
                let file = reopen(&place).map_err(|errno| failed(from, name, "open", errno))?;
                let made = to.make_file(name)?;
                self.fill(&file, &made, found.st_size).map_err(|source| Error {
                    op: COPY,
                    path: path(from, name),
                    source,
                })?;
                OwnedFd::from(made)
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(&place, c"");
                let target = target.map_err(|errno| failed(from, name, "readlinkat", errno))?;
                let target = CString::new(target.as_bytes()).expect("the kernel ends it with NUL");
                to.make_link(name, &target)?
            }
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK => {
                match to.make_special(name, kind, found.st_rdev) {
                    Err(error) if error.errno() == Some(Errno::EPERM) => {
                        self.skip(from, name, "the driver may not make devices");
                        return Ok(());
                    }
                    made => made?,
                }
            }
            SFlag::S_IFSOCK => {
                self.skip(from, name, "a socket, which means something to its program alone");
                return Ok(());
            }
            _ if self.pace.job.live => return Ok(()),
            _ => return Err(changed(from, name)),
        };
        let attributes = Attributes::read(place.as_fd(), &found, from, name)?;
        self.give(from, to, name, made.as_fd(), &attributes)?;
        if linked {
            self.links.remember(self.pace.root, self.data, to, name, &found)?;
        }
        self.count()
    }

    fn fill(&mut self, from: &File, to: &File, size: i64) -> io::Result<()> {
        let (bytes, pace) = (&mut self.bytes, &mut self.pace);
        bytes.copy(from, to, size, &mut |copied| pace.look(copied))
    }

    /// Gives `made`, which is `name` in `to`, the attributes of its original in `from`.
    fn give(
        &mut self,
        from: &Dir,
        to: &Dir,
        name: &CStr,
        made: BorrowedFd<'_>,
        attributes: &Attributes,
    ) -> Result<()> {
        let mut refused = Vec::new();
        to.give(name, made, attributes, &mut |attribute| refused.push(attribute.to_owned()))?;
        for attribute in refused {
            let attribute = attribute.to_string_lossy();
            self.skip(from, name, &format!("its attribute {attribute} cannot be set here"));
        }
        Ok(())
    }

    /// Notes that something was not copied.
    fn skip(&mut self, from: &Dir, name: &CStr, why: &str) {
        if self.copied.skipped.len() == NAMED {
            self.copied.more_skipped += 1;
            return;
        }
        let path = path(from, name);
        let below = path.strip_prefix(self.source.path()).unwrap_or(&path).display();
        self.copied.skipped.push(format!("{below}: {why}"));
    }

    fn count(&mut self) -> Result<()> {
        self.pace.job.progress.files.fetch_add(1, Ordering::Relaxed);
        self.pace.look(0).map_err(|source| {
            let path = self.source.path().to_path_buf();
            Error { op: COPY, path, source }
        })
    }
}

fn path(dir: &Dir, name: &CStr) -> PathBuf {
    if name.is_empty() { dir.path().to_path_buf() } else { dir.path().join(shown(name)) }
}

fn failed(dir: &Dir, name: &CStr, op: &'static str, errno: Errno) -> Error {
    error(op, &path(dir, name), errno)
}

fn changed(dir: &Dir, name: &CStr) -> Error {
    let source = io::Error::other("it was changed while it was copied");
    Error { op: COPY, path: path(dir, name), source }
}
