//! Opening a root: proving that it is ours, the right one, and ours alone.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::errno::Errno;

use super::dir::{self, Dir};
use super::error::Error;
use super::init::{is_empty, lock_dir, lock_file, make, make_dirs, take_lock};
use super::layout::{FileName, MARKER, STAGING, TRASH, VOLUMES};
use super::marker::{Marker, Scope};
use super::nodes::Node;
use super::open_error::OpenError;
use super::space::Space;
use super::state::State;
use super::verbs::Probe;
use crate::sys::mountinfo::{self, Location};

/// Far more than a marker needs.
const MARKER_LIMIT: u64 = 4096;

/// Whether serving may turn a directory into a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// An empty directory, where no root was served before.
    Auto,
    /// Never: `dirvol init` did it.
    Never,
}

/// Which root to open, and what to accept.
#[derive(Clone)]
pub struct Settings {
    /// The root: absolute, as containers' paths begin with it.
    pub path: PathBuf,
    /// The state directory, outside the root.
    pub state_dir: PathBuf,
    /// Whether an empty directory becomes a root.
    pub init: Init,
    /// Whose volumes the root holds.
    pub scope: Scope,
    /// The id of a root that is served although another one was served last.
    pub accept: Option<String>,
    /// Whether a managed plugin serves it: where it lies on the host, and what to do
    /// about it, is then the engine's to say.
    pub plugin: bool,
    /// The name of this node, where several share the root.
    pub node: Option<FileName>,
    /// Why nothing is to be served: a setting that cannot be used.
    pub unusable: Option<String>,
    /// Sees every change of the root before it is made: for tests.
    pub probe: Option<Probe>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("path", &self.path).finish_non_exhaustive()
    }
}

/// An open root, held by its lock until it is dropped.
#[derive(Debug)]
pub struct Root {
    pub(super) path: PathBuf,
    pub(super) volumes: Dir,
    pub(super) staging: Dir,
    pub(super) trash: Dir,
    /// What nobody needs and is still to be deleted.
    pub(super) doomed: Mutex<super::trash::Doomed>,
    /// The first sync of `volumes/` or `trash/` that failed.
    pub(super) unsynced: OnceLock<String>,
    /// Whether it was given up, and what still runs should end.
    lost: AtomicBool,
    pub(super) dir: Dir,
    /// This node's place, where several share the root.
    pub(super) node: Option<Node>,
    id: String,
    state: State,
    /// Those of the root, where it is one host's, and that of the state directory.
    locks: Vec<File>,
}

impl Root {
    /// Opens the root, and makes what was committed before durable. See the
    /// module's documentation for what is left to do after a crash.
    ///
    /// # Errors
    /// Each [`OpenError`]. No volume and no entry of the trash is changed then.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        if let Some(why) = &settings.unusable {
            return Err(OpenError::Setting(why.clone()));
        }
        let path = &settings.path;
        let state = State::open(&settings.state_dir)?;
        let known = state.root_id()?;
        let dir = open_dir(path, settings.probe.clone())?;

        let marker = read_marker(&dir)?;
        match &marker {
            Some(marker) => accept(settings, marker, known)?,
            None => may_make(settings, &dir, known)?,
        }
        let mut locks = match settings.scope {
            Scope::Local => vec![lock_file(&dir)?, lock_dir(&dir)?],
            // For as long as it is made.
            Scope::Global if marker.is_none() => vec![lock_file(&dir)?],
            Scope::Global => Vec::new(),
        };
        let state_lock =
            state.lock()?.ok_or_else(|| OpenError::StateBusy(settings.state_dir.clone()))?;
        let marker = match marker {
            Some(marker) => marker,
            None => make(&dir, settings.scope)?,
        };

        if !dir.has_dir(VOLUMES)? {
            return Err(OpenError::NoVolumes(path.clone()));
        }
        make_dirs(&dir, &[TRASH])?;
        let node = match (settings.scope, &settings.node) {
            (Scope::Local, _) => {
                make_dirs(&dir, &[STAGING])?;
                None
            }
            (Scope::Global, None) => {
                let why = "--scope global needs the name of this node: give --node";
                return Err(OpenError::Setting(why.into()));
            }
            (Scope::Global, Some(name)) => {
                locks.clear();
                Some(Node::enter(&dir, name)?)
            }
        };
        locks.push(state_lock);
        // The marker too may be known to the kernel alone.
        dir.sync()?;
        let inner = |name| dir.open_dir(&FileName::new(name).expect("it is one component"));
        let shared = node.is_some();
        let volumes = Dir { shared, ..inner(VOLUMES)? };
        let trash = Dir { shared, ..inner(TRASH)? };
        let staging = node.as_ref().map_or_else(|| inner(STAGING), Node::staging)?;
        volumes.sync()?;
        trash.sync()?;
        state.set_root_id(&marker.id)?;
        let doomed = Mutex::new(staging.names()?.into());
        Ok(Self {
            path: path.clone(),
            volumes,
            staging,
            trash,
            doomed,
            unsynced: OnceLock::new(),
            lost: AtomicBool::new(false),
            dir,
            node,
            id: marker.id,
            state,
            locks,
        })
    }

    /// Returns the root's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the path of the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the state directory.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Checks that what is at the paths of the root, of its volumes and of the
    /// state directory still is what is held here, its lock too, and that all of it
    /// could be synced.
    ///
    /// # Errors
    /// It is not, or it cannot be told: this root must not be used any more.
    pub fn verify(&self) -> Result<(), OpenError> {
        if let Some(why) = self.unsynced.get() {
            return Err(OpenError::Unsynced { path: self.path.clone(), why: why.clone() });
        }
        if dir::identity_at(&self.path)? != Some(self.dir.identity()?) {
            return Err(OpenError::Moved(self.path.clone()));
        }
        if dir::identity_at(self.volumes.path())? != Some(self.volumes.identity()?) {
            return Err(OpenError::NoVolumes(self.path.clone()));
        }
        if !self.state.is_in_place()? {
            return Err(OpenError::StateMoved(self.state.path().to_path_buf()));
        }
        match &*self.locks {
            // A file server that did not hear of this host for long gave its lock away.
            [lock, _, _] => take_lock(lock, &self.dir),
            _ => Ok(()),
        }
    }

    /// Returns the space of the root's file system.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn space(&self) -> Result<Space, Error> {
        self.dir.space()
    }

    /// Returns where the root lies, to look for its mounts. The path is opened
    /// anew: the mount that the held descriptor came by may have been replaced
    /// by another one of the same file system.
    ///
    /// # Errors
    /// `/proc` does not say, or the path is not the root any more.
    pub fn location(&self) -> io::Result<Location> {
        let now = Dir::open(&self.path, None).map_err(io::Error::other)?;
        let identity = |dir: &Dir| dir.identity().map_err(io::Error::other);
        if identity(&now)? != identity(&self.dir)? {
            return Err(io::Error::other(OpenError::Moved(self.path.clone())));
        }
        mountinfo::locate(now.as_fd())
    }

    /// Ends what still runs on this root, as soon as it can be ended.
    pub fn give_up(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Returns whether the root was given up.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns a name for something new in `staging/`.
    pub(super) fn token(&self) -> Result<FileName, Error> {
        FileName::random().map_err(|source| Error {
            op: "getrandom",
            path: self.staging.path().to_path_buf(),
            source,
        })
    }

    /// Makes the renames into or out of `dir` durable. Where that fails, the
    /// root is done for: the kernel may have dropped what it could not write,
    /// and a second sync that succeeds would prove nothing. The kernel tells a
    /// failure to one of those who wait for it, so all of them look here.
    pub(super) fn commit(&self, dir: &Dir) -> Result<(), Error> {
        self.refuse_unsynced(dir)?;
        dir.sync().inspect_err(|error| {
            let _first_stays = self.unsynced.set(error.to_string());
        })?;
        self.refuse_unsynced(dir)
    }

    pub(super) fn refuse_unsynced(&self, dir: &Dir) -> Result<(), Error> {
        match self.unsynced.get() {
            None => Ok(()),
            Some(why) => {
                let source = io::Error::other(format!("not after this: {why}"));
                Err(Error { op: "fsync", path: dir.path().to_path_buf(), source })
            }
        }
    }

    /// Makes what is in `volumes/` durable, whoever put it there.
    ///
    /// # Errors
    /// The disk refuses, and this root is done for.
    pub fn sync_volumes(&self) -> Result<(), Error> {
        self.commit(&self.volumes)
    }

    /// Writes the whole file system to the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync_file_system(&self) -> Result<(), Error> {
        self.dir.sync_file_system()
    }
}

pub(super) fn open_dir(path: &Path, probe: Option<Probe>) -> Result<Dir, OpenError> {
    Dir::open(path, probe).map_err(|error| match error.errno() {
        Some(Errno::ENOENT) => OpenError::Missing(path.to_path_buf()),
        Some(Errno::ENOTDIR) => OpenError::NotADirectory(path.to_path_buf()),
        _ => OpenError::Disk(error),
    })
}

pub(super) fn read_marker(dir: &Dir) -> Result<Option<Marker>, OpenError> {
    let unusable = |why| OpenError::Marker { path: dir.path().to_path_buf(), why };
    match dir.read(MARKER, MARKER_LIMIT) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => Marker::parse(&bytes).map(Some).map_err(unusable),
        Err(error) => Err(unusable(error.source.to_string())),
    }
}

fn accept(settings: &Settings, marker: &Marker, known: Option<String>) -> Result<(), OpenError> {
    let path = settings.path.clone();
    if let Some(known) = known
        && known != marker.id
        && settings.accept.as_ref() != Some(&marker.id)
    {
        return Err(OpenError::Other { path, found: marker.id.clone(), known });
    }
    if marker.scope != settings.scope {
        return Err(OpenError::Scope { path, found: marker.scope, asked: settings.scope });
    }
    Ok(())
}

fn may_make(settings: &Settings, dir: &Dir, known: Option<String>) -> Result<(), OpenError> {
    let path = settings.path.clone();
    if let Some(known) = known {
        return Err(OpenError::Vanished { path, known });
    }
    match settings.init {
        Init::Never => Err(OpenError::Unmarked(path)),
        Init::Auto if is_empty(dir)? => Ok(()),
        Init::Auto => Err(OpenError::Occupied(path)),
    }
}
