//! Who really has a volume mounted, from the kernel's own tables.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::error::Error;
use crate::store::layout::volume_of;
use crate::store::{self, FileName, Root};
use crate::sys::mountinfo::{self, Location, Use};

/// What is mounted from below a root, or of places outside it, at one moment.
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
        let mut uses = mountinfo::uses(&[root.location()?])?;
        uses.retain(|held| !held.path.as_os_str().is_empty());
        Ok(Self(uses))
    }

    /// Looks who has one of `places` mounted, or a directory below it.
    ///
    /// # Errors
    /// It cannot be told who there is.
    pub fn of(places: &[Location]) -> io::Result<Self> {
        mountinfo::uses(places).map(Self)
    }

    /// As [`Evidence::gather`], for whoever can do nothing without.
    ///
    /// # Errors
    /// The same.
    pub fn needed(root: &Root) -> Result<Self, Error> {
        Self::gather(root).map_err(|source| {
            let path = root.path().to_path_buf();
            Error::Root(store::Error { op: "ask who uses", path, source })
        })
    }

    /// Returns who has the directory `data`, or one below it, mounted; `data` is
    /// relative to the root.
    pub fn user(&self, data: &Path) -> Option<&Use> {
        self.users(data).next()
    }

    /// Returns all who have the directory `data`, or one below it, mounted.
    pub fn users(&self, data: &Path) -> impl Iterator<Item = &Use> {
        self.0.iter().filter(move |held| held.path.starts_with(data))
    }

    /// Returns one of all.
    pub fn any(&self) -> Option<&Use> {
        self.0.first()
    }

    /// Returns all.
    pub fn all(&self) -> impl Iterator<Item = &Use> {
        self.0.iter()
    }

    /// Returns how often each of the places is mounted, of which there are `places`.
    pub fn by_location(&self, places: usize) -> Vec<usize> {
        let mut mounts = vec![0; places];
        self.0.iter().for_each(|held| mounts[held.location] += 1);
        mounts
    }

    /// Returns the volumes that are mounted, and how often each is.
    pub fn volumes(&self) -> HashMap<FileName, usize> {
        let mut volumes = HashMap::new();
        for name in self.0.iter().filter_map(|held| volume_of(&held.path)) {
            *volumes.entry(name).or_default() += 1;
        }
        volumes
    }
}
