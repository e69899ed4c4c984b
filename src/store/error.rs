//! What the disk refuses.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// A failed operation of the disk: what was tried, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} {path}: {source}")]
pub struct Error {
    /// The operation, in the kernel's words.
    pub op: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl Error {
    /// Returns the error number that the kernel gave, if it was the kernel.
    pub fn errno(&self) -> Option<Errno> {
        self.source.raw_os_error().map(Errno::from_raw)
    }
}

/// The result of an operation of the disk.
pub type Result<T> = std::result::Result<T, Error>;
