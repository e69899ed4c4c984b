//! What was last read of the volumes that were asked for.
//!
//! It saves a Get the way to another thread, and it is what can still be said of
//! a volume when its disk has gone. It is never asked whether a volume is absent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::name::VolumeName;
use super::read::Volume;

/// How long an entry stands for the disk. A change that was made behind the
/// driver's back is seen after that.
pub const FRESH: Duration = Duration::from_secs(1);

/// The most entries, as many as 2,048 buckets hold; about 1 MB.
const CAPACITY: usize = 1792;

/// The entries, a count of the changes that were made to any volume, and how many
/// changes are being made.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<VolumeName, (Instant, Arc<Volume>)>,
    changes: u64,
    under_way: usize,
}

impl Cache {
    /// Returns the count of changes, to be handed to [`Cache::put`] after reading.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Keeps what was read, unless a volume is being changed, or was since the
    /// reading began.
    pub fn put(&mut self, volume: Arc<Volume>, changes: u64) {
        if changes != self.changes || self.under_way > 0 {
            return;
        }
        if self.entries.len() >= CAPACITY && !self.entries.contains_key(&volume.name) {
            self.entries.retain(|_, (read, _)| read.elapsed() < FRESH);
        }
        if self.entries.len() < CAPACITY {
            self.entries.insert(volume.name.clone(), (Instant::now(), volume));
        }
    }

    /// Returns what was read of `name` less than [`FRESH`] ago.
    pub fn fresh(&self, name: &VolumeName) -> Option<&Arc<Volume>> {
        self.entries.get(name).filter(|(read, _)| read.elapsed() < FRESH).map(|(_, volume)| volume)
    }

    /// Returns what was read of `name` last, however long ago.
    pub fn last(&self, name: &VolumeName) -> Option<&Arc<Volume>> {
        self.entries.get(name).map(|(_, volume)| volume)
    }

    /// Forgets everything: another root is served.
    pub fn clear(&mut self) {
        self.changes += 1;
        self.entries.clear();
    }

    /// Forgets `name`, which is about to be changed: until [`Cache::end`], others may
    /// see the change on the disk before whoever makes it knows that it is done.
    pub fn begin(&mut self, name: &VolumeName) {
        self.under_way += 1;
        self.changed(name);
    }

    /// Keeps again what was read after a change ended.
    pub fn end(&mut self) {
        self.under_way -= 1;
        self.changes += 1;
    }

    /// Forgets `name`, which was changed, or found to be absent.
    pub fn changed(&mut self, name: &VolumeName) {
        self.changes += 1;
        self.entries.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::Health;

    fn volume(name: &str) -> Arc<Volume> {
        let name = VolumeName::new(name).unwrap();
        Arc::new(Volume::only(name, Health::Ok))
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let mut cache = Cache::default();
        let before = cache.changes();
        cache.changed(&volume("b").name);
        cache.put(volume("a"), before);
        assert!(cache.last(&volume("a").name).is_none());
        cache.put(volume("a"), cache.changes());
        assert_eq!(cache.fresh(&volume("a").name), Some(&volume("a")));
    }

    #[test]
    fn what_is_read_during_a_change_is_not_kept() {
        let mut cache = Cache::default();
        cache.put(volume("a"), cache.changes());
        cache.begin(&volume("a").name);
        assert!(cache.fresh(&volume("a").name).is_none());
        let during = cache.changes();
        cache.put(volume("a"), during);
        assert!(cache.last(&volume("a").name).is_none());
        cache.end();
        cache.put(volume("a"), during);
        assert!(cache.last(&volume("a").name).is_none());
        cache.put(volume("a"), cache.changes());
        assert_eq!(cache.fresh(&volume("a").name), Some(&volume("a")));
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let mut cache = Cache::default();
        for i in 0..CAPACITY + 10 {
            cache.put(volume(&format!("v{i}")), 0);
        }
        assert_eq!(cache.entries.len(), CAPACITY);
    }
}
