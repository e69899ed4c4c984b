//! Why an operation on a volume failed: one line for the person who asked, with
//! the volume, the cause and what to do.

use nix::errno::Errno;

use crate::store;

use super::name::{MAX_LENGTH, VolumeName};
use super::options::BadOption;

/// Why an operation on a volume failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such volume: this is known, not guessed.
    #[error("no such volume: {0}")]
    NoSuchVolume(String),
    /// No volume may be called that.
    #[error(
        "volume name {0:?} is not allowed: use letters, digits, '_', '.' and '-', beginning with \
         a letter or digit, at most {MAX_LENGTH} characters"
    )]
    BadName(String),
    /// The options of a Create cannot be used.
    #[error("volume {0}: {1}")]
    BadOption(String, BadOption),
    /// A volume of that name has other options.
    #[error(
        "volume {0} exists with other options: {1}; ask for the same, or remove the volume first"
    )]
    OptionsDiffer(VolumeName, String),
    /// Somebody uses the volume. Terraform's provider looks for these words.
    #[error("volume {0}: volume is in use by {1}; stop its containers first")]
    InUse(VolumeName, String),
    /// The volume is there and damaged.
    #[error("volume {0} cannot be used: {1}; mend it or move it away, {2} is left as it is")]
    Damaged(VolumeName, String, String),
    /// The root is not served.
    #[error("dirvol is unavailable: {0}")]
    Unavailable(String),
    /// The disk refuses.
    #[error("volume {0}: {1}; {cure}", cure = cure(.1))]
    Disk(VolumeName, store::Error),
    /// The disk refuses something that is not about one volume.
    #[error("{0}; {cure}", cure = cure(.0))]
    Root(store::Error),
    /// A fixture's volume fails as it was told to.
    #[error("invalid argument")]
    Fixture,
}

/// What a person can do about an error of the disk.
fn cure(error: &store::Error) -> &'static str {
    match error.errno() {
        Some(Errno::ENOSPC) => "free space or inodes on that disk",
        Some(Errno::EDQUOT) => "free space, or raise the quota, on that disk",
        Some(Errno::EROFS) => "mount that disk writable",
        Some(Errno::EPERM | Errno::EACCES) => "give the driver the right to: run it as root",
        _ => "see the kernel's log for that disk",
    }
}
