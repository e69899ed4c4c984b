//! Opening a root: proving that it is ours, the right one, and ours alone.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use nix::errno::Errno;

use super::dir::{self, Dir, Error, Probe, Space};
use super::layout::{FileName, LOCK, LOST_FOUND, MARKER, MARKER_NEW, STAGING, TRASH, VOLUMES};
use super::marker::{FORMAT, Marker, Scope};
use super::state::State;
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
    /// Sees every change of the root before it is made: for tests.
    pub probe: Option<Probe>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a root is not served. Each message names the cause and the cure.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing at the path.
    #[error("root {0} does not exist: mount its disk, or make it with 'dirvol init {0}'")]
    Missing(PathBuf),
    /// There is something else at the path.
    #[error("root {0} is not a directory: give another --root")]
    NotADirectory(PathBuf),
    /// The directory is not a root of ours.
    #[error("root {0} has no {MARKER}: make it a root with 'dirvol init {0}'")]
    Unmarked(PathBuf),
    /// The directory is not a root of ours, and holds something.
    #[error(
        "root {0} has no {MARKER} and is not empty: give an empty directory, or mount the disk \
         that belongs here"
    )]
    Occupied(PathBuf),
    /// The directory is not a root of ours, and one of ours was there before.
    #[error(
        "root {path} has no {MARKER}, and root {known} was served last: mount its disk; or, to \
         begin anew, run 'dirvol init {path}' and accept the id it prints with DIRVOL_ACCEPT_ROOT"
    )]
    Vanished {
        /// Where it was.
        path: PathBuf,
        /// Which it was.
        known: String,
    },
    /// The directory is another root.
    #[error(
        "root {path} is {found}, and {known} was served last: mount the disk of that one, or \
         accept this one with DIRVOL_ACCEPT_ROOT={found}"
    )]
    Other {
        /// Where it is.
        path: PathBuf,
        /// Which is there.
        found: String,
        /// Which was there.
        known: String,
    },
    /// The marker is there and says nothing that can be used.
    #[error("root {path}: {MARKER} cannot be used: {why}: restore it from a copy")]
    Marker {
        /// The root.
        path: PathBuf,
        /// What is wrong with the marker.
        why: String,
    },
    /// The root was made for another scope.
    #[error(
        "root {path} was made for scope {found}, and --scope {asked} is asked for: serve it with \
         --scope {found}, or give another --root",
        found = found.as_str(),
        asked = asked.as_str()
    )]
    Scope {
        /// The root.
        path: PathBuf,
        /// What it was made for.
        found: Scope,
        /// What the settings say.
        asked: Scope,
    },
    /// Another driver serves the root.
    #[error("root {0} is served by another dirvol: stop that one, or give another --root")]
    Busy(PathBuf),
    /// The root has lost the directory of its volumes.
    #[error("root {0} has lost its directory '{VOLUMES}': restore it, or make it if it was empty")]
    NoVolumes(PathBuf),
    /// The root that was held is not at its path any more.
    #[error("root {0} is gone from its path: mount its disk, or move it back")]
    Moved(PathBuf),
    /// A change could not be made durable; what is on the disk is not known.
    #[error("root {path}: {why}; the root is opened anew: see the kernel's log for its disk")]
    Unsynced {
        /// The root.
        path: PathBuf,
        /// What failed.
        why: String,
    },
    /// The disk refuses.
    #[error("{0}: see the kernel's log for this disk, and who may read it")]
    Disk(#[from] Error),
}

/// An open root, held by its lock until it is dropped.
#[derive(Debug)]
pub struct Root {
    pub(super) path: PathBuf,
    pub(super) volumes: Dir,
    pub(super) staging: Dir,
    pub(super) trash: Dir,
    /// Trees in `staging/` that nobody needs and that are still to be deleted.
    pub(super) doomed: Mutex<Vec<FileName>>,
    /// The first sync of `volumes/` or `trash/` that failed.
    unsynced: OnceLock<String>,
    dir: Dir,
    id: String,
    state: State,
    _lock: File,
}

/// Makes the directory at `path` a root, and the directory itself where it is
/// missing, and returns the root's id. A root stays as it is.
///
/// # Errors
/// It is not empty, or served, or the disk refuses; nothing is changed then.
pub fn init(path: &Path, scope: Scope) -> Result<String, OpenError> {
    if matches!(dir::identity_at(path), Ok(None)) && !path.exists() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| Error { op: "mkdir", path: path.to_path_buf(), source })?;
        if let Some(parent) = path.parent() {
            Dir::open(parent, None)?.sync()?;
        }
    }
    let dir = open_dir(path, None)?;
    if let Some(marker) = read_marker(&dir)? {
        return Ok(marker.id);
    }
    if !is_empty(&dir)? {
        return Err(OpenError::Occupied(path.to_path_buf()));
    }
    let _lock = lock(&dir)?;
    make(&dir, scope).map(|marker| marker.id)
}

impl Root {
    /// Opens the root, and makes what was committed before durable. See the
    /// module's documentation for what is left to do after a crash.
    ///
    /// # Errors
    /// Each [`OpenError`]; nothing but the state directory is changed then.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        let path = &settings.path;
        let state = State::open(&settings.state_dir)?;
        let known = state.root_id()?;
        let dir = open_dir(path, settings.probe.clone())?;

        let marker = read_marker(&dir)?;
        match &marker {
            Some(marker) => accept(settings, marker, known)?,
            None => may_make(settings, &dir, known)?,
        }
        let lock = lock(&dir)?;
        let marker = match marker {
            Some(marker) => marker,
            None => make(&dir, settings.scope)?,
        };

        if !dir.has_dir(VOLUMES)? {
            return Err(OpenError::NoVolumes(path.clone()));
        }
        for name in [STAGING, TRASH] {
            if !dir.has_dir(name)? {
                dir.make_dir(name)?;
            }
        }
        let [volumes, staging, trash] = [VOLUMES, STAGING, TRASH]
            .map(|name| dir.open_dir(&FileName::new(name).expect("it is one component")));
        let (volumes, staging, trash) = (volumes?, staging?, trash?);
        volumes.sync()?;
        trash.sync()?;
        state.set_root_id(&marker.id)?;
        let doomed = Mutex::new(staging.dirs()?);
        Ok(Self {
            path: path.clone(),
            volumes,
            staging,
            trash,
            doomed,
            unsynced: OnceLock::new(),
            dir,
            id: marker.id,
            state,
            _lock: lock,
        })
    }

    /// Returns the root's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the state directory.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Checks that what is at the root's path still is what is held here, and
    /// that all of it could be synced.
    ///
    /// # Errors
    /// It is not, or it cannot be told: this root must not be used any more.
    pub fn verify(&self) -> Result<(), OpenError> {
        if let Some(why) = self.unsynced.get() {
            return Err(OpenError::Unsynced { path: self.path.clone(), why: why.clone() });
        }
        if dir::identity_at(&self.path)? == Some(self.dir.identity()?) {
            Ok(())
        } else {
            Err(OpenError::Moved(self.path.clone()))
        }
    }

    /// Returns the space of the root's file system.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn space(&self) -> Result<Space, Error> {
        self.dir.space()
    }

    /// Returns where the root lies, to look for its mounts.
    ///
    /// # Errors
    /// `/proc` does not say.
    pub fn location(&self) -> std::io::Result<Location> {
        use std::os::fd::AsFd;
        mountinfo::locate(self.dir.as_fd())
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
    /// and a second sync that succeeds would prove nothing.
    pub(super) fn commit(&self, dir: &Dir) -> Result<(), Error> {
        dir.sync().inspect_err(|error| {
            let _first_stays = self.unsynced.set(error.to_string());
        })
    }
}

fn open_dir(path: &Path, probe: Option<Probe>) -> Result<Dir, OpenError> {
    Dir::open(path, probe).map_err(|error| match error.errno() {
        Some(Errno::ENOENT) => OpenError::Missing(path.to_path_buf()),
        Some(Errno::ENOTDIR) => OpenError::NotADirectory(path.to_path_buf()),
        _ => OpenError::Disk(error),
    })
}

fn read_marker(dir: &Dir) -> Result<Option<Marker>, OpenError> {
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

/// Takes the root's lock with flock(2), which the kernel gives back however its
/// holder ends.
fn lock(dir: &Dir) -> Result<File, OpenError> {
    let file = dir.open_file(LOCK)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Busy(dir.path().to_path_buf())),
        Err(TryLockError::Error(source)) => {
            Err(Error { op: "flock", path: dir.path().join(LOCK), source }.into())
        }
    }
}

/// Makes an empty directory a root. The marker comes last, so a root that has
/// one is whole; what an interrupted attempt left does not count as something
/// in [`is_empty`].
fn make(dir: &Dir, scope: Scope) -> Result<Marker, OpenError> {
    // Another process may have made it before we had the lock.
    if let Some(marker) = read_marker(dir)? {
        return Ok(marker);
    }
    dir.set_mode(0o700)?;
    for name in [VOLUMES, STAGING, TRASH] {
        if !dir.has_dir(name)? {
            dir.make_dir(name)?;
        }
    }
    let id = crate::sys::random::uuid().map_err(|source| Error {
        op: "getrandom",
        path: dir.path().to_path_buf(),
        source,
    })?;
    let marker = Marker { format: FORMAT, id, scope };
    dir.delete_file(MARKER_NEW)?;
    dir.write_new_synced(MARKER_NEW, &marker.to_bytes())?;
    dir.sync()?;
    dir.replace(MARKER_NEW, MARKER)?;
    dir.sync()?;
    Ok(marker)
}

/// Returns whether there is nothing here but what mkfs or an interrupted
/// [`make`] leaves.
fn is_empty(dir: &Dir) -> Result<bool, Error> {
    let mut empty = true;
    dir.each(|name, _| {
        empty &= match name.to_str() {
            Ok(LOST_FOUND | LOCK | MARKER_NEW) => true,
            Ok(name @ (VOLUMES | STAGING | TRASH)) => {
                let inside = dir.open_dir(&FileName::new(name).expect("it is one component"))?;
                let mut entries = 0;
                inside.each(|_, _| {
                    entries += 1;
                    Ok(())
                })?;
                entries == 0
            }
            _ => false,
        };
        Ok(())
    })?;
    Ok(empty)
}
