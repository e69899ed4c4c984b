//! How much space the file system of a directory has.

use std::os::fd::AsFd;

use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;

use super::dir::{Dir, error};
use super::error::Result;

/// What statfs(2) says of ramfs; linux/magic.h.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The bytes that may still be written by someone who is not root.
    pub free: u64,
    /// All the bytes there are.
    pub total: u64,
    /// The files that may still be made.
    pub inodes_free: u64,
    /// All the files there may be; zero where that has no limit.
    pub inodes: u64,
}

impl Dir {
    /// Returns what the file system is called that the directory lies on, if its files
    /// do not outlive the machine's next boot, or a container.
    pub(super) fn fleeting(&self) -> Result<Option<&'static str>> {
        let stat = fstatfs(self).map_err(|errno| error("fstatfs", self.path(), errno))?;
        Ok(match stat.filesystem_type() {
            TMPFS_MAGIC => Some("tmpfs"),
            RAMFS_MAGIC => Some("ramfs"),
            OVERLAYFS_SUPER_MAGIC => Some("overlay"),
            _ => None,
        })
    }

    /// Returns the space of the file system that the directory lies on.
    pub(super) fn space(&self) -> Result<Space> {
        let stat = fstatvfs(self.as_fd()).map_err(|errno| error("fstatvfs", self.path(), errno))?;
        let unit = stat.fragment_size();
        Ok(Space {
            free: stat.blocks_available().saturating_mul(unit),
            total: stat.blocks().saturating_mul(unit),
            inodes_free: stat.files_available(),
            inodes: stat.files(),
        })
    }
}
