//! The words of `/Dirvol.Adopt`.

use serde::{Deserialize, Serialize};

use super::{Options, is_none};

/// The body of `Adopt`: one of its three phases.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Adopt {
    /// What is to be done.
    pub phase: Phase,
    /// The volume.
    pub name: String,
    /// Its options, for `prepare`.
    #[serde(default, skip_serializing_if = "Options::is_empty")]
    pub opts: Options,
    /// What `prepare` answered, for the others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The number of the directory's inode, for `commit`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub inode: u64,
}

/// What an `Adopt` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Makes a place that a directory can be moved to.
    Prepare,
    /// Makes a volume of what was moved there.
    Commit,
    /// Takes the place away, unless there is something in it.
    Cancel,
}

/// The answer of `Adopt`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Adopted {
    /// The volume.
    pub name: String,
    /// What containers see, once it is the volume.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mountpoint: String,
    /// For `commit` and `cancel`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The directory in which the one that is moved is to be called `data`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The state directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state_dir: String,
    /// Which file system and which inode `path` is.
    #[serde(default, skip_serializing_if = "is_none")]
    pub device: u64,
    /// As above.
    #[serde(default, skip_serializing_if = "is_none")]
    pub inode: u64,
    /// Whether something is at `path`, of a `cancel` that left it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_data: bool,
}
