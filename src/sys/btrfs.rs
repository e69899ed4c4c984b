//! Subvolumes of btrfs, as <linux/btrfs.h> describes them.
//!
//! A subvolume is a directory that can be copied in an instant, and that has a quota
//! group of its own where the file system has quotas (see [`super::qgroup`]). Names
//! here are single components, of at most 255 bytes as everywhere in a directory; the
//! structures would hold more (4,039 and 4,087).

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::c_int;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};

use super::xattr;

/// `BTRFS_FIRST_FREE_OBJECTID`: the inode of every subvolume's own directory.
const TOP: u64 = 256;
/// `BTRFS_SUBVOL_RDONLY`
const READ_ONLY: u64 = 1 << 1;
/// `FS_NOCOW_FL` of <linux/fs.h>, which `chattr +C` sets.
const NO_COPY: c_int = 0x0080_0000;
/// The attribute that `btrfs property set DIR compression` sets.
const COMPRESSION: &CStr = c"btrfs.compression";

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`
#[repr(C)]
struct NamedV2 {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_ino_lookup_args`
#[repr(C)]
struct Lookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

// The kernel's sizes are part of the requests' numbers: another one would be another
// request.
const _: () = {
    assert!(size_of::<Named>() == 4096);
    assert!(size_of::<NamedV2>() == 4096);
    assert!(size_of::<Lookup>() == 4096);
};

mod ioctl {
    use nix::libc::{c_int, c_long};

    use super::{Lookup, Named, NamedV2};

    const MAGIC: u8 = 0x94;

    nix::ioctl_read_bad!(
        /// `FS_IOC_GETFLAGS`
        get_attributes,
        nix::request_code_read!(b'f', 1, size_of::<c_long>()),
        c_int
    );
    nix::ioctl_write_ptr_bad!(
        /// `FS_IOC_SETFLAGS`
        set_attributes,
        nix::request_code_write!(b'f', 2, size_of::<c_long>()),
        c_int
    );

    nix::ioctl_none!(
        /// `BTRFS_IOC_SYNC`
        sync,
        0x94,
        8
    );

    nix::ioctl_write_ptr!(
        /// `BTRFS_IOC_SNAP_DESTROY`
        destroy,
        MAGIC,
        15,
        Named
    );
    nix::ioctl_readwrite!(
        /// `BTRFS_IOC_INO_LOOKUP`
        lookup,
        MAGIC,
        18,
        Lookup
    );
    nix::ioctl_write_ptr!(
        /// `BTRFS_IOC_SNAP_CREATE_V2`
        snapshot,
        MAGIC,
        23,
        NamedV2
    );
    nix::ioctl_write_ptr!(
        /// `BTRFS_IOC_SUBVOL_CREATE_V2`
        create,
        MAGIC,
        24,
        NamedV2
    );
    nix::ioctl_read!(
        /// `BTRFS_IOC_SUBVOL_GETFLAGS`
        get_flags,
        MAGIC,
        25,
        u64
    );
    nix::ioctl_write_ptr!(
        /// `BTRFS_IOC_SUBVOL_SETFLAGS`
        set_flags,
        MAGIC,
        26,
        u64
    );
}

/// Has the kernel free now what is left of deleted subvolumes, which it does in the
/// background and else within half a minute. It waits for what is to be written, but
/// not for that.
///
/// # Errors
/// It is no btrfs, or the disk refuses.
pub fn free_deleted(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes no argument.
    unsafe { ioctl::sync(fd.as_raw_fd()) }?;
    Ok(())
}

/// Returns whether `fd` is on btrfs. What cannot be asked is not.
pub fn is_btrfs(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|found| found.filesystem_type() == BTRFS_SUPER_MAGIC)
}

/// Returns whether the directory `fd` is a subvolume's own, and not one in it.
///
/// # Errors
/// fstat(2) fails.
pub fn is_subvolume(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(nix::sys::stat::fstat(fd)?.st_ino == TOP && is_btrfs(fd))
}

/// Makes the empty subvolume `name` in the directory `parent`, owned by the process and
/// with the mode 0777 less its umask. Needs what mkdir(2) needs.
///
/// # Errors
/// The file system is not btrfs (`ENOTTY`), something is there (`EEXIST`), or the kernel
/// refuses.
pub fn create_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let args = named_v2(0, name)?;
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::create(parent.as_raw_fd(), &raw const *args) }?;
    Ok(())
}

/// Gives the new subvolume `child` what a directory inherits from the one that it is
/// made in, `parent`, and a subvolume does not: that files are written in place
/// (`chattr +C`, as people set it for databases), and how they are compressed.
///
/// # Errors
/// The kernel refuses.
pub fn inherit(parent: BorrowedFd<'_>, child: BorrowedFd<'_>) -> io::Result<()> {
    let flags = |fd: BorrowedFd<'_>| {
        let mut flags: c_int = 0;
        // SAFETY: the kernel writes one int, whatever the request's number says.
        unsafe { ioctl::get_attributes(fd.as_raw_fd(), &raw mut flags) }.map(|_| flags)
    };
    if flags(parent)? & NO_COPY != 0 {
        let flags = flags(child)? | NO_COPY;
        // SAFETY: the kernel reads one int, whatever the request's number says.
        unsafe { ioctl::set_attributes(child.as_raw_fd(), &raw const flags) }?;
    }
    match xattr::value(parent, COMPRESSION)? {
        Some(value) => xattr::set(child, COMPRESSION, &value),
        None => Ok(()),
    }
}

/// Copies the subvolume `source` to `name` in the directory `parent` of the same file
/// system, in an instant and as it is at one moment; the copy can be written to. What
/// is in subvolumes inside of it is not copied: empty directories stand in for them.
/// Needs the owner of `source`, or `CAP_FOWNER`.
///
/// # Errors
/// `source` is no subvolume (`EINVAL`), lies on another file system (`EXDEV`), something
/// is there (`EEXIST`), or the kernel refuses.
pub fn snapshot(source: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let args = named_v2(source.as_raw_fd().into(), name)?;
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::snapshot(parent.as_raw_fd(), &raw const *args) }?;
    Ok(())
}

/// Deletes the subvolume `name` in the directory `parent` with all that is in it, in an
/// instant; the kernel frees its space in the background. What is mounted inside of it
/// is unmounted. Needs `CAP_SYS_ADMIN`, or the mount option `user_subvol_rm_allowed`.
///
/// # Errors
/// It is no subvolume (`ENOTDIR`, or `EINVAL`), another subvolume is in it
/// (`ENOTEMPTY`), it may not be done (`EPERM`), or the kernel refuses.
pub fn destroy(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut args = Box::new(Named { fd: 0, name: [0; 4088] });
    put(&mut args.name, name)?;
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::destroy(parent.as_raw_fd(), &raw const *args) }?;
    Ok(())
}

/// Makes the subvolume `fd` one that can be written to. Needs its owner, or
/// `CAP_FOWNER`.
///
/// # Errors
/// It is no subvolume (`EINVAL`), or the kernel refuses.
pub fn make_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut flags = 0u64;
    // SAFETY: the kernel writes one u64.
    unsafe { ioctl::get_flags(fd.as_raw_fd(), &raw mut flags) }?;
    if flags & READ_ONLY != 0 {
        flags &= !READ_ONLY;
        // SAFETY: the kernel reads one u64.
        unsafe { ioctl::set_flags(fd.as_raw_fd(), &raw const flags) }?;
    }
    Ok(())
}

/// Returns the id of the subvolume that `fd` lies in. It is never given to another
/// subvolume of the file system, also when this one is gone. Needs no capability.
///
/// # Errors
/// The file system is not btrfs (`ENOTTY`), or the kernel refuses.
pub fn subvolume_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut args = Box::new(Lookup { tree: 0, object: TOP, name: [0; 4080] });
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::lookup(fd.as_raw_fd(), &raw mut *args) }?;
    Ok(args.tree)
}

fn named_v2(fd: i64, name: &CStr) -> io::Result<Box<NamedV2>> {
    let mut args = NamedV2 { fd, transaction: 0, flags: 0, unused: [0; 4], name: [0; 4040] };
    put(&mut args.name, name)?;
    Ok(Box::new(args))
}

/// Writes a name with its end into the field of a structure.
fn put(field: &mut [u8], name: &CStr) -> io::Result<()> {
    let bytes = name.to_bytes_with_nul();
    let place = field.get_mut(..bytes.len()).ok_or(Errno::ENAMETOOLONG)?;
    place.copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::libc;

    use super::*;

    #[test]
    fn what_is_not_on_btrfs_is_told_from_what_is() {
        let proc = File::open("/proc").unwrap();
        assert!(!is_btrfs(proc.as_fd()));
        assert!(!is_subvolume(proc.as_fd()).unwrap());
        let error = subvolume_id(proc.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn a_name_that_is_too_long_for_its_structure_is_refused() {
        let proc = File::open("/proc").unwrap();
        let name = std::ffi::CString::new(vec![b'a'; 4040]).unwrap();
        let error = create_subvolume(proc.as_fd(), &name).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    }
}
