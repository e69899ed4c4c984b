//! Limits of volumes: each data directory has an account of its own with the kernel,
//! where the file system keeps accounts, so that the kernel counts what is in it and
//! refuses what is too much.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statfs::{EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, fstatfs};

use super::account::{Account, PROJECTS, Usage, enroll_tree, failed};
use super::dir::Dir;
use super::error::{Error, Result};
use super::layout::FileName;
use super::root::Root;
use super::volumes::data_name;
use crate::sys::quota::{self, Amount};
use crate::sys::random;
use crate::sys::{btrfs, qgroup};

/// How often a project is drawn before it is given up: the range is all but empty.
const DRAWS: usize = 16;

/// Why no limit can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLimits {
    /// The file system knows no limits.
    #[error(
        "the file system of {0} does not enforce limits: xfs, ext4 and btrfs do; leave size and \
         inodes out"
    )]
    FileSystem(PathBuf),
    /// ext4, without project quota.
    #[error(
        "the file system of {0} does not enforce limits: it is ext4, which must be mounted with \
         prjquota, on Linux 5.14 or newer ('tune2fs -O quota,project -Q prjquota' makes it fit \
         for that while it is unmounted); or leave size and inodes out"
    )]
    Ext4(PathBuf),
    /// xfs, without project quota.
    #[error(
        "the file system of {0} does not enforce limits: it is xfs, which must be unmounted and \
         mounted with prjquota, on Linux 5.14 or newer; or leave size and inodes out"
    )]
    Xfs(PathBuf),
    /// btrfs, without quotas.
    #[error(
        "the file system of {0} does not enforce limits: it is btrfs without quotas, which \
         'btrfs quota enable {0}' turns on; or leave size out"
    )]
    Btrfs(PathBuf),
    /// btrfs counts no files.
    #[error(
        "the file system of {0} does not enforce a limit of inodes: it is btrfs, whose quota \
         groups count bytes alone; leave inodes out, or set it to 0"
    )]
    Inodes(PathBuf),
    /// The data directory of a volume on btrfs is no subvolume.
    #[error(
        "its data directory is a plain one, and btrfs limits subvolumes alone: 'dirvol clone' \
         makes a volume of it that can be limited; or leave size out"
    )]
    Plain,
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
    /// Returns whether a new volume of this root can have this `limit`, by looking at
    /// the file system as it is now.
    ///
    /// # Errors
    /// It cannot, and why.
    pub fn can_limit(&self, limit: Amount) -> std::result::Result<(), NoLimits> {
        can_limit(&self.path, &self.staging, limit)
    }

    /// Returns whether a data directory must be a subvolume to have a limit.
    pub fn limits_subvolumes(&self) -> bool {
        btrfs::is_btrfs(self.volumes.as_fd())
    }

    /// Returns whether the volume `name`, which is there, can have this `limit`.
    ///
    /// # Errors
    /// It cannot, and why.
    pub fn can_limit_volume(
        &self,
        name: &FileName,
        limit: Amount,
    ) -> std::result::Result<(), NoLimits> {
        self.can_limit(limit)?;
        let plain = btrfs::is_btrfs(self.volumes.as_fd())
            && self.open_data(name).is_ok_and(|data| Account::of(&data).is_none());
        if plain { Err(NoLimits::Plain) } else { Ok(()) }
    }

    /// Makes sure that the volume `name` may hold no more than `limit`, as its record
    /// says: the kernel may have lost it, or the volume may have come from elsewhere.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn enforce(&self, name: &FileName, limit: Amount) -> Result<()> {
        self.limit(&self.open_data(name)?, limit)
    }

    /// Returns what the volume `name` holds, where the kernel counts it. It costs no
    /// walk.
    pub fn usage(&self, name: &FileName) -> Option<Usage> {
        let data = self.open_data(name).ok()?;
        Account::of(&data)?.usage(&data)
    }

    /// Sees to it that the new, empty data directory `data` has an account, where that
    /// can be had: it costs nothing, and a limit can then be set at any time. On btrfs
    /// a subvolume has one from the start, and nothing else can be given one.
    pub(super) fn enroll(&self, data: &Dir) -> Result<()> {
        if btrfs::is_btrfs(data.as_fd()) || self.can_limit(Amount::default()).is_err() {
            return Ok(());
        }
        data.set_project(self.free_project()?, true)
    }

    /// Limits what the tree at `data` may hold, and puts it into a project where it
    /// has no account.
    pub(super) fn limit(&self, data: &Dir, limit: Amount) -> Result<()> {
        let set = |account: Account| {
            let path = || data.path().to_path_buf();
            account.limit(&self.staging, limit).map_err(|error| Error { path: path(), ..error })
        };
        match Account::of(data) {
            Some(account) => set(account),
            None if limit == Amount::default() => Ok(()),
            None if btrfs::is_btrfs(data.as_fd()) => {
                Err(failed(data, io::Error::other(NoLimits::Plain)))
            }
            None => {
                let project = self.free_project()?;
                enroll_tree(data, project)?;
                set(Account::Project(project))
            }
        }
    }

    /// Refuses what was put into the new tree at `data`, where that is more than `limit`:
    /// ext4 does not hold up a driver that has `CAP_SYS_RESOURCE`, as root has it, and
    /// nothing holds up a snapshot.
    pub(super) fn refuse_beyond(&self, data: &Dir, limit: Amount) -> Result<()> {
        let Some(used) = Account::of(data).and_then(|account| account.usage(data)) else {
            return Ok(());
        };
        let beyond = |used, limit| limit != 0 && used > limit;
        // A limit is kept in whole KiB.
        let bytes = limit.bytes.next_multiple_of(1024);
        if beyond(used.bytes, bytes) || used.inodes.is_some_and(|used| beyond(used, limit.inodes)) {
            return Err(failed(data, Errno::EDQUOT.into()));
        }
        Ok(())
    }

    /// Returns the project of the volume that lies in `staging/` as `tree`. Of
    /// subvolumes, deleting them tells.
    pub(super) fn project_of(&self, tree: &FileName) -> Option<Account> {
        let data = self.staging.open_dir(tree).ok()?.open_dir(&data_name()).ok()?;
        Account::of(&data).filter(|account| matches!(account, Account::Project(_)))
    }

    /// Closes an account whose last file is gone, now or when that can be done.
    pub(super) fn close(&self, account: Account) {
        self.doomed().accounts.push(account);
    }

    /// Closes the accounts that can be closed now, and returns what failed.
    pub(super) fn close_accounts(&self) -> Vec<Error> {
        let mut failed = Vec::new();
        let mut accounts = std::mem::take(&mut self.doomed().accounts);
        accounts.retain(|account| match account.close(&self.staging) {
            Ok(closed) => !closed,
            Err(error) => {
                failed.push(error);
                false
            }
        });
        self.doomed().accounts.extend(accounts);
        failed
    }

    /// Draws a project that nothing belongs to and that has no limit.
    pub(super) fn free_project(&self) -> Result<u32> {
        let failed = |source| failed(&self.staging, source);
        for _ in 0..DRAWS {
            let project = PROJECTS.start + random::number().map_err(failed)? % PROJECTS.start;
            let account = quota::account(self.staging.as_fd(), project).map_err(failed)?;
            if account == quota::Account::default() {
                return Ok(project);
            }
        }
        Err(failed(io::Error::other("no project is free")))
    }

    pub(super) fn open_data(&self, name: &FileName) -> Result<Dir> {
        self.volumes.open_dir(name)?.open_dir(&data_name())
    }
}

/// Returns whether what is made in the directory `parent` of the root at `path` can have
/// this `limit`.
pub(super) fn can_limit(
    path: &Path,
    parent: &Dir,
    limit: Amount,
) -> std::result::Result<(), NoLimits> {
    let fd = parent.as_fd();
    let path = || path.to_path_buf();
    if btrfs::is_btrfs(fd) {
        return match qgroup::has_quotas(fd) {
            _ if limit.inodes != 0 => Err(NoLimits::Inodes(path())),
            Ok(true) => Ok(()),
            Ok(false) => Err(NoLimits::Btrfs(path())),
            Err(_) => Err(NoLimits::Capability),
        };
    }
    if !quota::is_enforced(fd) {
        return Err(match fstatfs(fd).map(|found| found.filesystem_type()) {
            Ok(EXT4_SUPER_MAGIC) => NoLimits::Ext4(path()),
            Ok(XFS_SUPER_MAGIC) => NoLimits::Xfs(path()),
            _ => NoLimits::FileSystem(path()),
        });
    }
    if quota::account(fd, PROJECTS.start).is_err() {
        return Err(NoLimits::Capability);
    }
    match quota::project(fd) {
        Ok(project) if project != 0 => Err(NoLimits::Project(path(), project)),
        _ => Ok(()),
    }
}
