//! Making the nodes of a tree that somebody else filled: a copy of a volume, or what an
//! archive holds.
//!
//! Each is made in a directory that is held, under a name of one component that must be
//! new, and is given its attributes by its descriptor: nothing is followed, and no mount
//! is crossed.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat2};
use nix::libc::dev_t;
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens,
    mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use super::dir::{Dir, Mounts, error, how};
use super::error::{Error, Result};
use super::verbs::shown;
use crate::sys::process::descriptor_path;
use crate::sys::xattr;

/// The label of SELinux: what is new has that of its directory, which is labelled for
/// containers.
const LABEL: &CStr = c"security.selinux";

/// What a node has beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its twelve permission bits; a symbolic link has none.
    pub mode: Option<u32>,
    /// Its extended attributes by name, with those that hold an ACL.
    pub extended: Vec<(CString, Vec<u8>)>,
    /// When it was read last.
    pub accessed: TimeSpec,
    /// When it was changed last.
    pub modified: TimeSpec,
}

impl Attributes {
    /// Reads those of the node `fd`, of which `stat` was read; it is `name` in `dir`, or
    /// that itself where the name is empty.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn read(
        fd: BorrowedFd<'_>,
        stat: &FileStat,
        dir: &Dir,
        name: &CStr,
    ) -> Result<Self> {
        let failed = |source| failed("getxattr", dir, name, source);
        let mut extended = Vec::new();
        for attribute in xattr::names(fd).map_err(failed)? {
            if attribute.as_c_str() == LABEL {
                continue;
            }
            if let Some(value) = xattr::value(fd, &attribute).map_err(failed)? {
                extended.push((attribute, value));
            }
        }
        let is_link = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits();
        Ok(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: (!is_link).then_some(stat.st_mode & 0o7777),
            extended,
            accessed: TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
            modified: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
        })
    }
}

impl Dir {
    /// Makes the regular file `name`, for the owner alone and empty.
    pub(super) fn make_file(&self, name: &CStr) -> Result<File> {
        self.step("open", shown(name))?;
        let flags =
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        openat2(&self.fd, name, how(flags, mode, Mounts::Stay))
            .map(File::from)
            .map_err(|errno| self.refused("openat2", name, errno))
    }

    /// Makes the symbolic link `name`, whatever its target is.
    pub(super) fn make_link(&self, name: &CStr, target: &CStr) -> Result<OwnedFd> {
        self.step("symlinkat", shown(name))?;
        symlinkat(target, &self.fd, name)
            .map_err(|errno| self.refused("symlinkat", name, errno))?;
        self.open_node(name)
    }

    /// Makes the fifo or the device `name`, for the owner alone.
    pub(super) fn make_special(&self, name: &CStr, kind: SFlag, device: dev_t) -> Result<OwnedFd> {
        self.step("mknodat", shown(name))?;
        mknodat(&self.fd, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, device)
            .map_err(|errno| self.refused("mknodat", name, errno))?;
        self.open_node(name)
    }

    /// Makes `name` in `target` another name of the node `from` in this directory.
    pub(super) fn link(&self, from: &CStr, target: &Dir, name: &CStr) -> Result<()> {
        target.step("linkat", shown(name))?;
        linkat(&self.fd, from, &target.fd, name, AtFlags::empty())
            .map_err(|errno| target.refused("linkat", name, errno))
    }

    /// Opens the node `name`, whatever it is, as a place and no more: nothing is read
    /// or written by that, no device is woken, and no fifo is waited for.
    pub(super) fn open_node(&self, name: &CStr) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // A symbolic link is opened itself: the kernel refuses it only on the way.
        openat2(&self.fd, name, how(flags, Mode::empty(), Mounts::Stay))
            .map_err(|errno| self.refused("openat2", name, errno))
    }

    /// Gives the node `fd`, which is `name` in this directory or, where that is empty,
    /// the directory itself, all that `attributes` says. Of a directory it is the last
    /// that is done: what is made in it changes its times, and has its default ACL.
    /// Extended attributes that cannot be had here are told to `refused`.
    pub(super) fn give(
        &self,
        name: &CStr,
        fd: BorrowedFd<'_>,
        attributes: &Attributes,
        refused: &mut dyn FnMut(&CStr),
    ) -> Result<()> {
        self.step("fsetattr", shown(name))?;
        let owner = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
        fchownat(fd, c"", owner.0, owner.1, AtFlags::AT_EMPTY_PATH)
            .map_err(|errno| self.refused("fchownat", name, errno))?;
        // After the owner: chown(2) takes away what a file may do beyond its mode.
        for (attribute, value) in &attributes.extended {
            match xattr::set(fd, attribute, value) {
                Err(error) if matches!(errno(&error), Some(Errno::EPERM | Errno::EOPNOTSUPP)) => {
                    refused(attribute);
                }
                set => set.map_err(|source| failed("setxattr", self, name, source))?,
            }
        }
        // After an ACL, which has a part in the mode.
        if let Some(mode) = attributes.mode {
            set_mode(fd, mode).map_err(|errno| self.refused("fchmod", name, errno))?;
        }
        set_times(fd, attributes).map_err(|errno| self.refused("utimensat", name, errno))
    }

    fn refused(&self, op: &'static str, name: &CStr, errno: Errno) -> Error {
        error(op, &self.path.join(shown(name)), errno)
    }
}

/// Returns what fstat(2) says of `fd`, which is `name` in `dir`.
pub(super) fn stat(fd: BorrowedFd<'_>, dir: &Dir, name: &CStr) -> Result<FileStat> {
    fstat(fd).map_err(|errno| dir.refused("fstat", name, errno))
}

fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> nix::Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    match fchmod(fd, mode) {
        Err(Errno::EBADF) => {
            let path = descriptor_path(fd);
            fchmodat(AT_FDCWD, path.as_c_str(), mode, FchmodatFlags::FollowSymlink)
        }
        set => set,
    }
}

fn set_times(fd: BorrowedFd<'_>, attributes: &Attributes) -> nix::Result<()> {
    let (accessed, modified) = (&attributes.accessed, &attributes.modified);
    match futimens(fd.as_fd(), accessed, modified) {
        Err(Errno::EBADF) => {
            let path = descriptor_path(fd);
            let follow = UtimensatFlags::FollowSymlink;
            utimensat(AT_FDCWD, path.as_c_str(), accessed, modified, follow)
        }
        set => set,
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn failed(op: &'static str, dir: &Dir, name: &CStr, source: io::Error) -> Error {
    Error { op, path: dir.path.join(shown(name)), source }
}
