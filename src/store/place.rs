//! A directory that lies outside the root, where it is, and that a volume is. It is
//! opened and looked at; nothing of it, and nothing in it, is ever changed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, openat2};
use nix::sys::stat::{Mode, fstat};

use super::dir::{Dir, Identity, Mounts, how};
use super::error::{Error, Result};
use super::layout::{FileName, PLACES, RECORD};
use super::pack::Packing;
use super::root::Root;
use super::volumes::Commit;
use crate::sys::mountinfo::{self, Location};

/// Far more directories than a path has components.
const DEPTH: usize = 4096;

/// Why a directory cannot be a volume, or cannot be used as one now.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// The driver was given no directory below which volumes may lie.
    #[error("this driver allows no directories: start it with --bind-root {}", .0.display())]
    NotAllowed(PathBuf),
    /// It lies elsewhere.
    #[error("{} is below no --bind-root of this driver ({})", .0.display(), shown(.1))]
    Outside(PathBuf, Vec<PathBuf>),
    /// Nothing that is above it can be allowed.
    #[error("{} lies in /, which cannot be a --bind-root: give a directory below it", .0.display())]
    TopLevel(PathBuf),
    /// Volumes may lie below it; without its disk it looks like an empty one itself.
    #[error(
        "{} is a --bind-root: give a directory below it, for that is missing when its disk is not \
         mounted, and is not taken for an empty volume", .0.display()
    )]
    BindRoot(PathBuf),
    /// The directory below which it may lie is not there.
    #[error("{} is missing, which is a --bind-root: mount its disk", .0.display())]
    NoBindRoot(PathBuf),
    /// There is nothing.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    /// There is something else.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// One of its components is a symbolic link.
    #[error("{} goes over a symbolic link: give the path that it leads to", .0.display())]
    Link(PathBuf),
    /// The disk refuses.
    #[error("{0}")]
    Disk(#[from] Error),
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A directory outside the root, held open.
#[derive(Debug)]
pub struct Place {
    fd: OwnedFd,
    path: PathBuf,
}

/// What of the host's files a directory shows, to tell whether two of them share any.
#[derive(Debug, Clone, Default)]
pub struct Footprint {
    path: PathBuf,
    /// The directory itself and those above it. An identity tells of two spellings
    /// that the kernel takes for one, as where case does not matter.
    chain: Vec<Identity>,
    /// Where it lies in its file system, and what is mounted below it. That tells of
    /// one directory that is mounted in two places.
    shown: Vec<Location>,
}

impl Place {
    /// Opens the directory at `path`, which must lie below one of `bind_roots`. Those
    /// were chosen by whoever runs the driver, and symbolic links to them are
    /// followed; none is on the way from there on.
    ///
    /// # Errors
    /// It is not there, or lies elsewhere.
    pub fn open(bind_roots: &[PathBuf], path: &Path) -> std::result::Result<Self, NoPlace> {
        let whole = || path.to_path_buf();
        if bind_roots.iter().any(|root| root == path) {
            return Err(NoPlace::BindRoot(whole()));
        }
        let above = path.parent().filter(|above| above.parent().is_some());
        let above = above.ok_or_else(|| NoPlace::TopLevel(whole()))?;
        if bind_roots.is_empty() {
            return Err(NoPlace::NotAllowed(above.to_path_buf()));
        }
        let below = bind_roots.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
        let (root, below) = below.ok_or_else(|| NoPlace::Outside(whole(), bind_roots.to_vec()))?;
        let dir = match open(root, only_to_look(), Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(NoPlace::NoBindRoot(root.clone())),
            Err(errno) => return Err(failed("open", root, errno).into()),
        };
        match openat2(&dir, below, how(only_to_look(), Mode::empty(), Mounts::Cross)) {
            Ok(fd) => Ok(Self { fd, path: whole() }),
            Err(Errno::ENOENT) => Err(NoPlace::Missing(whole())),
            Err(Errno::ENOTDIR) => Err(NoPlace::NotADirectory(whole())),
            Err(Errno::ELOOP) => Err(NoPlace::Link(whole())),
            Err(errno) => Err(failed("openat2", path, errno).into()),
        }
    }

    /// Returns the directory, to be read.
    pub fn into_dir(self) -> Dir {
        Dir { fd: self.fd, path: self.path, probe: None, shared: false }
    }

    /// Returns where it lies, to look for its mounts.
    ///
    /// # Errors
    /// `/proc` does not say.
    pub fn location(&self) -> io::Result<Location> {
        mountinfo::locate(self.fd.as_fd())
    }

    /// Holds it, to write it as an archive.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn packing(&self) -> Result<Packing> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat2(&self.fd, ".", how(flags, Mode::empty(), Mounts::Cross))
            .map_err(|errno| failed("openat2", &self.path, errno))?;
        Ok(Packing::of(Dir { fd, path: self.path.clone(), probe: None, shared: false }))
    }

    /// Returns what it shows.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn footprint(&self) -> Result<Footprint> {
        Footprint::of(&self.fd, &self.path)
    }
}

impl Footprint {
    /// Returns that of a directory of which only the path is known.
    pub fn of_path(path: &Path) -> Self {
        Self { path: path.to_path_buf(), ..Self::default() }
    }

    /// Returns that of the directory at `path`, which was chosen by whoever runs the
    /// driver.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn at(path: &Path) -> Result<Self> {
        let fd = open(path, only_to_look(), Mode::empty())
            .map_err(|errno| failed("open", path, errno))?;
        Self::of(&fd, path)
    }

    fn of(fd: &OwnedFd, path: &Path) -> Result<Self> {
        let shown = mountinfo::shown(fd.as_fd()).map_err(|source| Error {
            op: "look for mounts of",
            path: path.to_path_buf(),
            source,
        })?;
        let chain = chain(fd).map_err(|errno| failed("openat", path, errno))?;
        Ok(Self { path: path.to_path_buf(), chain, shown })
    }

    /// Returns whether the two are one directory, or one lies in the other, in
    /// whatever way.
    pub fn overlaps(&self, other: &Self) -> bool {
        let holds = |outer: &Self, inner: &Self| {
            inner.path.starts_with(&outer.path)
                || outer.chain.first().is_some_and(|outer| inner.chain.contains(outer))
        };
        holds(self, other)
            || holds(other, self)
            || self.shown.iter().any(|one| other.shown.iter().any(|two| one.overlaps(two)))
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Root {
    /// Creates the volume `name` with nothing but its record: its data lies
    /// elsewhere. All of it, or nothing.
    ///
    /// # Errors
    /// As those of [`Root::create`].
    pub fn create_placed(&self, name: &FileName, record: &[u8]) -> Result<Commit> {
        // First: a name too many is harmless, and one that is missing is not.
        self.note_placed(name)?;
        let staged = self.token()?;
        let built = self.staging.make_dir(staged.as_str()).and_then(|()| {
            let volume = self.staging.open_dir(&staged)?;
            volume.write_new_synced(RECORD, record)?;
            volume.sync()
        });
        self.publish(staged, name, built)
    }

    /// Notes durably that the data of the volume `name` lies elsewhere, so that such
    /// volumes are found without a look into all of them.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn note_placed(&self, name: &FileName) -> Result<()> {
        if !self.dir.has_dir(PLACES)? {
            match self.dir.make_dir(PLACES) {
                // Somebody else was faster.
                Err(error) if error.errno() != Some(Errno::EEXIST) => return Err(error),
                _ => self.commit(&self.dir)?,
            }
        }
        let places = self.dir.open_dir(&places())?;
        if places.modified(name)?.is_none() {
            places.open_file(name.as_str())?;
            self.commit(&places)?;
        }
        Ok(())
    }

    /// Takes the name `name` out of those again. It is not synced: a name too many is
    /// looked at and passed over.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget_placed(&self, name: &FileName) -> Result<()> {
        match self.dir.open_dir(&places()) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
            opened => opened?.delete_file(name),
        }
    }

    /// Returns the names of all volumes whose data lies elsewhere, and perhaps of
    /// some that are gone or were made anew.
    ///
    /// # Errors
    /// The directory of these names cannot be read.
    pub fn placed(&self) -> Result<Vec<FileName>> {
        match self.dir.open_dir(&places()) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
            opened => opened?.names(),
        }
    }
}

fn places() -> FileName {
    FileName::new(PLACES).expect("it is one component")
}

/// Neither to read nor to write: the right to search the directories above is enough.
fn only_to_look() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// Returns which directory `dir` is, and which those above it are, up to `/`.
fn chain(dir: &OwnedFd) -> nix::Result<Vec<Identity>> {
    let mut chain = Vec::new();
    let mut above = dir.try_clone().map_err(|_| Errno::last())?;
    for _ in 0..DEPTH {
        let stat = fstat(&above)?;
        let identity = (stat.st_dev, stat.st_ino);
        if chain.last() == Some(&identity) {
            return Ok(chain);
        }
        chain.push(identity);
        above = openat(&above, "..", only_to_look(), Mode::empty())?;
    }
    Err(Errno::ENAMETOOLONG)
}

fn failed(op: &'static str, path: &Path, errno: Errno) -> Error {
    super::dir::error(op, path, errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of the three ways tells it alone: two spellings of one path differ as text,
    /// two mounts of one directory in what is above them, and two file systems that
    /// hold one another in where they lie.
    #[test]
    fn two_footprints_overlap_as_text_as_identities_or_as_locations() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::create_dir_all(dir.path().join("ab")).unwrap();
        let whole = |below: &str| Footprint::at(&dir.path().join(below)).unwrap();
        let of_path = |below: &str| Footprint::of_path(&dir.path().join(below));
        let of_chain = |below: &str, path: &str| Footprint {
            path: path.into(),
            shown: Vec::new(),
            ..whole(below)
        };
        let of_shown = |below: &str, path: &str| Footprint {
            path: path.into(),
            chain: Vec::new(),
            ..whole(below)
        };
        for (one, two, overlap) in [("a", "a", true), ("a", "a/b", true), ("a", "ab", false)] {
            let pairs = [
                (whole(one), whole(two)),
                (of_path(one), of_path(two)),
                (of_path(one), whole(two)),
                (of_chain(one, "/x"), of_chain(two, "/y")),
                (of_shown(one, "/x"), of_shown(two, "/y")),
            ];
            for (one, two) in pairs {
                assert_eq!(one.overlaps(&two), overlap, "{one:?} {two:?}");
                assert_eq!(two.overlaps(&one), overlap, "{one:?} {two:?}");
            }
        }
    }
}
