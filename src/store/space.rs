//! How much space the file system of a directory has.

use std::os::fd::AsFd;

use nix::sys::statvfs::fstatvfs;

use super::dir::{Dir, error};
use super::error::Result;

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
