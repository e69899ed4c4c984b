//! Why an operation on a volume failed: one line for the person who asked, with
//! the volume, the cause and what to do.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::store::{self, COPY, FileName, PACK, WALK};
use crate::sys::mountinfo::Use;

use super::clone::COPIES;
use super::locks::LIMIT;
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
    /// The driver's user cannot give a volume to the owner or group that is asked for.
    #[error(
        "volume {name}: option {option:?} is \"{asked}\": this driver runs as {own}, and may not \
         give a volume to another; leave it out, or run the driver as root"
    )]
    NotToGive {
        /// The volume.
        name: VolumeName,
        /// The option.
        option: &'static str,
        /// What it asks for.
        asked: u32,
        /// As whom the driver runs.
        own: String,
    },
    /// A limit is asked for and none can be kept.
    #[error("volume {0}: {1}")]
    NoLimits(VolumeName, store::NoLimits),
    /// A volume of that name has other options.
    #[error(
        "volume {0} exists with other options: {1}; ask for the same, or {cure}",
        cure = if *.2 { format!("change it with 'dirvol set {}'", .0) } else { "give another name".into() }
    )]
    /// The last says whether `dirvol set` can make it what is asked for.
    OptionsDiffer(VolumeName, String, bool),
    /// The volume that is to be copied is not there.
    #[error("volume {0}: there is no volume {1} to copy")]
    NoSource(VolumeName, VolumeName),
    /// A volume is to be a copy of itself.
    #[error("volume {0} cannot be a copy of itself: name another volume")]
    CopyOfItself(VolumeName),
    /// The volume that is to be copied is a directory outside the root.
    #[error(
        "volume {0} cannot be a copy of {1}, which is the directory {path}: fill it with 'dirvol \
         import {0} {path}'", path = .2.display()
    )]
    CopyOfPlace(VolumeName, VolumeName, PathBuf),
    /// Somebody uses the volume that is to be copied.
    #[error(
        "volume {name}: volume {from} is in use by {by}; stop its containers first, or give \
         live=true ('dirvol clone --live') if a copy of files that are being written is of use"
    )]
    SourceInUse {
        /// The volume that is not made.
        name: VolumeName,
        /// The volume that was to be copied.
        from: VolumeName,
        /// Who uses it.
        by: String,
    },
    /// Another operation on the volume goes on for long.
    #[error(
        "volume {0}: another operation on it has not ended after {limit} s, such as an import; try \
         again when it has", limit = LIMIT.as_secs()
    )]
    Occupied(VolumeName),
    /// As many volumes are being copied as may be.
    #[error("volume {0}: {COPIES} others are being copied; try again when one of them is done")]
    TooManyCopies(VolumeName),
    /// What the volume would begin with is more than it may hold.
    #[error("volume {0} may not hold as much as volume {1} does; give it a larger size or inodes")]
    MoreThanLimit(VolumeName, VolumeName),
    /// Somebody uses the volume. Terraform's provider looks for these words.
    #[error("volume {0}: volume is in use by {1}; stop its containers first")]
    InUse(VolumeName, String),
    /// Another node uses the volume. Terraform's provider looks for these words.
    #[error(
        "volume {0}: volume is in use by node {1}; {cure}",
        cure = match .2 {
            true => "stop its containers there first".to_owned(),
            false => format!(
                "that node is not alive: start it; or, if it is off for good, run 'dirvol release \
                 --node {}' first", .1
            ),
        }
    )]
    /// The last says whether that node is alive.
    InUseByNode(VolumeName, FileName, bool),
    /// A node cannot be released.
    #[error("node {0}: {1}")]
    NotReleased(String, String),
    /// Other nodes cannot be asked what they need.
    #[error(
        "this root is shared, and what other nodes need is not known here: remove volumes by name, \
         with 'docker volume rm' or 'dirvol rm'"
    )]
    OnlyThisNode,
    /// The volume is not to be removed.
    #[error(
        "volume {0} is protected; if it is to be removed, run 'dirvol set {0} protect=false' first"
    )]
    Protected(VolumeName),
    /// The trash has no such entry, or more than one could be meant.
    #[error("no such entry in the trash: {0}; {1}")]
    NoSuchEntry(String, String),
    /// A volume stands where one from the trash is to be restored.
    #[error("volume {0} exists: restore the entry with --as under another name")]
    Exists(VolumeName),
    /// A volume is to be made, and there is one of that name.
    #[error("volume {0} exists and is left as it is: give another name, or remove it first")]
    Taken(VolumeName),
    /// The archive that a volume is to be made of cannot be used.
    #[error("volume {0} was not made: {1}")]
    Archive(VolumeName, String),
    /// A volume that is in use would not be read as it was at one moment.
    #[error(
        "volume {0}: volume is in use by {1}; stop its containers first, or take with --live what \
         may be torn"
    )]
    Torn(VolumeName, String),
    /// It cannot be told which volumes nobody needs.
    #[error(
        "this driver does not see the host's processes, and no engine was asked: run the prune \
         where Docker's socket is"
    )]
    Blind,
    /// The volume is there and damaged.
    #[error("volume {0} cannot be used: {1}; mend it or move it away, {2} is left as it is")]
    Damaged(VolumeName, String, String),
    /// The volume is a directory elsewhere, and that cannot be used.
    #[error(
        "volume {0} cannot be used: {1}; bring it back, or forget the volume with 'dirvol rm {0}', \
         which leaves the directory as it is"
    )]
    NoPlace(VolumeName, String),
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

impl Error {
    /// Says that the volume `name` is in use by `user`.
    pub(super) fn in_use(name: &VolumeName, user: &Use) -> Self {
        let (pid, at) = (user.pid, user.mountpoint.display());
        Self::InUse(name.clone(), format!("process {pid}, which has it mounted at {at}"))
    }
}

/// What a person can do about an error of the disk.
fn cure(error: &store::Error) -> &'static str {
    match error.errno() {
        Some(Errno::ENOSPC) => "free space or inodes on that disk",
        Some(Errno::EDQUOT) => {
            "free space in the volume, or raise its limit ('dirvol set') or the quota of that disk"
        }
        Some(Errno::EROFS) => "mount that disk writable",
        Some(Errno::EPERM | Errno::EACCES) => "give the driver the right to: run it as root",
        None if [COPY, PACK, WALK].contains(&error.op) => "ask again",
        _ => "see the kernel's log for that disk",
    }
}
