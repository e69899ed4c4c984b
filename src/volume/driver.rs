//! The driver: a root, and what is remembered of its volumes. What is read of
//! them is in [`super::read`], what is changed in [`super::change`].
//!
//! # Locking
//! A change of a volume, from its first look at the disk to its commit, is made
//! under that volume's lock. The mutexes of the cache and of the holders are
//! held for a look-up, never over disk work.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::availability::{Availability, Change};
use super::cache::Cache;
use super::clone::Copies;
use super::collect::Collector;
use super::error::Error;
use super::holders::Holders;
use super::locks::Locks;
use super::name::VolumeName;
use super::options::{Fixture, Options};
use super::place::Claims;
use super::read::Volume;
use crate::store::{self, Root};

/// How a driver behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The root to serve.
    pub root: store::Settings,
    /// How long a removed volume is kept where its options do not say.
    pub retention: Duration,
    /// The options of a Create that does not state them.
    pub defaults: Options,
    /// The directories of the host below which volumes may lie.
    pub bind_roots: Vec<PathBuf>,
    /// Where the driver listens, if it is to behave as the reference fixture.
    pub fixture: Option<String>,
}

/// The driver: a root, and what is remembered of its volumes.
#[derive(Debug)]
pub struct Driver {
    pub(super) settings: Settings,
    pub(super) availability: Availability,
    pub(super) collector: Collector,
    pub(super) builtin: Options,
    pub(super) locks: Locks,
    pub(super) copies: Copies,
    /// The id of the root that was served last.
    served: Mutex<Option<String>>,
    cache: Mutex<Cache>,
    holders: Mutex<Holders>,
    pub(super) claims: Mutex<Claims>,
}

impl Driver {
    /// Makes a driver that has no root yet; [`Driver::check`] opens it.
    pub fn new(settings: Settings) -> Self {
        Self {
            builtin: Options::builtin(settings.retention),
            settings,
            availability: Availability::default(),
            collector: Collector::default(),
            locks: Locks::default(),
            copies: Copies::default(),
            served: Mutex::default(),
            cache: Mutex::default(),
            holders: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    /// Returns the path of the root.
    pub fn root_path(&self) -> &Path {
        &self.settings.root.path
    }

    /// Returns the reason why there is no root, and since when. It never waits.
    pub fn unavailable(&self) -> Option<(String, Instant)> {
        self.availability.unavailable()
    }

    /// Returns why nothing can be read, where it is a disk that hangs. It never
    /// waits.
    pub fn hangs(&self) -> Option<Error> {
        self.availability.hangs().map(Error::Unavailable)
    }

    /// Returns whether this is the reference fixture.
    pub fn fixture(&self) -> Fixture {
        if self.settings.fixture.is_some() { Fixture::On } else { Fixture::Off }
    }

    /// Checks the root, or tries to open it, and returns what is new. Meant to
    /// be called every second, by one thread.
    pub fn check(&self) -> Option<Change> {
        let change = self.availability.check(&self.settings.root);
        if let Some(Change::Opened { id }) = &change {
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            if served.as_ref() != Some(id) {
                self.cache().clear();
                *served = Some(id.clone());
            }
            self.collector.opened();
        }
        change
    }

    /// Brings the names in the state directory in line with those in the root,
    /// after it was opened.
    ///
    /// # Errors
    /// The first failure; the other names are brought in line all the same.
    pub(super) fn reconcile(&self, root: &Root) -> Result<(), Error> {
        let seen: HashSet<_> = root.state().seen().map_err(Error::Root)?.into_iter().collect();
        let names: HashSet<_> = root.names().map_err(Error::Root)?.into_iter().collect();
        let differing = seen.symmetric_difference(&names).cloned();
        let mut first = Ok(());
        for name in differing.filter_map(VolumeName::from_file) {
            // Under its lock, for it may be on its way in or out.
            let Some(_lock) = self.locks.lock(name.file()) else {
                first = first.and(Err(Error::Occupied(name.clone())));
                continue;
            };
            let found = root.read(name.file());
            // One that cannot be told is not known to be absent.
            let there = !matches!(found, Ok(None));
            if let Ok(Some(stored)) = found {
                let _noted = self.with_place(root, Volume::new(&name, stored));
            }
            let state = root.state();
            let noted = if there { state.note(name.file()) } else { state.forget(name.file()) };
            if first.is_ok() {
                first = noted.map_err(Error::Root);
            }
        }
        first
    }

    /// Returns the root.
    pub(super) fn root(&self) -> Result<Arc<Root>, Error> {
        self.availability.root().map_err(Error::Unavailable)
    }

    /// Returns the root, which was seen to be at its path just now.
    pub(super) fn checked_root(&self) -> Result<Arc<Root>, Error> {
        let root = self.root()?;
        self.verify(&root)?;
        Ok(root)
    }

    /// Checks that the root still is at its path, and gives it up if not.
    pub(super) fn verify(&self, root: &Arc<Root>) -> Result<(), Error> {
        root.verify().map_err(|error| {
            self.availability.lose(root, &error);
            Error::Unavailable(error.to_string())
        })
    }

    // A panic cannot leave these half changed: each change is one call of a
    // collection's method.
    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the volume `name` out of memory until what is returned is dropped: of
    /// what is gone from the disk already, a Get must not say that it is there.
    pub(super) fn changing(&self, name: &VolumeName) -> Changing<'_> {
        self.cache().begin(name);
        Changing(self)
    }

    pub(super) fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that is being made to a volume.
pub(super) struct Changing<'a>(&'a Driver);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.cache().end();
    }
}
