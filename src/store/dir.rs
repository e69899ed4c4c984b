//! A held directory, and what is read through it. What is changed through it is in
//! [`super::verbs`].

use std::ffi::{CStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstat, fstatat};

use super::bytes::reopen;
use super::error::{Error, Result};
use super::layout::FileName;
use super::node::stat;
use super::verbs::Probe;
use crate::sys::fresh;

/// A directory that is held open, with the path by which it was reached, for
/// messages only.
pub struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) probe: Option<Probe>,
    /// Whether other nodes change its names: the kernel remembers names for a minute, so
    /// before one is looked up it is made to ask whether the directory has changed.
    pub(super) shared: bool,
}

impl std::fmt::Debug for Dir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dir").field(&self.path).finish()
    }
}

/// A directory as the kernel identifies it: device and inode.
pub type Identity = (u64, u64);

/// When a file was changed last: seconds, and nanoseconds.
pub type Stamp = (i64, i64);

/// Whether reaching a directory may pass a mount that lies below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounts {
    Cross,
    Stay,
}

impl Dir {
    /// Opens the directory at `path`, which was chosen by whoever runs the
    /// driver; symbolic links are followed.
    pub(super) fn open(path: &Path, probe: Option<Probe>) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty())
            .map_err(|errno| error("open", path, errno))?;
        Ok(Self { fd, path: path.to_path_buf(), probe, shared: false })
    }

    /// Opens the directory `name` in this one.
    pub(super) fn open_dir(&self, name: &FileName) -> Result<Self> {
        self.open_dir_at(name, name.as_str(), Mounts::Cross)
    }

    /// Opens a directory whose name was read from this one.
    pub(super) fn open_dir_read(&self, name: &CStr, mounts: Mounts) -> Result<Self> {
        let shown = OsString::from_vec(name.to_bytes().to_vec());
        self.open_dir_at(name, shown, mounts)
    }

    fn open_dir_at<P>(&self, name: &P, shown: impl AsRef<Path>, mounts: Mounts) -> Result<Self>
    where
        P: ?Sized + nix::NixPath,
    {
        self.refresh()?;
        let path = self.path.join(shown);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat2(&self.fd, name, how(flags, Mode::empty(), mounts))
            .map_err(|errno| error("openat2", &path, errno))?;
        Ok(Self { fd, path, probe: self.probe.clone(), shared: false })
    }

    /// Returns the path by which the directory was reached.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has the kernel forget names of this directory that another node has changed, where
    /// it is one that other nodes change.
    pub(super) fn refresh(&self) -> Result<()> {
        match self.shared {
            true => fresh::ask(self.fd.as_fd()).map_err(|source| Error {
                op: "statx",
                path: self.path.clone(),
                source,
            }),
            false => Ok(()),
        }
    }

    /// Returns which directory this is.
    pub(super) fn identity(&self) -> Result<Identity> {
        let stat = fstat(&self.fd).map_err(|errno| error("fstat", &self.path, errno))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Reads the file `name` whole, or returns `None` where there is none.
    ///
    /// # Errors
    /// Also where it is longer than `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        // O_NONBLOCK: a fifo in the file's place must not make us wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = match openat2(&self.fd, name, how(flags, Mode::empty(), Mounts::Cross)) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(error("openat2", &path, errno)),
        };
        let mut bytes = Vec::new();
        File::from(fd).take(limit + 1).read_to_end(&mut bytes).map_err(|source| Error {
            op: "read",
            path: path.clone(),
            source,
        })?;
        if bytes.len() as u64 > limit {
            let source = io::Error::other(format!("longer than {limit} bytes"));
            return Err(Error { op: "read", path, source });
        }
        Ok(Some(bytes))
    }

    /// Returns whether there is a directory `name` in this one. A symbolic link
    /// to one is none.
    pub(super) fn has_dir(&self, name: &str) -> Result<bool> {
        self.refresh()?;
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(is_dir(&stat)),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(error("fstatat", &self.path.join(name), errno)),
        }
    }

    /// Returns when the file `name` was changed or touched last, or `None` where
    /// there is none.
    pub(super) fn modified(&self, name: &FileName) -> Result<Option<SystemTime>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let seconds = Duration::from_secs(stat.st_mtime.try_into().unwrap_or(0));
                Ok(UNIX_EPOCH.checked_add(seconds))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(error("fstatat", &self.path.join(name.as_str()), errno)),
        }
    }

    /// Returns the same to the nanosecond, for a comparison.
    pub(super) fn stamp(&self, name: &FileName) -> Result<Option<Stamp>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_mtime, stat.st_mtime_nsec))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(error("fstatat", &self.path.join(name.as_str()), errno)),
        }
    }

    /// Passes the names in this directory to `each`, as the kernel gives them.
    pub(super) fn each(&self, mut each: impl FnMut(&CStr, Kind) -> Result<()>) -> Result<()> {
        self.pass_each(&mut each)
    }

    /// As [`Dir::each`], as one function for whatever is done with the names.
    fn pass_each(&self, each: &mut dyn FnMut(&CStr, Kind) -> Result<()>) -> Result<()> {
        self.refresh()?;
        let fail = |errno| error("getdents", &self.path, errno);
        // A directory stream owns its descriptor and moves its offset, so it
        // gets an open file of its own.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut stream =
            nix::dir::Dir::openat(&self.fd, ".", flags, Mode::empty()).map_err(fail)?;
        for entry in stream.iter() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::Directory) => Kind::Dir,
                Some(_) => Kind::Other,
                // Some file systems do not say it in the listing.
                None => match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(stat) if is_dir(&stat) => Kind::Dir,
                    Ok(_) => Kind::Other,
                    Err(Errno::ENOENT) => continue,
                    Err(errno) => return Err(fail(errno)),
                },
            };
            each(name, kind)?;
        }
        Ok(())
    }

    /// Passes the names of the directories in this one to `each`, those that are
    /// not text or not a [`FileName`] left out.
    pub(super) fn each_dir(&self, mut each: impl FnMut(FileName)) -> Result<()> {
        self.each(|name, kind| {
            if kind == Kind::Dir {
                name.to_str().ok().and_then(FileName::new).into_iter().for_each(&mut each);
            }
            Ok(())
        })
    }

    /// Returns the names of the directories in this one, as [`Dir::each_dir`].
    pub(super) fn dirs(&self) -> Result<Vec<FileName>> {
        let mut names = Vec::new();
        self.each_dir(|name| names.push(name))?;
        Ok(names)
    }

    /// Returns the names of whatever is in this one, those left out as by [`Dir::each_dir`].
    pub(super) fn names(&self) -> Result<Vec<FileName>> {
        let mut names = Vec::new();
        self.each(|name, _| {
            names.extend(name.to_str().ok().and_then(FileName::new));
            Ok(())
        })?;
        Ok(names)
    }

    /// Opens the regular file `name`, which was read from this directory, for its
    /// attributes, or returns `None` where it is something else.
    pub(super) fn open_regular(&self, name: &CStr) -> Result<Option<File>> {
        let place = self.open_node(name)?;
        if stat(place.as_fd(), self, name)?.st_mode & nix::libc::S_IFMT != nix::libc::S_IFREG {
            return Ok(None);
        }
        // The same file, whatever has its name by now: to open a device does something.
        let shown = || self.path.join(OsString::from_vec(name.to_bytes().to_vec()));
        reopen(&place).map(Some).map_err(|errno| error("open", &shown(), errno))
    }

    /// Opens the file `name`, making it where it is missing.
    pub(super) fn open_file(&self, name: &str) -> Result<File> {
        self.step("open", name)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        openat2(&self.fd, name, how(flags, mode, Mounts::Cross))
            .map(File::from)
            .map_err(|errno| error("openat2", &self.path.join(name), errno))
    }

    /// Takes the lock of the directory itself with flock(2), for as long as the
    /// returned file lives, or returns `None` where somebody else has it.
    pub(super) fn lock(&self) -> Result<Option<File>> {
        let fail = |source| Error { op: "flock", path: self.path.clone(), source };
        let file = File::from(self.fd.try_clone().map_err(fail)?);
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What an entry of a directory is, as far as deleting it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    Other,
}

/// Returns which directory is at `path` now, or `None` where there is none.
pub(super) fn identity_at(path: &Path) -> Result<Option<Identity>> {
    match nix::sys::stat::stat(path) {
        Ok(stat) => Ok(is_dir(&stat).then_some((stat.st_dev, stat.st_ino))),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(error("stat", path, errno)),
    }
}

fn is_dir(stat: &nix::sys::stat::FileStat) -> bool {
    stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
}

pub(super) fn how(flags: OFlag, mode: Mode, mounts: Mounts) -> OpenHow {
    let mut resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if mounts == Mounts::Stay {
        resolve |= ResolveFlag::RESOLVE_NO_XDEV;
    }
    OpenHow::new().flags(flags).mode(mode).resolve(resolve)
}

pub(super) fn error(op: &'static str, path: &Path, errno: Errno) -> Error {
    Error { op, path: path.to_path_buf(), source: errno.into() }
}
