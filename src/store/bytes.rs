//! Copying what is in a file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, copy_file_range, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Whence, ftruncate, lseek};

use crate::sys::process::descriptor_path;
use crate::sys::sharing::reflink;

/// How many bytes are copied before it is looked whether to go on.
const CHUNK: usize = 8 << 20;

/// How many are held in memory, where the kernel does not copy them by itself.
const BUFFER: usize = 256 << 10;

/// What has become of the bytes of all files so far.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    /// Whether the file system is known to share none.
    no_sharing: bool,
    shared: bool,
    copied: bool,
}

impl Bytes {
    /// Returns whether there were bytes, and all of them are shared.
    pub(super) fn were_shared(&self) -> bool {
        self.shared && !self.copied
    }

    /// Fills the new file `to` with the `size` bytes of `from`: shared where that can be,
    /// else copied, and holes stay holes. `look` is told how many bytes that were as they
    /// are done, and ends it with an error.
    pub(super) fn copy(
        &mut self,
        from: &File,
        to: &File,
        size: i64,
        look: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        if !self.no_sharing {
            match reflink(from.as_fd(), to.as_fd()) {
                Ok(()) => {
                    self.shared = true;
                    return look(size.cast_unsigned());
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EXDEV) => {
                        self.no_sharing = true;
                    }
                    // Not these two: on btrfs, one of them may not be copied on write.
                    Some(Errno::EINVAL) => {}
                    _ => return Err(error),
                },
            }
        }
        self.copied = true;
        ftruncate(to, size)?;
        let mut at = 0;
        while at < size {
            at = match lseek(from, at, Whence::SeekData) {
                Ok(data) => data,
                Err(Errno::ENXIO) => break,
                // It cannot tell: all of it is bytes.
                Err(Errno::EINVAL) => at,
                Err(errno) => return Err(errno.into()),
            };
            let hole = lseek(from, at, Whence::SeekHole).unwrap_or(size).min(size);
            while at < hole {
                let length = usize::try_from(hole - at).map_or(CHUNK, |left| left.min(CHUNK));
                let copied = copy_some(from, to, at, length)?;
                if copied == 0 {
                    // Somebody has made it shorter.
                    return Ok(());
                }
                at += i64::try_from(copied).expect("no longer than a chunk");
                look(copied as u64)?;
            }
        }
        Ok(())
    }
}

/// Copies at most `length` bytes at `at`, and returns how many; none is the end.
fn copy_some(from: &File, to: &File, at: i64, length: usize) -> io::Result<usize> {
    let (mut source, mut target) = (at, at);
    match copy_file_range(from, Some(&mut source), to, Some(&mut target), length) {
        Err(Errno::EOPNOTSUPP | Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS) => {
            let mut buffer = vec![0; length.min(BUFFER)];
            let read = from.read_at(&mut buffer, at.cast_unsigned())?;
            to.write_all_at(&buffer[..read], at.cast_unsigned())?;
            Ok(read)
        }
        copied => Ok(copied?),
    }
}

/// Opens the regular file that `place` is for reading, and leaves the time of its last
/// reading as it is where that can be had.
pub(super) fn reopen(place: &OwnedFd) -> nix::Result<File> {
    let path = descriptor_path(place.as_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let open = |flags| openat(AT_FDCWD, path.as_c_str(), flags, Mode::empty());
    let opened = match open(flags | OFlag::O_NOATIME) {
        // It is somebody else's file.
        Err(Errno::EPERM) => open(flags),
        opened => opened,
    };
    opened.map(File::from)
}
