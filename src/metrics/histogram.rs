//! How long calls took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, as labels and in microseconds. What engines
/// wait for an answer is among them: Podman 5 s, dockerd 60 s, and 120 s for a
/// Create and a Mount.
const BOUNDS: [(&str, u64); 10] = [
    ("0.001", 1_000),
    ("0.005", 5_000),
    ("0.025", 25_000),
    ("0.1", 100_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("5", 5_000_000),
    ("30", 30_000_000),
    ("60", 60_000_000),
    ("120", 120_000_000),
];

/// How many calls took how long.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// The calls of each bucket alone; the last is for what exceeds every bound.
    calls: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// A histogram as Prometheus wants it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// For each bound how many calls took no longer, and last how many there are.
    pub buckets: [(&'static str, u64); BOUNDS.len() + 1],
    /// The time of all calls.
    pub sum: Duration,
}

impl Histogram {
    /// Counts a call that took so long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().take_while(|(_, bound)| micros > *bound).count();
        self.calls[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Reads it: each bucket holds those below it too.
    pub fn read(&self) -> Read {
        let mut buckets = [("+Inf", 0); BOUNDS.len() + 1];
        let mut so_far = 0;
        for (at, calls) in self.calls.iter().enumerate() {
            so_far += calls.load(Ordering::Relaxed);
            buckets[at] = (BOUNDS.get(at).map_or("+Inf", |(label, _)| label), so_far);
        }
        Read { buckets, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_no_longer_than_its_bound() {
        let histogram = Histogram::default();
        for millis in [0, 1, 5_000, 5_001, 120_000, 120_001] {
            histogram.observe(Duration::from_millis(millis));
        }
        let buckets = [
            ("0.001", 2),
            ("0.005", 2),
            ("0.025", 2),
            ("0.1", 2),
            ("0.5", 2),
            ("1", 2),
            ("5", 3),
            ("30", 4),
            ("60", 4),
            ("120", 5),
            ("+Inf", 6),
        ];
        let sum = Duration::from_millis(1 + 5_000 + 5_001 + 120_000 + 120_001);
        assert_eq!(histogram.read(), Read { buckets, sum });
    }

    #[test]
    fn the_labels_of_the_bounds_are_their_seconds() {
        for (label, micros) in BOUNDS {
            let seconds: f64 = label.parse().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_micros(micros));
        }
    }
}
