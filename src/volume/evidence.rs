//! Who really has a volume mounted, from the kernel's own tables.

use std::path::Path;

use crate::store::Root;
use crate::sys::mountinfo::{self, Use};

/// What is mounted from below a root, at one moment.
#[derive(Debug)]
pub struct Evidence(Vec<Use>);

impl Evidence {
    /// Looks now. Where `/proc` shows nothing, nothing is seen: the engine's own
    /// references and the trash do the rest.
    pub fn gather(root: &Root) -> Self {
        let uses = root.location().and_then(|location| mountinfo::uses(&location));
        Self(uses.unwrap_or_default())
    }

    /// Returns a process that has the directory `data`, or one below it, mounted;
    /// `data` is relative to the root.
    pub fn user(&self, data: &Path) -> Option<u32> {
        self.0.iter().find(|held| held.path.starts_with(data)).map(|held| held.pid)
    }
}
