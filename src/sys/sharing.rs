//! Copies that share their bytes with their original: ioctl_ficlone(2), and what a
//! snapshot of btrfs leaves out.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct btrfs_ioctl_get_subvol_rootref_args`
#[repr(C)]
struct Inside {
    from: u64,
    found: [[u64; 2]; 255],
    count: u8,
    unused: [u8; 7],
}

// The kernel's size is part of the request's number.
const _: () = assert!(size_of::<Inside>() == 4096);

mod ioctl {
    use super::Inside;

    nix::ioctl_write_int!(
        /// `FICLONE`
        clone,
        0x94,
        9
    );
    nix::ioctl_readwrite!(
        /// `BTRFS_IOC_GET_SUBVOL_ROOTREF`
        inside,
        0x94,
        61,
        Inside
    );
}

/// Makes the file `to` hold what `from` does, without copying a byte: both share them
/// until one is written to. Holes stay holes.
///
/// # Errors
/// The file system cannot do that (`EOPNOTSUPP`, `ENOTTY`), they lie on two of them
/// (`EXDEV`), it cannot for these two (`EINVAL`), or the disk refuses.
pub fn reflink(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let from = from.as_raw_fd().try_into().expect("a descriptor is not negative");
    // SAFETY: the argument is a descriptor that is open, and the kernel checks the rest.
    unsafe { ioctl::clone(to.as_raw_fd(), from) }?;
    Ok(())
}

/// Returns whether the subvolume of btrfs that `fd` lies in has others in it, which a
/// snapshot leaves out. Needs no capability (Linux 4.18).
///
/// # Errors
/// The file system is not btrfs (`ENOTTY`), or the kernel refuses.
pub fn has_subvolumes(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut args = Box::new(Inside { from: 0, found: [[0; 2]; 255], count: 0, unused: [0; 7] });
    // SAFETY: the structure has the kernel's layout and lives through the call.
    match unsafe { ioctl::inside(fd.as_raw_fd(), &raw mut *args) } {
        // There are more than it has room for.
        Err(nix::errno::Errno::EOVERFLOW) => Ok(true),
        done => Ok(done.map(|_| args.count > 0)?),
    }
}
