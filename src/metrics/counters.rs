//! The counters, and how they count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::causes::{ERROR_KINDS, ErrorKind, PURGES, Purge};
use super::histogram::Histogram;
use super::render::Seen;
use super::{ENDPOINTS, Endpoint, OUTCOMES, Outcome};

/// The counters, and the gauges that were last read.
#[derive(Debug)]
pub struct Metrics {
    pub(super) started: SystemTime,
    pub(super) requests: [[AtomicU64; OUTCOMES.len()]; ENDPOINTS.len()],
    pub(super) durations: [Histogram; ENDPOINTS.len()],
    pub(super) in_flight: AtomicU64,
    pub(super) errors: [AtomicU64; ERROR_KINDS.len()],
    pub(super) purged: [AtomicU64; PURGES.len()],
    seen: Mutex<Seen>,
}

/// A call that is being answered, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct InFlight<'a>(&'a AtomicU64);

impl Metrics {
    /// Begins to count, at nothing.
    #[expect(clippy::new_without_default, reason = "the moment it is called at counts")]
    pub fn new() -> Self {
        Self {
            started: SystemTime::now(),
            requests: Default::default(),
            durations: Default::default(),
            in_flight: AtomicU64::default(),
            errors: Default::default(),
            purged: Default::default(),
            seen: Mutex::default(),
        }
    }

    /// Counts a call that begins. One whose client goes away ends there, and is
    /// not counted as answered.
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Counts one call that was answered, or closed, after `took`.
    pub fn count(&self, endpoint: Endpoint, outcome: Outcome, took: Duration) {
        self.requests[endpoint as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.durations[endpoint as usize].observe(took);
    }

    /// Counts why a call failed.
    pub fn count_error(&self, kind: ErrorKind) {
        self.errors[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an entry of the trash that was purged.
    pub fn count_purge(&self, reason: Purge) {
        self.purged[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what was seen in the root; it stands until the next look.
    pub fn keep(&self, seen: Seen) {
        *self.seen() = seen;
    }

    // What is behind it is replaced whole, so a panic cannot leave it half changed.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_flight_until_it_ends_however_it_ends() {
        let metrics = Metrics::new();
        let first = metrics.begin();
        let second = metrics.begin();
        assert_eq!(metrics.in_flight.load(Ordering::Relaxed), 2);
        drop(first);
        drop(second);
        assert_eq!(metrics.in_flight.load(Ordering::Relaxed), 0);
    }
}
