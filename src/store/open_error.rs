//! Why a root is not served: the sentences that a person reads.

use std::path::PathBuf;

use super::error::Error;
use super::layout::{FileName, MARKER, VOLUMES};
use super::marker::Scope;

/// Why a root is not served. Each message names the cause and the cure.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// There is nothing at the path.
    #[error("root {0} does not exist: mount its disk, or make it with 'dirvol init {0}'")]
    Missing(PathBuf),
    /// There is something else at the path.
    #[error("root {0} is not a directory: give another --root")]
    NotADirectory(PathBuf),
    /// The directory is not a root of ours.
    #[error("root {0} has no {MARKER}: make it a root with 'dirvol init {0}'")]
    Unmarked(PathBuf),
    /// The directory is not a root of ours, and holds something.
    #[error(
        "root {0} has no {MARKER} and is not empty: give an empty directory, or mount the disk \
         that belongs here"
    )]
    Occupied(PathBuf),
    /// The directory is not a root of ours, and one of ours was there before.
    #[error(
        "root {path} has no {MARKER}, and root {known} was served last: mount its disk; or, to \
         begin anew, run 'dirvol init {path}' and accept the id it prints with DIRVOL_ACCEPT_ROOT"
    )]
    Vanished {
        /// Where it was.
        path: PathBuf,
        /// Which it was.
        known: String,
    },
    /// The directory is another root.
    #[error(
        "root {path} is {found}, and {known} was served last: mount the disk of that one, or \
         accept this one with DIRVOL_ACCEPT_ROOT={found}"
    )]
    Other {
        /// Where it is.
        path: PathBuf,
        /// Which is there.
        found: String,
        /// Which was there.
        known: String,
    },
    /// The marker is there and says nothing that can be used.
    #[error("root {path}: {MARKER} cannot be used: {why}: restore it from a copy")]
    Marker {
        /// The root.
        path: PathBuf,
        /// What is wrong with the marker.
        why: String,
    },
    /// The root was made for another scope.
    #[error(
        "root {path} was made for scope {found}, and --scope {asked} is asked for: serve it with \
         --scope {found}, or give another --root",
        found = found.as_str(),
        asked = asked.as_str()
    )]
    Scope {
        /// The root.
        path: PathBuf,
        /// What it was made for.
        found: Scope,
        /// What the settings say.
        asked: Scope,
    },
    /// Another driver serves the root.
    #[error("root {0} is served by another dirvol: stop that one, or give another --root")]
    Busy(PathBuf),
    /// Another driver is this node.
    #[error(
        "root {0} is served by another dirvol as node {1}: give this one another --node, or wait \
         until the file server has given the lock of that one back"
    )]
    NodeBusy(PathBuf, FileName),
    /// This node's lock is lost.
    #[error(
        "root {0}: this node has lost its lock, as after a time without the file server: {1}; the \
         root is opened anew"
    )]
    NodeLost(PathBuf, String),
    /// Nodes cannot share the root.
    #[error("root {path} cannot be shared by nodes: {why}")]
    Unfit {
        /// The root.
        path: PathBuf,
        /// What it lacks, and what to do.
        why: String,
    },
    /// Another driver uses the state directory, for another root.
    #[error("state directory {0} is used by another dirvol: give this one another --state-dir")]
    StateBusy(PathBuf),
    /// The state directory that was held is not at its path any more.
    #[error(
        "state directory {0} is gone from its path: it is made anew, and the root opened again"
    )]
    StateMoved(PathBuf),
    /// The root has lost the directory of its volumes.
    #[error("root {0} has lost its directory '{VOLUMES}': restore it, or make it if it was empty")]
    NoVolumes(PathBuf),
    /// The root that was held is not at its path any more.
    #[error("root {0} is gone from its path: mount its disk, or move it back")]
    Moved(PathBuf),
    /// A change could not be made durable; what is on the disk is not known.
    #[error("root {path}: {why}; the root is opened anew: see the kernel's log for its disk")]
    Unsynced {
        /// The root.
        path: PathBuf,
        /// What failed.
        why: String,
    },
    /// The disk refuses.
    #[error("{0}: see the kernel's log, and who may use that path")]
    Disk(#[from] Error),
}

impl OpenError {
    /// Returns the message for those who have a managed plugin, and no more: what
    /// they can do, they do with Docker. An upgrade sets the plugin's root to the
    /// default without a word (moby `plugin/manager_linux.go`, upgradePlugin).
    pub fn in_plugin(&self) -> String {
        let again = "'docker plugin disable -f PLUGIN', 'docker plugin set PLUGIN";
        let enable = "'docker plugin enable PLUGIN'";
        match self {
            Self::Setting(why) => format!("{why}; set it right: {again} NAME=VALUE', {enable}"),
            Self::Vanished { known, .. } => format!(
                "the plugin's root is an unknown directory, and {known} was served last (an \
                 upgrade resets it): {again} root.source=DIR' with the directory it had, \
                 {enable}; or, to begin anew, make DIR a root with 'dirvol init', and set \
                 DIRVOL_ACCEPT_ROOT to the id it prints too"
            ),
            Self::Other { found, known, .. } => format!(
                "the plugin's root is {found}, and {known} was served last (an upgrade resets \
                 it): {again} root.source=DIR' with the directory it had, {enable}; or, if the \
                 change is wanted, set DIRVOL_ACCEPT_ROOT={found} instead"
            ),
            Self::Occupied(_) => format!(
                "the plugin's root is not empty and no root of dirvol: {again} \
                 root.source=DIR' with an empty directory or a root, {enable}"
            ),
            Self::Unmarked(_) => format!(
                "the plugin's root is no root of dirvol, and DIRVOL_INIT=never: {again} \
                 DIRVOL_INIT=auto' or another root.source, {enable}"
            ),
            Self::Busy(_) => "the plugin's root is served by another dirvol, a plugin or a \
                              service: stop that one, or give this one another root.source"
                .into(),
            other => other.to_string(),
        }
    }
}
