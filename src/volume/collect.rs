//! What goes on behind the requests: the trash is emptied when its time is up or
//! its space is needed, and trees that nobody needs are deleted.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::change::note_use;
use super::driver::Driver;
use super::evidence::Evidence;
use super::name::VolumeName;
use super::record::Record;
use crate::store::layout::trash_data;
use crate::store::{self, FileName, Root, Space, TrashName};

/// How often it is looked for work that nobody announced.
pub const EVERY: Duration = Duration::from_secs(60);

/// How often it is noted which volumes are in use; a prune looks back for days.
const NOTE_EVERY: Duration = Duration::from_secs(3600);

/// Free space below this is low on any file system, however large.
const LOW: u64 = 20 << 30;

/// How long it is waited for space that btrfs frees in the background.
const FREEING: Duration = Duration::from_secs(3);

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
    /// Volumes that were made of directories which somebody had moved in.
    pub adopted: Vec<VolumeName>,
    /// Directories that were moved in and cannot be volumes, and why; each once.
    pub stuck: Vec<String>,
}

/// Where the collecting thread waits for work, and what others did of it.
#[derive(Debug, Default)]
pub struct Collector {
    work: Mutex<Work>,
    announced: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    announced: bool,
    /// Whether a root was opened since its names were brought in line.
    opened: bool,
    /// What operations purged because they found the disk full.
    purged: Vec<TrashName>,
    /// When it was noted last who is in use.
    noted: Option<Instant>,
    /// Of what in `adopting/` it was told that it waits for a person.
    told: HashSet<FileName>,
}

impl Collector {
    /// Announces work.
    pub fn wake(&self) {
        self.work().announced = true;
        self.announced.notify_one();
    }

    /// Announces that a root was opened.
    pub fn opened(&self) {
        self.work().opened = true;
        self.wake();
    }

    /// Returns whether [`NOTE_EVERY`] has passed since it last did.
    fn is_time_to_note(&self) -> bool {
        let mut work = self.work();
        let due = work.noted.is_none_or(|noted| noted.elapsed() >= NOTE_EVERY);
        if due {
            work.noted = Some(Instant::now());
        }
        due
    }

    /// Returns whether nothing was told of `token` yet.
    pub(super) fn is_new(&self, token: &FileName) -> bool {
        self.work().told.insert(token.clone())
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until work is announced, or [`EVERY`] has passed.
    fn wait(&self) {
        let (mut work, _) = self
            .announced
            .wait_timeout_while(self.work(), EVERY, |work| !work.announced)
            .unwrap_or_else(PoisonError::into_inner);
        work.announced = false;
    }
}

impl Driver {
    /// Waits until there may be something to collect: at most [`EVERY`].
    pub fn wait_for_garbage(&self) {
        self.collector.wait();
    }

    /// Returns whether the process may end without anything being left undone or
    /// forgotten that matters: the root is served, its trash is empty, nothing is
    /// being deleted, and nobody may be about to mount a volume. What else is
    /// remembered of mount IDs informs only.
    pub fn is_at_rest(&self) -> bool {
        let Ok(root) = self.checked_root() else { return false };
        !self.holders().any_starting()
            && root.trash_len().is_ok_and(|entries| entries == 0)
            && root.is_settled().unwrap_or(false)
    }

    /// Deletes what was discarded; purges what is expired, and the oldest of the
    /// rest while space is low even so. An entry that somebody still has mounted
    /// is left alone, and so are all where that cannot be told. Meant for one
    /// thread.
    pub fn collect(&self) -> Report {
        let mut report = Report::default();
        let Ok(root) = self.checked_root() else { return report };
        let purged = std::mem::take(&mut self.collector.work().purged);
        report.purged.extend(purged.into_iter().map(|entry| (entry, Reason::LowSpace)));
        let opened = std::mem::take(&mut self.collector.work().opened);
        self.finish_adopting(&root, opened, &mut report);
        if opened && let Err(error) = self.reconcile(&root) {
            report.failed.push(format!("the names in the state directory: {error}"));
            // Until they are, one that is missing there would be said not to exist.
            self.collector.work().opened = true;
        }
        self.settle_holders(&root, &mut report);
        if self.collector.is_time_to_note() {
            self.note_uses(&root);
        }
        // First what nobody can want back: it may be all the space that is needed.
        sweep(&root, &mut report);
        if let Err(failed) = self.purge_due(&root, &mut report) {
            self.give_up_if_unsynced(&root);
            report.failed.push(failed);
        }
        sweep(&root, &mut report);
        report
    }

    /// Ends at the first failure: what comes after it could not be trusted.
    fn purge_due(&self, root: &Root, report: &mut Report) -> Result<(), String> {
        let entries = root.trash().map_err(|error| error.to_string())?;
        let now = root.now().map_err(|error| error.to_string())?;
        let mut low = !entries.is_empty() && root.space().is_ok_and(is_low);
        if low {
            // What was just deleted may be all the space that is needed.
            low = stays_low(root)?;
        }
        for entry in entries {
            let reason = if self.is_expired(root, &entry, now) {
                Reason::Expired
            } else if low {
                Reason::LowSpace
            } else {
                continue;
            };
            if purge(root, &entry)? {
                report.purged.push((entry, reason));
            }
            if low {
                sweep(root, report);
                low = stays_low(root)?;
            }
        }
        Ok(())
    }

    /// Purges and deletes the oldest entry that nobody has mounted, for an
    /// operation that found the disk full, and returns whether there was one.
    pub(super) fn make_room(&self, root: &Root) -> bool {
        let entries = root.trash().unwrap_or_default();
        let purged = entries.into_iter().find(|entry| purge(root, entry).is_ok_and(|done| done));
        // Ignoring what could not be deleted: the operation finds that out.
        let _stuck = root.sweep();
        // Nor whether it is enough: what is not free yet must not cost another entry.
        let _still = stays_low(root);
        let found = purged.is_some();
        // The collector tells of it.
        self.collector.work().purged.extend(purged);
        self.collector.wake();
        found
    }

    /// Has the collector look whether the trash must give way, where space is low,
    /// and returns whether it is.
    pub(super) fn wake_collector_if_low(&self, root: &Root) -> bool {
        let low = root.space().is_ok_and(is_low);
        if low {
            self.collector.wake();
        }
        low
    }

    pub(super) fn is_expired(&self, root: &Root, entry: &TrashName, now: SystemTime) -> bool {
        // What cannot be read may be kept for longer than is thought.
        let retain = self.retention_in_trash(root, entry);
        retain
            .is_ok_and(|retain| now.duration_since(entry.removed()).is_ok_and(|age| age >= retain))
    }

    /// Returns for how long an entry of the trash is kept, from its removal on.
    ///
    /// # Errors
    /// The disk does not say.
    pub(super) fn retention_in_trash(
        &self,
        root: &Root,
        entry: &TrashName,
    ) -> store::Result<Duration> {
        let record = root.trash_record(entry)?;
        Ok(match record.and_then(|bytes| Record::parse_any(&bytes).ok()) {
            Some((_, record)) => self.retention(&record),
            None => self.settings.retention,
        })
    }

    /// Notes for every volume that somebody has mounted now that it is in use: an
    /// Unmount may be lost, or may never come.
    fn note_uses(&self, root: &Root) {
        let evidence = Evidence::gather(root).map(|evidence| evidence.volumes());
        let names =
            evidence.into_iter().flatten().filter_map(|(name, _)| VolumeName::from_file(name));
        for name in names.chain(self.placed_in_use().into_keys()) {
            note_use(root, &name);
        }
    }
}

/// Purges an entry, unless somebody has it mounted at this moment, and returns
/// whether it did.
fn purge(root: &Root, entry: &TrashName) -> Result<bool, String> {
    let evidence = Evidence::gather(root).map_err(|error| {
        format!("nothing is purged while it cannot be told who uses it: {error}")
    })?;
    if evidence.user(&trash_data(entry)).is_some() {
        return Ok(false);
    }
    root.purge(entry).map_err(|error| error.to_string())
}

/// Returns whether space is low when what was deleted is counted as free. Some file
/// systems do that only when it was written, and btrfs some time later.
fn stays_low(root: &Root) -> Result<bool, String> {
    let start = Instant::now();
    loop {
        root.sync_file_system().map_err(|error| error.to_string())?;
        let later = root.frees_later();
        let low = root.space().is_ok_and(is_low);
        if !low || !later || start.elapsed() > FREEING {
            return Ok(low);
        }
        thread::sleep(FREEING / 100);
    }
}

fn sweep(root: &Root, report: &mut Report) {
    report.failed.extend(root.sweep().iter().map(ToString::to_string));
}

/// Returns whether free space is below 10 % and below 20 GiB.
pub fn is_low(space: Space) -> bool {
    space.free < LOW.min(space.total / 10)
}

/// Returns whether purging may help an operation that found no space: bytes are
/// low, or less than one file in a hundred may still be made.
pub(super) fn is_short(space: Space) -> bool {
    is_low(space) || has_few_inodes(space)
}

/// Returns whether less than one file in a hundred may still be made.
pub fn has_few_inodes(space: Space) -> bool {
    space.inodes_free < space.inodes.div_ceil(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_to_note_at_first_and_then_once_an_hour() {
        let collector = Collector::default();
        assert!(collector.is_time_to_note());
        let age = |by| {
            let mut work = collector.work();
            work.noted = work.noted.and_then(|noted| noted.checked_sub(by));
            assert!(work.noted.is_some());
        };
        age(NOTE_EVERY - EVERY);
        assert!(!collector.is_time_to_note());
        age(EVERY);
        assert!(collector.is_time_to_note());
        assert!(!collector.is_time_to_note());
    }

    #[test]
    fn space_is_low_below_a_tenth_and_below_20_gib() {
        const GIB: u64 = 1 << 30;
        let low = |free, total| is_low(Space { free, total, inodes_free: 0, inodes: 0 });
        assert!(!low(10 * GIB, 100 * GIB));
        assert!(low(10 * GIB - 1, 100 * GIB));
        assert!(!low(20 * GIB, 1000 * GIB));
        assert!(low(20 * GIB - 1, 1000 * GIB));
        assert!(!low(0, 0));
    }

    #[test]
    fn files_are_short_when_hardly_one_may_still_be_made() {
        let short =
            |inodes_free, inodes| is_short(Space { free: 1, total: 1, inodes_free, inodes });
        assert!(short(0, 64));
        assert!(!short(1, 64));
        assert!(short(9, 1000));
        assert!(!short(10, 1000));
        assert!(!short(0, 0));
    }
}
