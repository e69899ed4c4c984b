//! One lock for each volume, and for each entry of the trash that is restored, for
//! as long as somebody wants it.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::store::FileName;

/// The names that are locked. The mutex is held for the look-up alone, never
/// over disk work, so two volumes never wait for each other.
#[derive(Debug, Default)]
pub struct Locks {
    held: Mutex<HashSet<FileName>>,
    released: Condvar,
}

/// The lock of one name; dropping it releases it.
#[must_use]
pub struct Guard<'a> {
    locks: &'a Locks,
    name: &'a FileName,
}

impl Locks {
    /// Waits until nobody else has the lock of `name`, and takes it.
    pub fn lock<'a>(&'a self, name: &'a FileName) -> Guard<'a> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self
            .released
            .wait_while(held, |held| held.contains(name))
            .unwrap_or_else(PoisonError::into_inner);
        held.insert(name.clone());
        Guard { locks: self, name }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut held = self.locks.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(self.name);
        self.locks.released.notify_all();
    }
}
