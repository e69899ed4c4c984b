//! Extended attributes of open files, as xattr(7) has them.
//!
//! The calls by descriptor refuse one that was opened with `O_PATH`, which is all that
//! can be had of a symbolic link or a device that is not to be touched. Such a node is
//! reached by its name in `/proc/self/fd`, which leads to the node itself and no further.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::process::descriptor_path;

/// Returns the names of the attributes of `fd`; a file system that has none has none of
/// them. Those of `trusted.` are shown to `CAP_SYS_ADMIN` alone.
///
/// # Errors
/// The kernel refuses.
pub fn names(fd: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let path = descriptor_path(fd);
    let list = |buffer: &mut [u8]| {
        let (at, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the kernel writes at most `length` bytes to the buffer.
        let listed = unsafe { libc::flistxattr(fd.as_raw_fd(), at, length) };
        match Errno::result(listed) {
            // SAFETY: as above, and the path ends with NUL.
            Err(Errno::EBADF) => unsafe { libc::listxattr(path.as_ptr(), at, length) },
            _ => listed,
        }
    };
    let bytes = match filled(list) {
        Ok(bytes) => bytes,
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno.into()),
    };
    let names = bytes.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| CString::new(name).expect("split at each NUL")).collect())
}

/// Returns the value of an attribute of `fd`, or `None` where it has none of that name.
///
/// # Errors
/// The kernel refuses.
pub fn value(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = descriptor_path(fd);
    let get = |buffer: &mut [u8]| {
        let (at, length) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the name ends with NUL, and the kernel writes at most `length` bytes.
        let got = unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), at, length) };
        match Errno::result(got) {
            // SAFETY: as above, and the path ends with NUL.
            Err(Errno::EBADF) => unsafe {
                libc::getxattr(path.as_ptr(), name.as_ptr(), at, length)
            },
            _ => got,
        }
    };
    match filled(get) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Errno::ENODATA) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Sets an attribute of `fd`, whether or not it has one of that name.
///
/// # Errors
/// The kernel or the file system refuses: `EPERM` where the driver may not set this
/// one, `EOPNOTSUPP` where the file system has none such.
pub fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (at, length) = (value.as_ptr().cast(), value.len());
    // SAFETY: the name ends with NUL, and the kernel reads `length` bytes of the value.
    let set = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), at, length, 0) };
    let set = match Errno::result(set) {
        Err(Errno::EBADF) => {
            let path = descriptor_path(fd);
            // SAFETY: as above, and the path ends with NUL.
            Errno::result(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), at, length, 0) })
        }
        set => set,
    };
    set.map(drop).map_err(io::Error::from)
}

/// Calls `read` with no room, which says how much is needed, and then with that much;
/// again where it has grown since.
fn filled(read: impl Fn(&mut [u8]) -> isize) -> nix::Result<Vec<u8>> {
    loop {
        let length = |read: isize| {
            Errno::result(read).map(|read| usize::try_from(read).expect("it is no error"))
        };
        let needed = length(read(&mut []))?;
        let mut bytes = vec![0; needed];
        if needed == 0 {
            return Ok(bytes);
        }
        match length(read(&mut bytes)) {
            Ok(read) => {
                bytes.truncate(read);
                return Ok(bytes);
            }
            Err(Errno::ERANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
}
