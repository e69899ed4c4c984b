//! Subvolumes of btrfs and their quota groups, as <linux/btrfs.h> describes them.
//!
//! A subvolume is a directory that can be copied in an instant, and that has a quota
//! group of its own where the file system has quotas: `0/<id of the subvolume>`. Names
//! here are single components, of at most 255 bytes as everywhere in a directory; the
//! structures would hold more (4,039 and 4,087).

use std::ffi::CStr;
use std::io;
use std::mem::{self, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};

/// `BTRFS_FIRST_FREE_OBJECTID`: the inode of every subvolume's own directory.
const TOP: u64 = 256;
/// `BTRFS_QUOTA_TREE_OBJECTID`: the tree that keeps the quota groups.
const QUOTA_TREE: u64 = 8;
/// `BTRFS_SUBVOL_RDONLY`
const READ_ONLY: u64 = 1 << 1;
/// `BTRFS_QGROUP_STATUS_FLAG_ON`
const ON: u64 = 1;
/// `BTRFS_QGROUP_LIMIT_MAX_RFER`: the limit is of what the subvolume refers to,
/// whether or not it shares that with others.
const MAX_REFERENCED: u64 = 1;
/// As a limit, this takes the limit away (`CLEAR_VALUE` in fs/btrfs/qgroup.c).
const NO_LIMIT: u64 = u64::MAX;

/// The kinds of items in [`QUOTA_TREE`], each with the key (0, kind, group).
mod item {
    /// `BTRFS_QGROUP_STATUS_KEY`: version, generation, flags, of all groups.
    pub(super) const STATUS: u32 = 240;
    /// `BTRFS_QGROUP_INFO_KEY`: generation, referenced, exclusive.
    pub(super) const INFO: u32 = 242;
    /// `BTRFS_QGROUP_LIMIT_KEY`: flags, of what is referenced, of what is exclusive.
    pub(super) const LIMIT: u32 = 244;
}

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

/// `struct btrfs_ioctl_search_args`, whose first 104 bytes are a
/// `struct btrfs_ioctl_search_key`: everything from one key to another.
#[repr(C)]
struct Search {
    tree: u64,
    object: [u64; 2],
    offset: [u64; 2],
    transaction: [u64; 2],
    kind: [u32; 2],
    items: u32,
    unused: [u32; 9],
    found: Found,
    rest: [u8; 3888],
}

/// `struct btrfs_ioctl_search_header`, and the first 72 bytes of its item.
#[repr(C)]
#[derive(Clone, Copy)]
struct Found {
    transaction: u64,
    object: u64,
    offset: u64,
    kind: u32,
    length: u32,
    item: [u64; 9],
}

/// `struct btrfs_ioctl_qgroup_limit_args`
#[repr(C)]
#[derive(Default)]
struct Limit {
    group: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// `struct btrfs_ioctl_qgroup_create_args`
#[repr(C)]
struct Make {
    make: u64,
    group: u64,
}

// The kernel's sizes are part of the requests' numbers: another one would be another
// request.
const _: () = {
    assert!(size_of::<Named>() == 4096);
    assert!(size_of::<NamedV2>() == 4096);
    assert!(size_of::<Lookup>() == 4096);
    assert!(size_of::<Search>() == 4096);
    assert!(mem::offset_of!(Search, found) == 104);
    assert!(mem::offset_of!(Found, item) == 32);
    assert!(size_of::<Limit>() == 48);
    assert!(size_of::<Make>() == 16);
};

mod ioctl {
    use super::{Limit, Lookup, Make, Named, NamedV2, Search};

    const MAGIC: u8 = 0x94;

    nix::ioctl_write_ptr!(
        /// `BTRFS_IOC_SNAP_DESTROY`
        destroy,
        MAGIC,
        15,
        Named
    );
    nix::ioctl_readwrite!(
        /// `BTRFS_IOC_TREE_SEARCH`
        search,
        MAGIC,
        17,
        Search
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
    nix::ioctl_write_ptr!(
        /// `BTRFS_IOC_QGROUP_CREATE`
        make_group,
        MAGIC,
        42,
        Make
    );
    nix::ioctl_read!(
        /// `BTRFS_IOC_QGROUP_LIMIT`, which the kernel reads, whatever its number says.
        limit_group,
        MAGIC,
        43,
        Limit
    );
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

/// Returns whether the file system of `fd` counts what is in its subvolumes
/// (`btrfs quota enable`, with or without `--simple`). Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// The file system is not btrfs (`ENOTTY`), it may not be asked (`EPERM`), or the kernel
/// refuses.
pub fn has_quotas(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let status = find(fd, item::STATUS, 0)?;
    Ok(status.is_some_and(|[_version, _generation, flags, ..]| flags & ON != 0))
}

/// Returns how many bytes the subvolume `id` refers to, with its metadata, as they were
/// at the last commit of the file system, which is at most 30 s ago unless the mount
/// option `commit` says otherwise; or `None` where nothing is counted. Needs
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// As those of [`has_quotas`].
pub fn usage(fd: BorrowedFd<'_>, id: u64) -> io::Result<Option<u64>> {
    let info = find(fd, item::INFO, id)?;
    Ok(info.map(|[_generation, referenced, ..]| referenced))
}

/// Returns how many bytes the subvolume `id` may refer to, if there is a limit. Needs
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// As those of [`has_quotas`].
pub fn limit(fd: BorrowedFd<'_>, id: u64) -> io::Result<Option<u64>> {
    let limit = find(fd, item::LIMIT, id)?;
    Ok(limit.and_then(|[flags, max, ..]| (flags & MAX_REFERENCED != 0).then_some(max)))
}

/// Sets how many bytes the subvolume `id` may refer to, or that it may any number. Needs
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// There are no quotas (`ENOTCONN`), or no such subvolume (`ENOENT`), or the kernel
/// refuses.
pub fn set_limit(fd: BorrowedFd<'_>, id: u64, bytes: Option<u64>) -> io::Result<()> {
    let mut args = Limit {
        group: id,
        flags: MAX_REFERENCED,
        max_referenced: bytes.unwrap_or(NO_LIMIT),
        ..Limit::default()
    };
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::limit_group(fd.as_raw_fd(), &raw mut args) }?;
    Ok(())
}

/// Removes the quota group of the subvolume `id`, which is gone. Newer kernels do that
/// by themselves. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// There are no quotas (`ENOTCONN`), no such group (`ENOENT`), the subvolume's space is
/// still being freed (`EBUSY`), or the kernel refuses.
pub fn remove_group(fd: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let args = Make { make: 0, group: id };
    // SAFETY: the structure has the kernel's layout and lives through the call.
    unsafe { ioctl::make_group(fd.as_raw_fd(), &raw const args) }?;
    Ok(())
}

/// Returns the first numbers of the item (0, `kind`, `group`) of the quota tree, or
/// `None` where there is no such tree or no such item.
fn find(fd: BorrowedFd<'_>, kind: u32, group: u64) -> io::Result<Option<[u64; 9]>> {
    // SAFETY: all bits zero is a value of this structure of integers.
    let mut args: Box<Search> = Box::new(unsafe { mem::zeroed() });
    args.tree = QUOTA_TREE;
    args.offset = [group; 2];
    args.transaction = [0, u64::MAX];
    args.kind = [kind; 2];
    args.items = 1;
    // SAFETY: the structure has the kernel's layout and lives through the call.
    match unsafe { ioctl::search(fd.as_raw_fd(), &raw mut *args) } {
        // What lies on the disk is little-endian.
        Ok(_) if args.items == 1 && args.found.kind == kind => {
            Ok(Some(args.found.item.map(u64::from_le)))
        }
        Ok(_) | Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
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
