//! The words of `/Dirvol.<Verb>`, the calls that are not Docker's: what the
//! command line writes and the driver reads, and back. `docs/protocol.md` is
//! their contract. Times are RFC 3339 in UTC; options are as in a Create.

mod adopt;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use adopt::{Adopt, Adopted, Phase};

/// The header of an `Import` that has what other calls have in their body.
pub const REQUEST: &str = "dirvol-request";

/// The trailer of an `Export` that says what was left out, if anything was.
pub const LEFT_OUT: &str = "dirvol-left-out";

/// Options and their values.
pub type Options = BTreeMap<String, String>;

/// The body of `List` and `TrashList`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Nothing {}

/// The body of `Clone`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Clone {
    /// The volume that is made.
    pub name: String,
    /// The volume that it is to be a copy of.
    pub from: String,
    /// Other options of it.
    #[serde(default, skip_serializing_if = "Options::is_empty")]
    pub opts: Options,
    /// Whether the source may be in use.
    #[serde(default)]
    pub live: bool,
}

/// The body of `Holders`, `Progress`, `Remove` and `Usage`; and of `Release`, for a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Named {
    /// The volume, or the node.
    pub name: String,
}

/// The body of `Set`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Set {
    /// The volume.
    pub name: String,
    /// What to set; the other options stay.
    pub opts: Options,
}

/// The body of `Prune`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Prune {
    /// For how long nobody must have used a volume: a duration.
    pub unused_for: String,
    /// Whether nothing is to be removed.
    #[serde(default)]
    pub dry_run: bool,
    /// The volumes that containers need; absent where no engine was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<Vec<String>>,
}

/// The header `Dirvol-Request` of `Import`, whose body is the archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Import {
    /// The volume, which must be new.
    pub name: String,
    /// Its options.
    #[serde(default)]
    pub opts: Options,
}

/// The body of `Export`, which is answered with the archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Export {
    /// The volume.
    pub name: String,
    /// Whether it may be in use.
    #[serde(default)]
    pub live: bool,
}

/// The answer of `Import`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Imported {
    /// The volume.
    pub name: String,
    /// What containers see.
    pub mountpoint: String,
    /// How many files of all kinds the archive had.
    pub files: u64,
    /// How many bytes it had in files.
    pub bytes: u64,
    /// What of it could not be kept, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// The body of `TrashRestore`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TrashRestore {
    /// The entry; or the name of its volume, if there is one entry of it.
    pub entry: String,
    /// What to call the volume; absent for the name that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The body of `TrashPurge`: one of the three.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub struct TrashPurge {
    /// This entry; or that of the volume of this name, if there is one of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Those whose time is up.
    pub expired: bool,
    /// All.
    pub all: bool,
}

/// The answer of `List`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volumes {
    /// All volumes, in the order of their names.
    pub volumes: Vec<Volume>,
}

/// A volume at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What containers see.
    pub mountpoint: String,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When it was mounted or unmounted last, or found to be in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// In how many places it is mounted; where none is seen, how many mount IDs
    /// were mounted and not unmounted.
    pub holders: usize,
    /// `ok`, or what is wrong with it.
    pub health: String,
    /// The options in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    /// What it holds, in bytes, where the kernel counts that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// How many files and directories it holds, where the kernel counts that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_inodes: Option<u64>,
}

/// The answer of `Clone`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cloned {
    /// The volume.
    pub name: String,
    /// The volume that it is a copy of.
    pub from: String,
    /// `snapshot`, `reflink` or `copy`; absent where the volume was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How many files and directories were copied, if they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// How many bytes they hold, if they were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// What was not copied, and why.
    pub skipped: Vec<String>,
    /// How much more was not.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_skipped: u64,
}

/// The answer of `Progress`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Progress {
    /// Whether a copy is being made that becomes the volume.
    pub copying: bool,
    /// How many files and directories were copied.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How many bytes the source holds, where the kernel counts that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_bytes: Option<u64>,
}

/// The answer of `Holders`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Holders {
    /// Who has it mounted, as the kernel sees it.
    pub mounts: Vec<Mount>,
    /// Who said to mount it, and has not unmounted it.
    #[serde(rename = "MountIDs")]
    pub mount_ids: Vec<MountId>,
    /// Which nodes have it, where several share the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// One mount of a volume, or of a directory in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// A process that sees it.
    pub pid: u32,
    /// The container that it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Where that process sees it.
    pub mountpoint: String,
    /// When that process was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// One mount ID of an engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountId {
    /// The ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// How often it was mounted more than it was unmounted.
    pub count: u32,
    /// When it was mounted first.
    pub since: String,
}

/// The answer of `Usage`: each file counts once, and the volume's own directory too.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Usage {
    /// Bytes that are allocated, as `du` counts them.
    pub bytes: u64,
    /// How long its regular files are together, in bytes, holes included.
    pub apparent: u64,
    /// How many files, directories and others there are.
    pub inodes: u64,
}

/// The answer of `Remove`, and of a `Prune` for each volume that it removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Removed {
    /// The volume.
    pub name: String,
    /// When it was used last; for a `Prune`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
    /// Its entry in the trash; absent where nothing was kept, or nothing done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// For how long the entry is kept: a duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retain: Option<String>,
    /// The directory that the volume was, which stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether space is low, so that the entry may have to give way at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub space_is_low: bool,
}

/// The answer of `Set`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InForce {
    /// All options in force.
    pub options: Options,
}

/// The answer of `Prune`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pruned {
    /// What was removed, or would be.
    pub removed: Vec<Removed>,
    /// What was not used for long and stays all the same.
    pub kept: Vec<Kept>,
}

/// What stays, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Kept {
    /// The volume, or the entry of the trash.
    pub name: String,
    /// Why it stays.
    pub why: String,
}

/// The answer of `TrashList`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Trash {
    /// The entries, those removed first in front.
    pub entries: Vec<Entry>,
}

/// A removed volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// Its name in the trash.
    pub entry: String,
    /// The name that the volume had.
    pub name: String,
    /// When it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<String>,
    /// From when on it may be purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// `ok`, or why its record cannot be used.
    pub health: String,
    /// The options that were stated at its Create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// The answer of `TrashRestore`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Restored {
    /// The volume.
    pub name: String,
    /// What containers see.
    pub mountpoint: String,
    /// `ok`, or what is wrong with it.
    pub health: String,
    /// The options that were stated at its Create: those that engines knew.
    pub options: Options,
}

/// The answer of `TrashPurge`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Purged {
    /// The entries that are gone.
    pub purged: Vec<String>,
    /// The entries that stay.
    pub kept: Vec<Kept>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}
