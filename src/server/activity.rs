//! Whether anything is going on, and since when nothing is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is going on: requests that have begun, from their first byte to the last
/// of their answers.
#[derive(Debug)]
pub(super) struct Activity {
    running: AtomicUsize,
    /// When something last began or ended.
    last: Mutex<Instant>,
}

/// One thing that is going on, until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Default for Activity {
    fn default() -> Self {
        Self { running: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }
}

impl Activity {
    /// Something begins, and goes on until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Running(Arc::clone(self))
    }

    /// Something happened.
    pub(super) fn touch(&self) {
        *self.last() = Instant::now();
    }

    /// Returns for how long nothing has been going on.
    pub(super) fn quiet_for(&self) -> Duration {
        match self.running.load(Ordering::Relaxed) {
            0 => self.last().elapsed(),
            _ => Duration::ZERO,
        }
    }

    // A time is whole, whoever panicked while he held it.
    fn last(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
