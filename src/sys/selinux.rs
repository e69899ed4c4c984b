//! SELinux, as far as files of containers are concerned: selinux(8), and the label
//! that xattr(7) keeps of a file.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;

/// Where the kernel says whether it enforces: the file is there where SELinux is on.
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// The attribute that holds a file's label.
const LABEL: &std::ffi::CStr = c"security.selinux";

/// The label of what all containers may use.
pub const CONTAINER_FILE: &str = "system_u:object_r:container_file_t:s0";

/// The part of it that decides: containers of one's own have levels behind it.
pub const CONTAINER_TYPE: &str = "container_file_t";

/// What SELinux does on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// There is none.
    Off,
    /// It tells of what it would refuse.
    Permissive,
    /// It refuses.
    Enforcing,
}

/// Returns whether there is SELinux, as it was when it was asked first: that changes
/// with a boot alone.
pub fn is_on() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| mode() != Mode::Off)
}

/// Returns what SELinux does now.
pub fn mode() -> Mode {
    match fs::read_to_string(ENFORCE) {
        Ok(text) if text.trim() == "1" => Mode::Enforcing,
        Ok(_) => Mode::Permissive,
        Err(_) => Mode::Off,
    }
}

/// Returns the label of an open file, or `None` where it has none.
///
/// # Errors
/// The file system does not say, or has no labels.
pub fn label(file: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let mut bytes = [0u8; 256];
    // SAFETY: the name ends with NUL, and the kernel writes at most `len` bytes to
    // the buffer, which is that long.
    let read = unsafe {
        let buffer = bytes.as_mut_ptr().cast();
        libc::fgetxattr(file.as_raw_fd(), LABEL.as_ptr(), buffer, bytes.len())
    };
    match Errno::result(read) {
        Ok(length) => {
            let length = usize::try_from(length).expect("a length that is no error");
            let text = String::from_utf8_lossy(&bytes[..length]);
            Ok(Some(text.trim_end_matches('\0').to_owned()))
        }
        Err(Errno::ENODATA) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Labels an open file.
///
/// # Errors
/// The kernel or the file system refuses.
pub fn set_label(file: BorrowedFd<'_>, label: &str) -> io::Result<()> {
    // SAFETY: the name ends with NUL, and the kernel reads `len` bytes of the label,
    // which is that long.
    let set = unsafe {
        let (value, length) = (label.as_ptr().cast(), label.len());
        libc::fsetxattr(file.as_raw_fd(), LABEL.as_ptr(), value, length, 0)
    };
    Errno::result(set).map(drop).map_err(io::Error::from)
}
