//! Who really has a volume mounted, from the kernel's own tables.

use std::io;
use std::path::Path;

use crate::store::Root;
use crate::sys::mountinfo::{self, Use};

/// What is mounted from below a root, at one moment.
#[derive(Debug)]
pub struct Evidence(Vec<Use>);

impl Evidence {
    /// Looks now. Of processes that are not visible, as from inside a managed
    /// plugin, nothing is seen: the engine's own references and the trash do
    /// the rest.
    ///
    /// # Errors
    /// It cannot be told where the root lies, or who there is. Nothing may be
    /// deleted then.
    pub fn gather(root: &Root) -> io::Result<Self> {
        mountinfo::uses(&root.location()?).map(Self)
    }

    /// Returns who has the directory `data`, or one below it, mounted; `data` is
    /// relative to the root.
    pub fn user(&self, data: &Path) -> Option<&Use> {
        self.0.iter().find(|held| held.path.starts_with(data))
    }
}
