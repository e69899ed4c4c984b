//! The verbs that change the disk.
//!
//! Every change goes through a verb of [`Dir`], and every verb passes its
//! [`Step`] to the probe first, if there is one. A test thus sees the steps in
//! their order, and can fail any of them.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, openat2, renameat2};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, fstat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, syncfs, unlinkat};

use super::dir::{Dir, Mounts, error, how};
use super::error::{Error, Result};
use super::layout::FileName;
use crate::sys::btrfs;

/// One change of the disk that is about to be made.
#[derive(Debug)]
pub struct Step<'a> {
    /// The operation, in the kernel's words.
    pub op: &'static str,
    /// What it is made to.
    pub path: &'a Path,
}

/// Sees every change before it is made, and makes it fail by returning an error.
pub type Probe = Arc<dyn Fn(&Step<'_>) -> io::Result<()> + Send + Sync>;

/// The operation that makes a snapshot, in errors.
pub const SNAPSHOT: &str = "snapshot";

impl Dir {
    /// Makes the directory `name`, for the owner alone.
    pub(super) fn make_dir(&self, name: &str) -> Result<()> {
        self.step("mkdirat", name)?;
        mkdirat(&self.fd, name, Mode::S_IRWXU)
            .map_err(|errno| error("mkdirat", &self.path.join(name), errno))
    }

    /// Makes the directory `name`, for the owner alone, and opens it.
    pub(super) fn make_dir_open(&self, name: &CStr) -> Result<Dir> {
        self.step("mkdirat", shown(name))?;
        mkdirat(&self.fd, name, Mode::S_IRWXU)
            .map_err(|errno| error("mkdirat", &self.path.join(shown(name)), errno))?;
        self.open_dir_read(name, Mounts::Stay)
    }

    /// Makes `name` a snapshot of the subvolume of btrfs that `source` is, and opens it.
    pub(super) fn take_snapshot(&self, source: &Dir, name: &CStr) -> Result<Dir> {
        self.step(SNAPSHOT, shown(name))?;
        let fail = |source| Error { op: SNAPSHOT, path: self.path.join(shown(name)), source };
        btrfs::snapshot(source.as_fd(), self.as_fd(), name).map_err(fail)?;
        self.open_dir_read(name, Mounts::Stay)
    }

    /// Makes the empty subvolume `name` of btrfs, for the owner alone and otherwise as
    /// a directory would be made, and opens it.
    pub(super) fn make_subvolume_open(&self, name: &CStr) -> Result<Dir> {
        const OP: &str = "BTRFS_IOC_SUBVOL_CREATE_V2";
        self.step(OP, shown(name))?;
        let fail = |source| Error { op: OP, path: self.path.join(shown(name)), source };
        btrfs::create_subvolume(self.fd.as_fd(), name).map_err(fail)?;
        let made = self.open_dir_read(name, Mounts::Stay)?;
        fchmod(&made.fd, Mode::S_IRWXU).map_err(|errno| fail(errno.into()))?;
        btrfs::inherit(self.fd.as_fd(), made.fd.as_fd()).map_err(fail)?;
        Ok(made)
    }

    /// Deletes the subvolume `name`, which was read from this directory, with all that
    /// is in it, at once.
    pub(super) fn delete_subvolume(&self, name: &CStr) -> Result<()> {
        const OP: &str = "BTRFS_IOC_SNAP_DESTROY";
        self.step(OP, shown(name))?;
        btrfs::destroy(self.fd.as_fd(), name).map_err(|source| {
            let path = self.path.join(shown(name));
            Error { op: OP, path, source }
        })
    }

    /// Lets what is in this subvolume be changed.
    pub(super) fn make_writable(&self) -> Result<()> {
        const OP: &str = "BTRFS_IOC_SUBVOL_SETFLAGS";
        self.step(OP, "")?;
        btrfs::make_writable(self.fd.as_fd()).map_err(|source| {
            let path = self.path.clone();
            Error { op: OP, path, source }
        })
    }

    /// Writes a new file `name`, for the owner alone, without syncing it.
    pub(super) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<File> {
        let path = self.path.join(name);
        self.step("write", name)?;
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let fd = openat2(&self.fd, name, how(flags, mode, Mounts::Cross))
            .map_err(|errno| error("openat2", &path, errno))?;
        let mut file = File::from(fd);
        file.write_all(bytes).map_err(|source| Error { op: "write", path, source })?;
        Ok(file)
    }

    /// Writes a new file `name` and syncs what is in it.
    pub(super) fn write_new_synced(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let file = self.write_new(name, bytes)?;
        self.step("fsync", name)?;
        fsync(&file).map_err(|errno| error("fsync", &self.path.join(name), errno))
    }

    /// Makes the file `name` as if it had been changed now; that there is none is
    /// no error, and makes none.
    pub(super) fn touch(&self, name: &FileName) -> Result<()> {
        self.step("utimensat", name.as_str())?;
        let (now, flags) = (TimeSpec::UTIME_NOW, UtimensatFlags::NoFollowSymlink);
        match utimensat(&self.fd, name, &now, &now, flags) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(error("utimensat", &self.path.join(name.as_str()), errno)),
        }
    }

    /// Gives this directory to an owner and a group; `None` leaves one as it is.
    pub(super) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.step("fchown", "")?;
        fchown(&self.fd, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
            .map_err(|errno| error("fchown", &self.path, errno))
    }

    /// Sets the permissions of this directory: the twelve low bits of `mode`.
    pub(super) fn set_mode(&self, mode: u32) -> Result<()> {
        self.step("fchmod", "")?;
        let fail = |errno| error("fchmod", &self.path, errno);
        fchmod(&self.fd, Mode::from_bits_truncate(mode)).map_err(fail)?;
        // Of a group that is not the driver's, the kernel leaves this bit out for who
        // lacks CAP_FSETID, and says nothing.
        let set_group_id = Mode::S_ISGID.bits();
        if mode & set_group_id != 0 && fstat(&self.fd).map_err(fail)?.st_mode & set_group_id == 0 {
            return Err(fail(Errno::EPERM));
        }
        Ok(())
    }

    /// Writes this directory's entries to the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.step("fsync", "")?;
        fsync(&self.fd).map_err(|errno| error("fsync", &self.path, errno))
    }

    /// Writes everything of the file system to the disk. It fails where anything could
    /// not be written since this directory was opened (Linux 5.8).
    pub(super) fn sync_file_system(&self) -> Result<()> {
        self.step("syncfs", "")?;
        syncfs(&self.fd).map_err(|errno| error("syncfs", &self.path, errno))
    }

    /// Moves `from` here to `to` in `target`, where nothing may be of that name:
    /// the error is then `EEXIST` (or `ENOTEMPTY`, from a file system that
    /// refuses the flag; a directory never replaces one that is not empty).
    pub(super) fn rename(&self, from: &FileName, target: &Dir, to: &FileName) -> Result<()> {
        // A name that is gone must not be in the way, nor one that is there be overlooked.
        self.refresh()?;
        target.refresh()?;
        self.step("renameat2", from.as_str())?;
        rename_new(&self.fd, from, &target.fd, to)
            .map_err(|errno| error("renameat2", &target.path.join(to.as_str()), errno))
    }

    /// Moves the file `from` over the file `to`, both in this directory.
    pub(super) fn replace(&self, from: &str, to: &str) -> Result<()> {
        self.step("renameat", from)?;
        nix::fcntl::renameat(&self.fd, from, &self.fd, to)
            .map_err(|errno| error("renameat", &self.path.join(to), errno))
    }

    /// Deletes the file `name`; that it is gone already is no error.
    pub(super) fn delete_file<P: ?Sized + nix::NixPath>(&self, name: &P) -> Result<()> {
        self.delete(name, UnlinkatFlags::NoRemoveDir)
    }

    /// Deletes the empty directory `name`; that it is gone already is no error.
    pub(super) fn delete_dir<P: ?Sized + nix::NixPath>(&self, name: &P) -> Result<()> {
        self.delete(name, UnlinkatFlags::RemoveDir)
    }

    fn delete<P: ?Sized + nix::NixPath>(&self, name: &P, flags: UnlinkatFlags) -> Result<()> {
        let shown = || name.with_nix_path(shown).unwrap_or_default();
        if self.probe.is_some() {
            self.step("unlinkat", shown())?;
        }
        match unlinkat(&self.fd, name, flags) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(error("unlinkat", &self.path.join(shown()), errno)),
        }
    }

    /// Moves a directory whose name was read from this one.
    pub(super) fn rename_read(&self, from: &CStr, target: &Dir, to: &FileName) -> Result<()> {
        self.step("renameat", shown(from))?;
        nix::fcntl::renameat(&self.fd, from, &target.fd, to)
            .map_err(|errno| error("renameat", &target.path.join(to.as_str()), errno))
    }

    pub(super) fn step(&self, op: &'static str, name: impl AsRef<Path>) -> Result<()> {
        let Some(probe) = &self.probe else { return Ok(()) };
        let name = name.as_ref();
        let path =
            if name.as_os_str().is_empty() { self.path.clone() } else { self.path.join(name) };
        probe(&Step { op, path: &path }).map_err(|source| Error { op, path, source })
    }
}

/// Makes `bytes` all that is in `file`, which is `name` in `dir`, and syncs it.
pub(super) fn overwrite(dir: &Dir, name: &str, file: &File, bytes: &[u8]) -> Result<()> {
    dir.step("write", name)?;
    let fail = |op| move |source| Error { op, path: dir.path.join(name), source };
    file.write_all_at(bytes, 0).map_err(fail("write"))?;
    file.set_len(bytes.len() as u64).map_err(fail("ftruncate"))?;
    dir.step("fsync", name)?;
    fsync(file).map_err(|errno| error("fsync", &dir.path.join(name), errno))
}

/// A name that was read from a directory, for messages.
pub(super) fn shown(name: &CStr) -> OsString {
    OsString::from_vec(name.to_bytes().to_vec())
}

/// Renames a directory to where nothing is. NFS knows no flags: there, one that is not
/// empty is not replaced either.
fn rename_new<P: ?Sized + nix::NixPath>(
    from: impl AsFd + Copy,
    old: &P,
    to: impl AsFd + Copy,
    new: &P,
) -> nix::Result<()> {
    match renameat2(from, old, to, new, RenameFlags::RENAME_NOREPLACE) {
        Err(Errno::EINVAL | Errno::ENOSYS) => nix::fcntl::renameat(from, old, to, new),
        other => other,
    }
}

/// Moves the directory at `from` to `to`, where nothing may be, durably: both are paths of
/// whoever runs this, and neither is followed where it is a link itself.
///
/// # Errors
/// The kernel refuses the rename, and nothing was changed; or the disk refuses to keep it,
/// and the directory is at `to`.
pub fn move_dir(from: &Path, to: &Path) -> std::result::Result<(), NotMoved> {
    let parent = |path: &Path| File::open(path.parent().unwrap_or(Path::new("/")));
    let (old, new) =
        (parent(from).map_err(NotMoved::Refused)?, parent(to).map_err(NotMoved::Refused)?);
    rename_new(AT_FDCWD, from, AT_FDCWD, to).map_err(|errno| NotMoved::Refused(errno.into()))?;
    // The new name first: a cut between the two must not lose both.
    new.sync_all().and_then(|()| old.sync_all()).map_err(NotMoved::Unsynced)
}

/// Why a directory is not durably where it was to be moved.
#[derive(Debug)]
pub enum NotMoved {
    /// It was not moved.
    Refused(io::Error),
    /// It was, and may not be after a power cut.
    Unsynced(io::Error),
}

/// A file outside of any root that gets its name when all of it is on the disk, and is
/// gone if it never does.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// Where it is, and where it is to be; `None` where it is written to as it is.
    names: Option<(PathBuf, PathBuf)>,
}

impl NewFile {
    /// Makes a file beside `path`, which may be there, for its owner alone. What is there and is no regular
    /// file, such as a fifo, is written to.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = match std::fs::canonicalize(path) {
            Ok(target) if !target.metadata()?.is_file() => {
                let file = File::options().write(true).open(target)?;
                return Ok(Self { file, names: None });
            }
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(error),
        };
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}", crate::sys::random::token()?));
        let place = target.with_file_name(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&place)?;
        Ok(Self { file, names: Some((place, target)) })
    }

    /// Writes it to the disk, and gives it its name.
    ///
    /// # Errors
    /// The disk refuses. The file of that name is as before.
    pub fn keep(mut self) -> io::Result<()> {
        let Some((place, target)) = self.names.clone() else { return self.file.flush() };
        self.file.sync_all()?;
        std::fs::rename(&place, &target)?;
        self.names = None;
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some((place, _)) = &self.names {
            // Ignoring: there is nobody left to tell.
            let _left = std::fs::remove_file(place);
        }
    }
}
