//! What goes on behind the requests: the trash is emptied when its time is up or
//! its space is needed, and trees that nobody needs are deleted.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::driver::Driver;
use super::evidence::Evidence;
use super::name::VolumeName;
use super::record::Record;
use crate::store::dir::Space;
use crate::store::layout::trash_data;
use crate::store::{Root, TrashName};

/// How often it is looked for work that nobody announced.
pub const EVERY: Duration = Duration::from_secs(60);

/// Free space below this is low on any file system, however large.
const LOW: u64 = 20 << 30;

/// Why an entry was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its time was up.
    Expired,
    /// Its space was needed.
    LowSpace,
}

/// What one collection did, for the log.
#[derive(Debug, Default)]
pub struct Report {
    /// What was purged, and why.
    pub purged: Vec<(TrashName, Reason)>,
    /// What could not be done.
    pub failed: Vec<String>,
}

/// Where the collecting thread waits for work.
#[derive(Debug, Default)]
pub struct Collector {
    work: Mutex<bool>,
    announced: Condvar,
}

impl Collector {
    /// Announces work.
    pub fn wake(&self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.announced.notify_one();
    }

    /// Waits until work is announced, or [`EVERY`] has passed.
    fn wait(&self) {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut work, _) = self
            .announced
            .wait_timeout_while(work, EVERY, |work| !*work)
            .unwrap_or_else(PoisonError::into_inner);
        *work = false;
    }
}

impl Driver {
    /// Waits until there may be something to collect: at most [`EVERY`].
    pub fn wait_for_garbage(&self) {
        self.collector.wait();
    }

    /// Purges what is expired, and the oldest of the rest while space is low;
    /// then deletes what was purged or discarded. An entry that somebody still
    /// has mounted is left alone. Meant for one thread.
    pub fn collect(&self) -> Report {
        let mut report = Report::default();
        let Ok(root) = self.root() else { return report };
        let entries = match root.trash() {
            Ok(entries) => entries,
            Err(error) => {
                report.failed.push(error.to_string());
                Vec::new()
            }
        };
        let mut evidence = None;
        for entry in entries {
            let reason = if self.is_expired(&root, &entry) {
                Reason::Expired
            } else if root.space().is_ok_and(is_low) {
                Reason::LowSpace
            } else {
                continue;
            };
            let evidence = evidence.get_or_insert_with(|| Evidence::gather(&root));
            if evidence.user(&trash_data(&entry)).is_some() {
                continue;
            }
            match root.purge(&entry) {
                Ok(true) => report.purged.push((entry, reason)),
                Ok(false) => {}
                Err(error) => report.failed.push(error.to_string()),
            }
            if reason == Reason::LowSpace {
                // Now, so that the next look at the space sees what it freed.
                report.failed.extend(root.sweep().iter().map(ToString::to_string));
            }
        }
        report.failed.extend(root.sweep().iter().map(ToString::to_string));
        report
    }

    /// Purges and deletes the oldest entry that nobody has mounted, and returns
    /// whether there was one.
    pub(super) fn make_room(&self, root: &Root) -> bool {
        let evidence = Evidence::gather(root);
        let entries = root.trash().unwrap_or_default();
        let free = |entry: &&TrashName| evidence.user(&trash_data(entry)).is_none();
        let purged = entries.iter().find(free).is_some_and(|entry| root.purge(entry).is_ok());
        // Ignoring what could not be deleted: the caller finds out by trying again.
        let _stuck = root.sweep();
        purged
    }

    pub(super) fn wake_collector_if_low(&self, root: &Root) {
        if root.space().is_ok_and(is_low) {
            self.collector.wake();
        }
    }

    fn is_expired(&self, root: &Root, entry: &TrashName) -> bool {
        let record = VolumeName::new(entry.volume().as_str()).and_then(|name| {
            let bytes = root.trash_record(entry).ok()??;
            Record::parse(&name, &bytes).ok()
        });
        let retain = match record {
            Some(record) => self.in_force(&record).retain,
            None => None,
        };
        let retain = retain.unwrap_or(self.settings.retention);
        entry.removed().elapsed().is_ok_and(|age| age >= retain)
    }
}

/// Returns whether free space is below 10 % and below 20 GiB.
fn is_low(space: Space) -> bool {
    space.free < LOW.min(space.total / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_low_below_a_tenth_and_below_20_gib() {
        const GIB: u64 = 1 << 30;
        let low = |free, total| is_low(Space { free, total });
        assert!(!low(10 * GIB, 100 * GIB));
        assert!(low(10 * GIB - 1, 100 * GIB));
        assert!(!low(20 * GIB, 1000 * GIB));
        assert!(low(20 * GIB - 1, 1000 * GIB));
        assert!(!low(0, 0));
    }
}
