//! The way down into a tree, as deep as it is, with few open descriptors.

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::dir::{Dir, Identity, error};
use super::error::{Error, Result};
use super::walk::WALK;

/// How many directories are held at a time: those at the bottom.
const HELD: usize = 64;

/// The directories from the top of a tree to where a walk is. Those far above are
/// closed, and found again by `..` on the way back, where they are known by their
/// identity: a walk takes no stack and no descriptors beyond these, however deep it goes.
#[derive(Debug)]
pub(super) struct Descent(Vec<(Identity, Option<Dir>)>);

impl Descent {
    /// Begins at `top`.
    pub(super) fn new(top: Dir) -> Result<Self> {
        Ok(Self(vec![(top.identity()?, Some(top))]))
    }

    /// Returns the directory where the walk is.
    pub(super) fn here(&self) -> &Dir {
        let (_, dir) = self.0.last().expect("it ends when it leaves the top");
        dir.as_ref().expect("the last one is held")
    }

    /// Goes down to `dir`, which lies in the directory where the walk is.
    pub(super) fn down(&mut self, dir: Dir) -> Result<()> {
        self.0.push((dir.identity()?, Some(dir)));
        if let Some(far) = self.0.len().checked_sub(HELD + 1) {
            self.0[far].1 = None;
        }
        Ok(())
    }

    /// Goes up, and returns whether there is a directory above.
    ///
    /// # Errors
    /// The directory was moved elsewhere meanwhile.
    pub(super) fn up(&mut self) -> Result<bool> {
        let (_, left) = self.0.pop().expect("it ends when it leaves the top");
        let left = left.expect("the last one is held");
        let Some((identity, above)) = self.0.last_mut() else { return Ok(false) };
        if above.is_none() {
            let dir = left.above()?;
            if dir.identity()? != *identity {
                let source = std::io::Error::other("it was moved while it was looked at");
                return Err(Error { op: WALK, path: left.path().to_path_buf(), source });
            }
            *above = Some(dir);
        }
        Ok(true)
    }
}

impl Dir {
    /// Opens the directory that this one lies in. Whoever calls knows which it must be.
    fn above(&self) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = self.path.parent().unwrap_or(&self.path).to_path_buf();
        let fd = openat(&self.fd, "..", flags, Mode::empty())
            .map_err(|errno| error("openat", &path, errno))?;
        Ok(Self { fd, path, probe: self.probe.clone(), shared: false })
    }

    /// Returns the same directory once more.
    pub(super) fn try_clone(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|source| Error {
            op: "dup",
            path: self.path.clone(),
            source,
        })?;
        Ok(Self { fd, path: self.path.clone(), probe: self.probe.clone(), shared: false })
    }
}
