//! What one node tells the others that share its root: which volumes it holds.

use super::collect::Report;
use super::driver::Driver;
use super::error::Error;
use super::evidence::Evidence;
use super::holders::CARRIED;
use super::locks::Guard;
use super::name::VolumeName;
use crate::order;
use crate::store::layout::volume_data;
use crate::store::{FileName, Locked, Root};
use crate::sys::process::sees_the_host;

impl Driver {
    /// Tells the other nodes that this one holds the volume `name`, whose lock is `lock`.
    pub(super) fn hold(
        &self,
        root: &Root,
        lock: &Guard<'_>,
        name: &VolumeName,
    ) -> Result<(), Error> {
        refuse_unless_ordered(lock, name)?;
        let Some(lock) = lock.over_nodes() else { return Ok(()) };
        root.hold(lock, name.file()).map_err(|error| Error::Disk(name.clone(), error))
    }

    /// Tells them that it does not any more, unless somebody here has it.
    pub(super) fn let_go(&self, root: &Root, name: &VolumeName) -> Result<(), Error> {
        if root.node().is_none() {
            return Ok(());
        }
        let (lock, root) = self.enter(name)?;
        if self.is_held(&root, name) {
            return Ok(());
        }
        let gone = root.let_go(lock.over_nodes(), name.file(), None);
        gone.map_err(|error| Error::Disk(name.clone(), error))
    }

    /// Returns whether somebody of this node has the volume `name`, or may be about to.
    /// Where the kernel cannot be asked, what engines said is all that is known.
    fn is_held(&self, root: &Root, name: &VolumeName) -> bool {
        if !sees_the_host() {
            return !self.holders_of(name).is_empty();
        }
        // Where it cannot be told, somebody may.
        let nobody = |evidence: Evidence| evidence.user(&volume_data(name.file())).is_none();
        self.holders().starting(name, CARRIED).is_some()
            || !Evidence::gather(root).is_ok_and(nobody)
    }

    /// Refuses to remove a volume that another node holds.
    pub(super) fn refuse_if_held_elsewhere(
        &self,
        root: &Root,
        lock: &Guard<'_>,
        name: &VolumeName,
    ) -> Result<(), Error> {
        refuse_unless_ordered(lock, name)?;
        let Some(lock) = lock.over_nodes() else { return Ok(()) };
        let failed = |error| Error::Disk(name.clone(), error);
        let nodes = lock.nodes().map_err(failed)?;
        let known = root.nodes().map_err(failed)?;
        let mut others = nodes.into_iter().filter(|node| root.node() != Some(node));
        // One that has no place here any more was released.
        match others.find(|node| known.contains(node)) {
            None => Ok(()),
            Some(other) => {
                let alive = root.dead(&other).map_err(failed)?.is_none();
                Err(Error::InUseByNode(name.clone(), other, alive))
            }
        }
    }

    /// Returns the nodes that hold the volume `name`.
    ///
    /// # Errors
    /// No root, or the disk.
    pub fn nodes_of(&self, name: &VolumeName) -> Result<Vec<FileName>, Error> {
        let nodes = self.root()?.holding(name.file());
        nodes.map_err(|error| Error::Disk(name.clone(), error))
    }

    /// Refuses to read as it is at one moment a volume that another node holds.
    pub(super) fn refuse_if_torn_elsewhere(
        &self,
        root: &Root,
        name: &VolumeName,
    ) -> Result<(), Error> {
        let nodes = root.holding(name.file()).map_err(|e| Error::Disk(name.clone(), e))?;
        match nodes.iter().find(|node| root.node() != Some(node)) {
            None => Ok(()),
            Some(other) => Err(Error::InUse(name.clone(), format!("node {other}"))),
        }
    }

    /// Frees what the dead node `node` held, and returns which volumes that were.
    ///
    /// # Errors
    /// There is no such node, it is alive, no root, or the disk.
    pub fn release(&self, node: &str) -> Result<Vec<String>, Error> {
        let root = self.checked_root()?;
        let refuse =
            |why: &str| Err(Error::NotReleased(node.escape_debug().to_string(), why.into()));
        if root.node().is_none() {
            return refuse("no nodes share this root: it is of scope local");
        }
        let known = root.nodes().map_err(Error::Root)?;
        let name = FileName::new(node).filter(|name| known.contains(name));
        let Some(name) = name else {
            let mut known: Vec<&str> = known.iter().map(FileName::as_str).collect();
            order::sort(&mut known, Ord::cmp);
            return refuse(&format!("there is none of that name; there are {}", known.join(", ")));
        };
        let Some(dead) = root.dead(&name).map_err(Error::Root)? else {
            return refuse("it is alive, and says itself what it holds: stop its containers there");
        };
        let mut freed = Vec::new();
        for held in dead.held().map_err(Error::Root)? {
            let Some(volume) = VolumeName::from_file(held.clone()) else {
                // It is no volume, and must not keep the place from being taken away.
                root.let_go(None, &held, Some(&dead)).map_err(Error::Root)?;
                continue;
            };
            let (lock, root) = self.enter(&volume)?;
            let gone = root.let_go(lock.over_nodes(), volume.file(), Some(&dead));
            gone.map_err(|error| Error::Disk(volume.clone(), error))?;
            freed.push(volume.to_string());
        }
        root.bury(dead).map_err(Error::Root)?;
        self.collector.wake();
        order::sort(&mut freed, Ord::cmp);
        Ok(freed)
    }

    /// Brings what the other nodes know in line with who has volumes mounted here: an Unmount
    /// may be lost, and a container may be older than this process.
    pub(super) fn settle_holders(&self, root: &Root, report: &mut Report) {
        if root.node().is_none() {
            return;
        }
        let Ok(evidence) = Evidence::gather(root) else { return };
        let mounted = evidence.volumes();
        let held = root.held().unwrap_or_default();
        // Both places must have it: whoever noted it may have been cut off in between.
        let told = |name: &FileName| {
            let here = |nodes: Vec<FileName>| nodes.iter().any(|node| root.node() == Some(node));
            held.contains(name) && root.holding(name).is_ok_and(here)
        };
        for name in mounted.keys().filter(|name| !told(name)).cloned() {
            let Some(name) = VolumeName::from_file(name) else { continue };
            let noted = self.enter(&name).and_then(|(lock, root)| self.hold(&root, &lock, &name));
            report.failed.extend(noted.err().map(|error| error.to_string()));
        }
        // Where nobody can be seen, it is an Unmount that says so.
        let idle = |name: &FileName| sees_the_host() && !mounted.contains_key(name);
        for name in held.iter().filter(|name| idle(name)).cloned() {
            let Some(name) = VolumeName::from_file(name) else { continue };
            let noted = self.let_go(root, &name);
            report.failed.extend(noted.err().map(|error| error.to_string()));
        }
    }
}

/// Refuses what must be ordered among nodes where there was no volume to be locked: one that
/// another node has made since then was not there for this call.
pub(super) fn refuse_unless_ordered(lock: &Guard<'_>, name: &VolumeName) -> Result<(), Error> {
    match lock.shared {
        Locked::Absent => Err(Error::NoSuchVolume(name.to_string())),
        _ => Ok(()),
    }
}
