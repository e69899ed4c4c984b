//! Project quota: which project a directory belongs to, and what a project may use.
//!
//! The attributes are those of ioctl_fsgetxattr(2), the limits those of quotactl(2),
//! called by descriptor (Linux 5.14), so that no device has to be named.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::libc::{self, c_int, c_long, c_uint, dqblk};

/// What a project may use, or uses. Zero as a limit is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes; a limit is rounded up to whole KiB.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// What the kernel knows of a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// What it uses.
    pub used: Amount,
    /// What it may use.
    pub limit: Amount,
}

/// `struct fsxattr` of <linux/fs.h>.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// What is new in a directory belongs to the directory's project.
const INHERIT: u32 = 0x200;
/// `PRJQUOTA`
const PROJECT: c_int = 2;
/// `FS_QUOTA_PDQ_ENFD`: limits of projects are enforced.
const ENFORCED: u16 = 1 << 5;
/// `Q_XGETQSTAT`
const STATE: c_int = 0x5805;
/// The unit of a limit in bytes.
const BLOCK: u64 = 1024;

mod ioctl {
    use super::Attributes;

    nix::ioctl_read!(
        /// `FS_IOC_FSGETXATTR`
        get_attributes,
        b'X',
        31,
        Attributes
    );
    nix::ioctl_write_ptr!(
        /// `FS_IOC_FSSETXATTR`
        set_attributes,
        b'X',
        32,
        Attributes
    );
}

/// Returns whether the file system of `fd` enforces limits of projects. Needs no
/// capability. A kernel or a file system that does not know them does not.
pub fn is_enforced(fd: BorrowedFd<'_>) -> bool {
    // `struct fs_quota_stat` of <linux/dqblk_xfs.h> has 80 bytes; its flags are the
    // second field, at byte 2.
    let mut state = [0u64; 16];
    // SAFETY: the kernel writes at most 80 bytes, and there are 128.
    let known = unsafe { quotactl(fd, STATE, 0, state.as_mut_ptr().cast()) };
    let [_, _, low, high, ..] = state[0].to_ne_bytes();
    known.is_ok() && u16::from_ne_bytes([low, high]) & ENFORCED != 0
}

/// Returns the project that the file or directory `fd` belongs to; 0 is none.
///
/// # Errors
/// The file system has no projects, or the kernel refuses.
pub fn project(fd: BorrowedFd<'_>) -> io::Result<u32> {
    attributes(fd).map(|attributes| attributes.project)
}

/// Puts the file or directory `fd` into `project`; what is made later in a directory
/// whose project is to be inherited belongs to it too. Needs the file's owner or `CAP_FOWNER`.
///
/// # Errors
/// The file system has no projects, or the kernel refuses.
pub fn set_project(fd: BorrowedFd<'_>, project: u32, inherit: bool) -> io::Result<()> {
    let now = attributes(fd)?;
    let flags = if inherit { now.flags | INHERIT } else { now.flags & !INHERIT };
    let then = Attributes { project, flags, ..now };
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::set_attributes(fd.as_raw_fd(), &raw const then) }?;
    Ok(())
}

/// Returns what `project` uses and may use on the file system of `fd`. Needs
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// There is no project quota, or the kernel refuses.
pub fn account(fd: BorrowedFd<'_>, project: u32) -> io::Result<Account> {
    // SAFETY: all bits zero is a value of this structure of integers.
    let mut found: dqblk = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes one `struct if_dqblk`, which has this layout.
    match unsafe { quotactl(fd, libc::Q_GETQUOTA, project, (&raw mut found).cast()) } {
        Ok(()) => Ok(Account {
            used: Amount { bytes: found.dqb_curspace, inodes: found.dqb_curinodes },
            limit: Amount {
                bytes: found.dqb_bhardlimit.saturating_mul(BLOCK),
                inodes: found.dqb_ihardlimit,
            },
        }),
        // xfs, of a project that nothing belonged to yet.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(Account::default()),
        Err(error) => Err(error),
    }
}

/// Sets what `project` may use on the file system of `fd`. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// There is no project quota, or the kernel refuses.
pub fn set_limit(fd: BorrowedFd<'_>, project: u32, limit: Amount) -> io::Result<()> {
    // SAFETY: all bits zero is a value of this structure of integers.
    let mut wanted: dqblk = unsafe { mem::zeroed() };
    wanted.dqb_bhardlimit = limit.bytes.div_ceil(BLOCK);
    wanted.dqb_bsoftlimit = wanted.dqb_bhardlimit;
    wanted.dqb_ihardlimit = limit.inodes;
    wanted.dqb_isoftlimit = limit.inodes;
    wanted.dqb_valid = libc::QIF_LIMITS;
    // SAFETY: the kernel reads one `struct if_dqblk`, which has this layout.
    unsafe { quotactl(fd, libc::Q_SETQUOTA, project, (&raw mut wanted).cast()) }
}

fn attributes(fd: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut found = Attributes::default();
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::get_attributes(fd.as_raw_fd(), &raw mut found) }?;
    Ok(found)
}

/// quotactl_fd(2) on projects.
///
/// # Safety
/// `data` is what the command reads or writes.
unsafe fn quotactl(
    fd: BorrowedFd<'_>,
    command: c_int,
    project: u32,
    data: *mut libc::c_void,
) -> io::Result<()> {
    let command = (command << 8) | PROJECT;
    // SAFETY: the caller vouches for `data`; the kernel checks the rest.
    let done: c_long = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            fd.as_fd().as_raw_fd(),
            command.cast_unsigned() as c_uint,
            project,
            data,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
