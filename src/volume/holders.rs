//! Who said that they mount a volume.
//!
//! A volume is a directory: mounting it has nothing to do but be remembered. No
//! bookkeeping of mount IDs is right for every engine: dockerd's `cp` mounts with
//! the ID of the running container and unmounts it again (moby 47964), a dockerd
//! that was killed mounts once more with the same ID, one with live-restore
//! mounts nothing, Podman has one ID for everything. So the counts inform, and a
//! Remove asks them only about the moment between a Mount's answer and the mount
//! itself.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::name::VolumeName;

/// How long an engine may take from the answer to a Mount to the mount: its own
/// longest timeout (moby `daemon/volume/drivers/proxy.go`).
pub const STARTING: Duration = Duration::from_secs(120);

/// How long it may take where the engine has begun a new life since: what it has
/// not finished by then, nobody finishes. A dockerd that was killed never unmounts
/// for a container that it does not start again.
pub const CARRIED: Duration = Duration::from_secs(10);

/// The most IDs that are remembered of one volume.
const CAPACITY: usize = 1024;

/// One mount ID of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The ID, as the engine gave it.
    pub id: String,
    /// How often it was mounted more than it was unmounted.
    pub count: u32,
    /// When it was first mounted.
    pub since: SystemTime,
    mounted: Option<Instant>,
    /// Whether an engine has begun a new life since it was last mounted.
    carried: bool,
}

/// The mount IDs of all volumes.
#[derive(Debug, Default)]
pub struct Holders(HashMap<VolumeName, Vec<Holder>>);

impl Holders {
    /// Remembers a Mount.
    pub fn mount(&mut self, name: &VolumeName, id: &str) {
        let holders = self.0.entry(name.clone()).or_default();
        let now = Some(Instant::now());
        if let Some(holder) = holders.iter_mut().find(|holder| holder.id == id) {
            holder.count = holder.count.saturating_add(1);
            holder.mounted = now;
            holder.carried = false;
            return;
        }
        if holders.len() == CAPACITY {
            holders.remove(0);
        }
        let since = SystemTime::now();
        holders.push(Holder { id: id.to_owned(), count: 1, since, mounted: now, carried: false });
    }

    /// Remembers an Unmount. One of an unknown ID is none of our business: the
    /// Mount was before our start, or timed out at the engine.
    pub fn unmount(&mut self, name: &VolumeName, id: &str) {
        let Some(holders) = self.0.get_mut(name) else { return };
        if let Some(at) = holders.iter().position(|holder| holder.id == id) {
            holders[at].count -= 1;
            holders[at].mounted = None;
            if holders[at].count == 0 {
                holders.remove(at);
            }
        }
        if holders.is_empty() {
            self.0.remove(name);
        }
    }

    /// Remembers that an engine begins a new life. It may be another one than has
    /// mounted, so the IDs stay, and may be starting for a moment.
    pub fn carry_over(&mut self) {
        self.0.values_mut().flatten().for_each(|holder| holder.carried = true);
    }

    /// Returns the holders of `name`, those who came first in front.
    pub fn of(&self, name: &VolumeName) -> &[Holder] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the holder of `name` who may be about to mount it: the last that
    /// was heard of its ID is a Mount, at most [`STARTING`] ago, or `carried` where
    /// an engine has begun a new life since.
    pub fn starting(&self, name: &VolumeName, carried: Duration) -> Option<&Holder> {
        let recent = |holder: &&Holder| {
            let limit = if holder.carried { carried } else { STARTING };
            holder.mounted.is_some_and(|mounted| mounted.elapsed() < limit)
        };
        self.of(name).iter().find(recent)
    }

    /// Returns whether anybody may be about to mount a volume, whichever: what was
    /// heard last of an ID is a Mount, at most [`STARTING`] ago.
    pub fn any_starting(&self) -> bool {
        self.0.keys().any(|name| self.starting(name, STARTING).is_some())
    }

    /// Forgets all holders of `name`, which was removed.
    pub fn forget(&mut self, name: &VolumeName) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> VolumeName {
        VolumeName::new("a").unwrap()
    }

    fn seen(holders: &Holders) -> Vec<(String, u32)> {
        holders.of(&name()).iter().map(|holder| (holder.id.clone(), holder.count)).collect()
    }

    #[test]
    fn a_copy_into_a_running_container_leaves_its_holder() {
        let mut holders = Holders::default();
        holders.mount(&name(), "x");
        holders.mount(&name(), "x");
        holders.unmount(&name(), "x");
        assert_eq!(seen(&holders), [("x".to_owned(), 1)]);
        holders.unmount(&name(), "x");
        assert_eq!(seen(&holders), []);
    }

    #[test]
    fn an_unmount_of_an_unknown_id_changes_nothing() {
        let mut holders = Holders::default();
        holders.unmount(&name(), "x");
        holders.mount(&name(), "x");
        holders.unmount(&name(), "y");
        assert_eq!(seen(&holders), [("x".to_owned(), 1)]);
    }

    #[test]
    fn only_a_mount_that_was_not_answered_by_an_unmount_is_starting() {
        let mut holders = Holders::default();
        assert_eq!(holders.starting(&name(), CARRIED), None);
        holders.mount(&name(), "x");
        assert_eq!(holders.starting(&name(), CARRIED).map(|holder| holder.id.as_str()), Some("x"));
        // A dockerd that was killed mounts the same ID again and unmounts it once.
        holders.mount(&name(), "x");
        holders.unmount(&name(), "x");
        assert_eq!(holders.starting(&name(), CARRIED), None);
    }

    #[test]
    fn a_mount_of_an_earlier_life_of_the_engine_is_starting_for_a_moment_only() {
        let mut holders = Holders::default();
        let age = |holders: &mut Holders, by| {
            let holder = &mut holders.0.get_mut(&name()).unwrap()[0];
            holder.mounted = holder.mounted.and_then(|mounted| mounted.checked_sub(by));
            assert!(holder.mounted.is_some());
        };
        holders.mount(&name(), "x");
        holders.carry_over();
        assert!(holders.starting(&name(), CARRIED).is_some());
        age(&mut holders, CARRIED);
        assert_eq!(holders.starting(&name(), CARRIED), None);
        assert!(holders.starting(&name(), STARTING).is_some());
        assert!(holders.any_starting());
        assert_eq!(seen(&holders), [("x".to_owned(), 1)]);
        // A Mount of the life that is now is waited for as any other.
        holders.mount(&name(), "x");
        age(&mut holders, CARRIED);
        assert!(holders.starting(&name(), CARRIED).is_some());
        age(&mut holders, STARTING - CARRIED);
        assert!(!holders.any_starting());
        assert_eq!(seen(&holders), [("x".to_owned(), 2)]);
    }

    #[test]
    fn the_oldest_of_too_many_holders_is_forgotten() {
        let mut holders = Holders::default();
        for id in 0..=CAPACITY {
            holders.mount(&name(), &id.to_string());
        }
        assert_eq!(holders.of(&name()).len(), CAPACITY);
        assert_eq!(holders.of(&name())[0].id, "1");
    }
}
