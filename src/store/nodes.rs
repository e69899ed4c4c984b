//! One root that several nodes serve at once, on a file system that they share.
//!
//! ```text
//! nodes/<node>/lock               flock for life: who can take it knows that the node is dead
//! nodes/<node>/staging/           what that node builds and deletes
//! nodes/<node>/holders/<volume>   which volumes that node holds: at least these
//! volumes/<name>/lock             flock while the volume is changed; has the names of the
//!                                 nodes that hold it, a line each
//! ```
//!
//! # Coherence
//! A kernel remembers for a minute which names a directory of a file server has, and sees
//! another node's renames after that only. So whatever looks up a name in `volumes/` or
//! `trash/` asks the server first ([`Dir::refresh`]). What a file holds is fresh once its
//! lock was taken (nfs(5), "Using file locks with NFS"); so who holds a volume stands in the
//! very file whose lock orders the changes of that volume. A lock of a directory is no
//! lock: NFS keeps it to one node.
//!
//! The time is the file server's, as each node's own clock may be wrong.

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;
use std::time::SystemTime;

use nix::errno::Errno;

use super::dir::Dir;
use super::error::{Error, Result};
use super::init::make_dirs;
use super::layout::{FileName, HOLDERS, LOCK, NODES, STAGING};
use super::open_error::OpenError;
use super::root::Root;
use super::verbs::overwrite;
use super::volume_lock::{AGAIN, VolumeLock, is_still, named, take};
use crate::sys::mountinfo;

/// How often a node tries to take its own lock.
const ATTEMPTS: usize = 10;

/// Far more than the names of all nodes need.
const HOLDERS_LIMIT: u64 = 1 << 20;

/// One node's place in the root.
#[derive(Debug)]
pub(super) struct Node {
    name: FileName,
    /// `nodes/`, and the node's own directory in it.
    nodes: Dir,
    dir: Dir,
    holders: Dir,
    lock: File,
    /// Whether it is a file server that gives the lock, which then may take it back.
    served: bool,
}

/// A node that is not alive, which cannot come back as long as this lives.
#[derive(Debug)]
pub struct Dead {
    name: FileName,
    dir: Dir,
    _lock: File,
}

impl Node {
    /// Makes and takes the place of the node `name`.
    ///
    /// # Errors
    /// Another driver has it, the file system keeps no promise that is needed, or refuses.
    pub(super) fn enter(root: &Dir, name: &FileName) -> std::result::Result<Self, OpenError> {
        let unfit = |why| OpenError::Unfit { path: root.path().to_path_buf(), why };
        let served = refuse_unless_shared(root).map_err(unfit)?;
        let busy = || OpenError::NodeBusy(root.path().to_path_buf(), name.clone());
        make_dirs(root, &[NODES])?;
        let nodes = Dir { shared: true, ..root.open_dir(&component(NODES))? };
        make_dirs(&nodes, &[name.as_str()])?;
        let dir = nodes.open_dir(name)?;
        let lock = dir.open_file(LOCK)?;
        // Who asks whether this node is alive has its lock for a moment.
        let mut taken = take(&lock, &dir)?;
        for _ in 0..ATTEMPTS {
            if taken {
                break;
            }
            thread::sleep(AGAIN);
            taken = take(&lock, &dir)?;
        }
        if !taken || !is_still(&nodes, name, &dir)? {
            return Err(busy());
        }
        if take(&dir.open_file(LOCK)?, &dir)? {
            return Err(unfit("flock(2) keeps nobody out".into()));
        }
        make_dirs(&dir, &[HOLDERS, STAGING])?;
        let holders = dir.open_dir(&component(HOLDERS))?;
        let node = Self { name: name.clone(), nodes, dir, holders, lock, served };
        if node.replaces_what_is_not_empty()? {
            return Err(unfit("a rename replaces a directory that is not empty".into()));
        }
        Ok(node)
    }

    /// Opens the node's own `staging/`.
    pub(super) fn staging(&self) -> Result<Dir> {
        self.dir.open_dir(&component(STAGING))
    }

    /// Returns whether a rename takes the place of a directory that holds something.
    fn replaces_what_is_not_empty(&self) -> Result<bool> {
        let (from, to) = (component("probe-from"), component("probe-to"));
        let staging = self.staging()?;
        make_dirs(&staging, &[from.as_str(), to.as_str()])?;
        let inner = staging.open_dir(&to)?;
        make_dirs(&inner, &["inside"])?;
        let replaced = match staging.rename_read(c"probe-from", &staging, &to) {
            Ok(()) => true,
            Err(error) if matches!(error.errno(), Some(Errno::EEXIST | Errno::ENOTEMPTY)) => false,
            Err(error) => return Err(error),
        };
        inner.delete_dir("inside")?;
        staging.delete_dir(&from)?;
        staging.delete_dir(&to)?;
        Ok(replaced)
    }
}

impl Root {
    /// Returns the time: that of the file server, where nodes share one.
    ///
    /// # Errors
    /// It does not say.
    pub fn now(&self) -> Result<SystemTime> {
        let Some(node) = &self.node else { return Ok(SystemTime::now()) };
        let lock = component(LOCK);
        node.dir.touch(&lock)?;
        node.dir.modified(&lock)?.ok_or_else(|| Error {
            op: "utimensat",
            path: node.dir.path().join(LOCK),
            source: Errno::ENOENT.into(),
        })
    }

    /// Returns the name of this node, where there may be others.
    pub fn node(&self) -> Option<&FileName> {
        self.node.as_ref().map(|node| &node.name)
    }

    /// Makes sure that this node still has its lock: a file server gives the locks of a node
    /// away that it has not heard of for a while, and tells that by an error of what is
    /// read and written through them.
    ///
    /// # Errors
    /// It has not.
    pub fn verify_node(&self) -> std::result::Result<(), OpenError> {
        let Some(node) = &self.node else { return Ok(()) };
        let lost = |why: String| OpenError::NodeLost(self.path.clone(), why);
        let in_place = is_still(&node.nodes, &node.name, &node.dir).map_err(OpenError::Disk)?;
        if !in_place {
            return Err(lost("it was released".into()));
        }
        if !node.served {
            return Ok(());
        }
        match overwrite(&node.dir, LOCK, &node.lock, b"\n") {
            Ok(()) => Ok(()),
            // Whoever is told that has its lock.
            Err(error) if matches!(error.errno(), Some(Errno::ENOSPC | Errno::EDQUOT)) => Ok(()),
            Err(error) if error.errno() == Some(Errno::ETIMEDOUT) => Err(OpenError::Disk(error)),
            Err(error) => Err(lost(error.to_string())),
        }
    }

    /// Notes that this node holds the volume `name`, whose lock is held.
    ///
    /// # Errors
    /// The file system refuses; it may be noted then.
    pub fn hold(&self, lock: &VolumeLock, name: &FileName) -> Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        // First what is found again by this node alone.
        node.holders.open_file(name.as_str())?;
        let mut nodes = lock.nodes()?;
        if nodes.contains(&node.name) {
            return Ok(());
        }
        nodes.push(node.name.clone());
        lock.write(&nodes)
    }

    /// Notes that `holder`, or where there is none this node, does not hold the volume
    /// `name` any more. Where there is no such volume, there is no lock of it.
    ///
    /// # Errors
    /// The file system refuses; it may be noted still then.
    pub fn let_go(
        &self,
        lock: Option<&VolumeLock>,
        name: &FileName,
        holder: Option<&Dead>,
    ) -> Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        let gone = holder.map_or(&node.name, |dead| &dead.name);
        if let Some(lock) = lock {
            let mut nodes = lock.nodes()?;
            let before = nodes.len();
            nodes.retain(|node| node != gone);
            if nodes.len() < before {
                lock.write(&nodes)?;
            }
        }
        match holder {
            None => node.holders.delete_file(name),
            Some(dead) => dead.dir.open_dir(&component(HOLDERS))?.delete_file(name),
        }
    }

    /// Returns the nodes that hold the volume `name`, as they say it at this moment.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn holding(&self, name: &FileName) -> Result<Vec<FileName>> {
        if self.node.is_none() {
            return Ok(Vec::new());
        }
        let volume = match self.volumes.open_dir(name) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(Vec::new()),
            opened => opened?,
        };
        // What is opened is as it is on the server (nfs(5), "Close-to-open cache
        // consistency").
        let bytes = volume.read(LOCK, HOLDERS_LIMIT)?.unwrap_or_default();
        Ok(named(&bytes))
    }

    /// Returns the volumes that this node holds, and maybe some that it held.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn held(&self) -> Result<Vec<FileName>> {
        self.node.as_ref().map_or(Ok(Vec::new()), |node| node.holders.names())
    }

    /// Returns all nodes.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn nodes(&self) -> Result<Vec<FileName>> {
        self.node.as_ref().map_or(Ok(Vec::new()), |node| node.nodes.dirs())
    }

    /// Returns the node `name`, if there is one and it is dead.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn dead(&self, name: &FileName) -> Result<Option<Dead>> {
        let Some(node) = &self.node else { return Ok(None) };
        if !node.nodes.has_dir(name.as_str())? {
            return Ok(None);
        }
        let dir = node.nodes.open_dir(name)?;
        let lock = dir.open_file(LOCK)?;
        let dead = take(&lock, &dir)?;
        Ok(dead.then(|| Dead { name: name.clone(), dir, _lock: lock }))
    }

    /// Takes the place of a dead node away. What it was building or deleting is deleted.
    ///
    /// # Errors
    /// It still is said to hold a volume, or the file system refuses.
    pub fn bury(&self, dead: Dead) -> Result<()> {
        let Some(node) = &self.node else { return Ok(()) };
        let Dead { name, dir, _lock: lock } = dead;
        if dir.has_dir(STAGING)? {
            let staging = dir.open_dir(&component(STAGING))?;
            for tree in staging.names()? {
                let doomed = self.token()?;
                staging.rename(&tree, &self.staging, &doomed)?;
                self.doom(doomed);
            }
        }
        dir.delete_dir(STAGING)?;
        dir.delete_dir(HOLDERS)?;
        dir.delete_file(LOCK)?;
        // Where it is open, NFS keeps it under another name.
        drop(lock);
        node.nodes.delete_dir(&name)
    }
}

impl Dead {
    /// Returns the volumes that it held.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn held(&self) -> Result<Vec<FileName>> {
        match self.dir.has_dir(HOLDERS)? {
            true => self.dir.open_dir(&component(HOLDERS))?.names(),
            false => Ok(Vec::new()),
        }
    }
}

/// Refuses a mount by which nodes would not see each other's locks, or the locks of a dead
/// node would stay; the error says why. Returns whether there is a file server behind it.
fn refuse_unless_shared(root: &Dir) -> std::result::Result<bool, String> {
    let mount = mountinfo::file_system(root.as_fd()).map_err(|error| error.to_string())?;
    let (kind, options) = (mount.0.as_str(), mount.1);
    if ["ext4", "xfs", "btrfs", "tmpfs", "overlay"].contains(&kind) {
        return Ok(false);
    }
    let bad = |option: &&str| {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "nolock" => true,
            "local_lock" => value != "none",
            "vers" => !value.starts_with('4'),
            _ => false,
        }
    };
    match options.split(',').find(bad).filter(|_| kind.starts_with("nfs")) {
        None => Ok(true),
        Some(option) => Err(format!(
            "it is mounted with {option}, so that a lock does not hold between nodes, or holds \
             for ever: mount it with vers=4.2, and without nolock and local_lock"
        )),
    }
}

fn component(name: &str) -> FileName {
    FileName::new(name).expect("it is one component")
}
