//! One lock for each volume, and for each entry of the trash that is restored, for
//! as long as somebody wants it.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::store::{FileName, Locked, VolumeLock};

/// How long anybody waits for a lock: whoever waits has a place among the operations on
/// the disk, which others need, and an import may hold a name for hours. It is less than
/// engines wait for any answer.
pub const LIMIT: Duration = Duration::from_secs(40);

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
    /// The same over all nodes, where several share the root.
    pub(super) shared: Locked,
}

impl Locks {
    /// Waits until nobody else has the lock of `name`, and takes it; or returns `None`
    /// when that has taken [`LIMIT`].
    pub fn lock<'a>(&'a self, name: &'a FileName) -> Option<Guard<'a>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut held, _) = self
            .released
            .wait_timeout_while(held, LIMIT, |held| held.contains(name))
            .unwrap_or_else(PoisonError::into_inner);
        let is_free = held.insert(name.clone());
        is_free.then(|| Guard { locks: self, name, shared: Locked::Alone })
    }
}

impl Guard<'_> {
    /// Returns the lock over all nodes, where there is one.
    pub(super) fn over_nodes(&self) -> Option<&VolumeLock> {
        match &self.shared {
            Locked::Held(lock) => Some(lock),
            Locked::Alone | Locked::Absent | Locked::Occupied => None,
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Before the next one of this node asks for it.
        self.shared = Locked::Alone;
        let mut held = self.locks.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(self.name);
        self.locks.released.notify_all();
    }
}
