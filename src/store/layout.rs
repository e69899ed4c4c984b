//! The names of files: the only code that knows them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::NixPath;

pub(super) const MARKER: &str = "dirvol.json";
pub(super) const MARKER_NEW: &str = "dirvol.json.new";
pub(super) const LOCK: &str = "lock";
pub(super) const VOLUMES: &str = "volumes";
pub(super) const ADOPTING: &str = "adopting";
pub(super) const STAGING: &str = "staging";
pub(super) const TRASH: &str = "trash";
pub(super) const RECORD: &str = "volume.json";
pub(super) const RECORD_NEW: &str = "volume.json.new";
pub(super) const PLACES: &str = "places";
pub(super) const DATA: &str = "data";
pub(super) const ROOT_ID: &str = "root-id";
pub(super) const ROOT_ID_NEW: &str = "root-id.new";
pub(super) const SEEN: &str = "seen";
pub(super) const NODES: &str = "nodes";
pub(super) const HOLDERS: &str = "holders";
/// mkfs leaves it at the top of an ext file system: such a root is still empty.
pub(super) const LOST_FOUND: &str = "lost+found";

/// Between the parts of a trash entry's name. It cannot occur in a volume's name.
const SEPARATOR: char = '~';

/// One component of a path: not empty, at most 255 bytes, without `/` and NUL,
/// and neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// Returns the name, or `None` where `name` is not one component of a path.
    pub fn new(name: &str) -> Option<Self> {
        let whole = !name.is_empty() && name.len() <= 255 && name != "." && name != "..";
        (whole && !name.contains(['/', '\0'])).then(|| Self(name.to_owned()))
    }

    /// Returns a name that nobody else has.
    pub(super) fn random() -> std::io::Result<Self> {
        crate::sys::random::token().map(Self)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NixPath for FileName {
    fn is_empty(&self) -> bool {
        false
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn with_nix_path<T, F>(&self, f: F) -> nix::Result<T>
    where
        F: FnOnce(&std::ffi::CStr) -> T,
    {
        self.0.as_str().with_nix_path(f)
    }
}

/// The name of an entry of the trash: `<name>~<seconds>~<token>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashName {
    file: FileName,
    volume: FileName,
    removed: SystemTime,
}

impl TrashName {
    /// Names a new entry for `volume`, removed at that time.
    ///
    /// # Errors
    /// The kernel gives no random bytes, or the name would be too long for a file.
    pub fn new(volume: &FileName, removed: SystemTime) -> std::io::Result<Self> {
        let now = removed.duration_since(UNIX_EPOCH).unwrap_or_default();
        let token = FileName::random()?;
        let name = format!("{volume}{SEPARATOR}{}{SEPARATOR}{token}", now.as_secs());
        Self::parse(&name).ok_or_else(|| std::io::Error::other(format!("cannot name {name}")))
    }

    /// Reads the name of an entry, or returns `None` where it is not one of ours.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split(SEPARATOR);
        let (volume, seconds, token) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || token.is_empty() {
            return None;
        }
        Some(Self {
            file: FileName::new(name)?,
            volume: FileName::new(volume)?,
            removed: UNIX_EPOCH.checked_add(Duration::from_secs(seconds.parse().ok()?))?,
        })
    }

    /// Returns the entry's file name.
    pub fn file(&self) -> &FileName {
        &self.file
    }

    /// Returns the name that the volume had.
    pub fn volume(&self) -> &FileName {
        &self.volume
    }

    /// Returns when the volume was removed, in whole seconds.
    pub fn removed(&self) -> SystemTime {
        self.removed
    }
}

/// Returns what containers are given of `volume` in the root at `root`.
pub fn mountpoint(root: &Path, volume: &FileName) -> PathBuf {
    root.join(VOLUMES).join(volume.as_str()).join(DATA)
}

/// Returns where a directory is to be moved to that becomes a volume of the root at `root`.
pub fn adopting(root: &Path, token: &FileName) -> PathBuf {
    root.join(ADOPTING).join(token.as_str())
}

/// Returns where the data is below a volume's directory, or one that becomes a volume.
pub fn data_in(volume: &Path) -> PathBuf {
    volume.join(DATA)
}

/// Returns a volume's data directory, relative to the root.
pub fn volume_data(volume: &FileName) -> PathBuf {
    mountpoint(Path::new(""), volume)
}

/// Returns the volume in which `path`, relative to the root, lies.
pub fn volume_of(path: &Path) -> Option<FileName> {
    let mut parts = path.strip_prefix(VOLUMES).ok()?.components();
    FileName::new(parts.next()?.as_os_str().to_str()?)
}

/// Returns the data directory of an entry of the trash, relative to the root.
pub fn trash_data(entry: &TrashName) -> PathBuf {
    Path::new(TRASH).join(entry.file.as_str()).join(DATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_one_component() {
        for good in ["a", "a.b", "...", "a b", "ü", &"x".repeat(255)] {
            assert_eq!(FileName::new(good).map(|n| n.to_string()), Some(good.to_owned()));
        }
        for bad in ["", ".", "..", "/", "a/b", "../a", "a\0b", &"x".repeat(256)] {
            assert_eq!(FileName::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_trash_name_is_read_back_as_it_was_written() {
        let volume = FileName::new("db-1.data_x").unwrap();
        let entry = TrashName::new(&volume, SystemTime::now()).unwrap();
        assert_eq!(TrashName::parse(entry.file().as_str()), Some(entry.clone()));
        assert_eq!(entry.volume(), &volume);
        assert!(entry.removed().elapsed().unwrap() < Duration::from_secs(60));
    }

    #[test]
    fn a_trash_name_of_somebody_else_is_passed_over() {
        for bad in ["", "a", "a~1", "a~1~", "a~x~y", "~1~y", "a~1~y~z", "a~-1~y", "..~1~"] {
            assert_eq!(TrashName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_longest_volume_name_still_fits_into_the_trash() {
        assert!(
            TrashName::new(&FileName::new(&"x".repeat(200)).unwrap(), SystemTime::now()).is_ok()
        );
    }
}
