//! Limits of volumes: each data directory is a project of its own, where the file
//! system has project quota, so that the kernel counts what is in it and refuses
//! what is too much.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;

use super::descent::Descent;
use super::dir::{Dir, Kind, Mounts};
use super::error::{Error, Result};
use super::layout::{DATA, FileName};
use super::root::Root;
use crate::sys::quota::{self, Amount};
use crate::sys::random;

/// The projects that are ours: far above those that people number by hand.
const PROJECTS: Range<u32> = 1 << 30..1 << 31;

/// How often a project is drawn before it is given up: the range is all but empty.
const DRAWS: usize = 16;

/// Why no limit can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLimits {
    /// The file system does not enforce limits of projects.
    #[error(
        "the file system of {0} does not enforce limits: it must be xfs or ext4, mounted with \
         prjquota, on Linux 5.14 or newer; or leave size and inodes out"
    )]
    FileSystem(PathBuf),
    /// The driver may not set them.
    #[error(
        "the driver may not set limits: give it CAP_SYS_ADMIN, as root on the host has it; or \
         leave size and inodes out"
    )]
    Capability,
    /// The root is in a project already.
    #[error(
        "{0} is itself in project {1}: take it out with 'chattr -R -p 0', for the volumes need \
         projects of their own; or leave size and inodes out"
    )]
    Project(PathBuf, u32),
}

impl Root {
    /// Returns whether volumes of this root can be limited, by looking at the file
    /// system as it is now.
    ///
    /// # Errors
    /// They cannot, and why.
    pub fn can_limit(&self) -> std::result::Result<(), NoLimits> {
        let fd = self.volumes.as_fd();
        if !quota::is_enforced(fd) {
            return Err(NoLimits::FileSystem(self.path.clone()));
        }
        if quota::account(fd, PROJECTS.start).is_err() {
            return Err(NoLimits::Capability);
        }
        match quota::project(self.staging.as_fd()) {
            Ok(project) if project != 0 => Err(NoLimits::Project(self.path.clone(), project)),
            _ => Ok(()),
        }
    }

    /// Makes sure that the volume `name` may hold no more than `limit`, as its record
    /// says: the kernel may have lost it, or the volume may have come from elsewhere.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn enforce(&self, name: &FileName, limit: Amount) -> Result<()> {
        let data = self.volumes.open_dir(name)?.open_dir(&data_name())?;
        self.limit(&data, limit)
    }

    /// Returns what the volume `name` holds, where the kernel counts it. It costs no
    /// walk.
    pub fn usage(&self, name: &FileName) -> Option<Amount> {
        let data = self.volumes.open_dir(name).ok()?.open_dir(&data_name()).ok()?;
        let project = data.project()?;
        quota::account(data.as_fd(), project).ok().map(|account| account.used)
    }

    /// Puts the new, empty data directory `data` into a project of its own, where
    /// that can be had: it costs nothing, and a limit can then be set at any time.
    pub(super) fn enroll(&self, data: &Dir) -> Result<Option<u32>> {
        if self.can_limit().is_err() {
            return Ok(None);
        }
        let project = self.free_project()?;
        data.set_project(project)?;
        Ok(Some(project))
    }

    /// Limits what the tree at `data` may hold, and puts it into a project where it
    /// is in none.
    pub(super) fn limit(&self, data: &Dir, limit: Amount) -> Result<()> {
        let project = match data.project() {
            Some(project) => project,
            None if limit == Amount::default() => return Ok(()),
            None => {
                let project = self.free_project()?;
                enroll_tree(data, project)?;
                project
            }
        };
        let now = quota::account(data.as_fd(), project).map_err(|error| data.failed(error))?;
        if now.limit == rounded(limit) {
            return Ok(());
        }
        data.set_limit(project, limit)
    }

    /// Refuses what was put into the new tree at `data`, where that is more than `limit`:
    /// ext4 does not hold up a driver that has `CAP_SYS_RESOURCE`, as root has it.
    pub(super) fn refuse_beyond(&self, data: &Dir, limit: Amount) -> Result<()> {
        let Some(project) = data.project() else { return Ok(()) };
        let account = quota::account(data.as_fd(), project).map_err(|error| data.failed(error))?;
        let (used, limit) = (account.used, rounded(limit));
        let beyond = |used, limit| limit != 0 && used > limit;
        if beyond(used.bytes, limit.bytes) || beyond(used.inodes, limit.inodes) {
            return Err(data.failed(Errno::EDQUOT.into()));
        }
        Ok(())
    }

    /// Returns the project of the volume that lies in `staging/` as `tree`.
    pub(super) fn project_of(&self, tree: &FileName) -> Option<u32> {
        self.staging.open_dir(tree).ok()?.open_dir(&data_name()).ok()?.project()
    }

    /// Takes the limit of a project away whose last file is gone.
    pub(super) fn clear_limit(&self, project: u32) -> Result<()> {
        match quota::account(self.staging.as_fd(), project) {
            Ok(account) if account.limit == Amount::default() => Ok(()),
            _ => self.staging.set_limit(project, Amount::default()),
        }
    }

    /// Draws a project that nothing belongs to and that has no limit.
    fn free_project(&self) -> Result<u32> {
        let failed = |source| self.staging.failed(source);
        for _ in 0..DRAWS {
            let project = PROJECTS.start + random::number().map_err(failed)? % PROJECTS.start;
            let account = quota::account(self.staging.as_fd(), project).map_err(failed)?;
            if account == quota::Account::default() {
                return Ok(project);
            }
        }
        Err(failed(std::io::Error::other("no project is free")))
    }
}

impl Dir {
    /// Returns the project of ours that this directory belongs to.
    fn project(&self) -> Option<u32> {
        quota::project(self.as_fd()).ok().filter(|project| PROJECTS.contains(project))
    }

    fn set_project(&self, project: u32) -> Result<()> {
        self.step("fssetxattr", "")?;
        quota::set_project(self.as_fd(), project, true).map_err(|error| self.failed(error))
    }

    fn set_limit(&self, project: u32, limit: Amount) -> Result<()> {
        self.step("quotactl", "")?;
        quota::set_limit(self.as_fd(), project, limit).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error { op: "quotactl", path: self.path().to_path_buf(), source }
    }
}

/// Puts the directory `top` and all below it into `project`. What is no directory
/// and no regular file has no bytes to count, and stays.
fn enroll_tree(top: &Dir, project: u32) -> Result<()> {
    let mut at = Descent::new(top.try_clone()?)?;
    let mut below = vec![enroll_dir(at.here(), project)?];
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
                below.push(enroll_dir(at.here(), project)?);
            }
        }
    }
    Ok(())
}

/// Puts the directory `dir` and the files in it into `project`, and returns the names of
/// the directories in it.
fn enroll_dir(dir: &Dir, project: u32) -> Result<Vec<CString>> {
    dir.set_project(project)?;
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

/// Returns whether something went in the meantime, or another file system is mounted
/// there.
fn is_not_ours(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::EXDEV))
}

fn enroll_file(dir: &Dir, name: &CStr, project: u32) -> Result<()> {
    match dir.open_regular(name)? {
        Some(file) => {
            quota::set_project(file.as_fd(), project, false).map_err(|error| dir.failed(error))
        }
        None => Ok(()),
    }
}

/// The kernel keeps limits in whole KiB.
fn rounded(limit: Amount) -> Amount {
    Amount { bytes: limit.bytes.next_multiple_of(1024), ..limit }
}

fn data_name() -> FileName {
    FileName::new(DATA).expect("it is one component")
}
