//! What the kernel counts a data directory under, and keeps within a limit: a project
//! of xfs or ext4, or the quota group of a subvolume of btrfs.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::descent::Descent;
use super::dir::{Dir, Kind, Mounts};
use super::error::{Error, Result};
use crate::sys::quota::{self, Amount};
use crate::sys::{btrfs, qgroup};

/// The projects that are ours: far above those that people number by hand.
pub(super) const PROJECTS: Range<u32> = 1 << 30..1 << 31;

/// What the kernel counts what is in a directory under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// A project.
    Project(u32),
    /// The quota group of the subvolume with this id.
    Group(u64),
}

/// What a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes. A clone on btrfs counts whole, although it shares them.
    pub bytes: u64,
    /// Files and directories, where the kernel counts those.
    pub inodes: Option<u64>,
}

impl Account {
    /// Returns what `dir` is counted under, if it is under something of ours.
    pub(super) fn of(dir: &Dir) -> Option<Self> {
        let fd = dir.as_fd();
        if btrfs::is_subvolume(fd).is_ok_and(|is| is) {
            return btrfs::subvolume_id(fd).ok().map(Self::Group);
        }
        let project = quota::project(fd).ok()?;
        PROJECTS.contains(&project).then_some(Self::Project(project))
    }

    /// Returns what is in it, or `None` where the kernel does not say.
    pub(super) fn usage(self, dir: &Dir) -> Option<Usage> {
        match self {
            Self::Project(project) => {
                let used = quota::account(dir.as_fd(), project).ok()?.used;
                Some(Usage { bytes: used.bytes, inodes: Some(used.inodes) })
            }
            Self::Group(id) => {
                let bytes = qgroup::usage(dir.as_fd(), id).ok()??;
                Some(Usage { bytes, inodes: None })
            }
        }
    }

    /// Limits what may be in it, unless that is its limit already. `dir` is on the same
    /// file system, and not in it: what is full on btrfs could not even be given more.
    pub(super) fn limit(self, dir: &Dir, limit: Amount) -> Result<()> {
        if self.limit_now(dir).map_err(|error| failed(dir, error))? == self.kept(limit) {
            return Ok(());
        }
        match self {
            Self::Project(project) => dir.limit_project(project, limit),
            Self::Group(id) => dir.limit_group(id, (limit.bytes != 0).then_some(limit.bytes)),
        }
    }

    fn limit_now(self, dir: &Dir) -> io::Result<Amount> {
        match self {
            Self::Project(project) => Ok(quota::account(dir.as_fd(), project)?.limit),
            Self::Group(id) => {
                let bytes = qgroup::limit(dir.as_fd(), id)?.unwrap_or(0);
                Ok(Amount { bytes, inodes: 0 })
            }
        }
    }

    /// Returns what the kernel makes of a limit: that of a project is in whole KiB.
    fn kept(self, limit: Amount) -> Amount {
        match self {
            Self::Project(_) => Amount { bytes: limit.bytes.next_multiple_of(1024), ..limit },
            Self::Group(_) => Amount { inodes: 0, ..limit },
        }
    }

    /// Takes away what the kernel keeps of it, when the last file is gone; `dir` is on
    /// the same file system. Returns whether that is done: btrfs refuses it while it
    /// still frees the space of a subvolume, and new kernels do it by themselves then.
    pub(super) fn close(self, dir: &Dir) -> Result<bool> {
        match self {
            Self::Project(_) => self.limit(dir, Amount::default()).map(|()| true),
            Self::Group(id) => match dir.remove_group(id) {
                Err(error) if error.errno() == Some(Errno::EBUSY) => Ok(false),
                // There are no quotas or no group, or they are not ours to manage.
                Err(error)
                    if matches!(
                        error.errno(),
                        Some(Errno::ENOTCONN | Errno::EINVAL | Errno::ENOENT | Errno::EPERM)
                    ) =>
                {
                    Ok(true)
                }
                done => done.map(|()| true),
            },
        }
    }
}

/// Puts the directory `top` and all below it into `project`. What is no directory
/// and no regular file has no bytes to count, and stays. Project 0 takes them out of any.
///
/// `top` itself goes last: whoever sees it in the project may rely on all below it being
/// there too, also after a walk that broke off.
pub(super) fn enroll_tree(top: &Dir, project: u32) -> Result<()> {
    let dirs = enroll_entries(top, project)?;
    enroll_below(top, dirs, project)?;
    top.set_project(project, project != 0)?;
    // What came in the meantime did not inherit it yet.
    let mut dirs = enroll_entries(top, project)?;
    dirs.retain(|name| {
        let now = top.open_dir_read(name, Mounts::Stay).map(|dir| quota::project(dir.as_fd()));
        !matches!(now, Ok(Ok(now)) if now == project)
    });
    enroll_below(top, dirs, project)
}

/// Puts the directories `dirs` of `top` and all below them into `project`.
fn enroll_below(top: &Dir, dirs: Vec<CString>, project: u32) -> Result<()> {
    let mut at = Descent::new(top.try_clone()?)?;
    let mut below = vec![dirs];
    while let Some(dirs) = below.last_mut() {
        let Some(name) = dirs.pop() else {
            below.pop();
            at.up()?;
            continue;
        };
        match at.here().open_dir_read(&name, Mounts::Stay) {
            Err(error) if is_not_ours(&error) => {}
            opened => {
                at.down(opened?)?;
                // Before what is in it: what is made meanwhile inherits it.
                at.here().set_project(project, project != 0)?;
                below.push(enroll_entries(at.here(), project)?);
            }
        }
    }
    Ok(())
}

/// Puts the files in the directory `dir` into `project`, and returns the names of the
/// directories in it.
fn enroll_entries(dir: &Dir, project: u32) -> Result<Vec<CString>> {
    let mut dirs = Vec::new();
    dir.each(|name, kind| match kind {
        Kind::Dir => {
            dirs.push(name.to_owned());
            Ok(())
        }
        Kind::Other => match enroll_file(dir, name, project) {
            Err(error) if is_not_ours(&error) => Ok(()),
            enrolled => enrolled,
        },
    })?;
    Ok(dirs)
}

/// Returns whether something went or became a link in the meantime, or another file
/// system is mounted there.
fn is_not_ours(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV))
}

fn enroll_file(dir: &Dir, name: &CStr, project: u32) -> Result<()> {
    match dir.open_regular(name)? {
        Some(file) => {
            quota::set_project(file.as_fd(), project, false).map_err(|error| failed(dir, error))
        }
        None => Ok(()),
    }
}

impl Dir {
    pub(super) fn set_project(&self, project: u32, inherit: bool) -> Result<()> {
        self.step("fssetxattr", "")?;
        quota::set_project(self.as_fd(), project, inherit).map_err(|error| failed(self, error))
    }

    fn limit_project(&self, project: u32, limit: Amount) -> Result<()> {
        self.step("quotactl", "")?;
        quota::set_limit(self.as_fd(), project, limit).map_err(|error| failed(self, error))
    }

    fn limit_group(&self, id: u64, bytes: Option<u64>) -> Result<()> {
        self.step("BTRFS_IOC_QGROUP_LIMIT", "")?;
        qgroup::set_limit(self.as_fd(), id, bytes).map_err(|error| failed(self, error))
    }

    fn remove_group(&self, id: u64) -> Result<()> {
        qgroup::remove_group(self.as_fd(), id).map_err(|error| failed(self, error))
    }
}

pub(super) fn failed(dir: &Dir, source: io::Error) -> Error {
    Error { op: "quota", path: dir.path().to_path_buf(), source }
}
