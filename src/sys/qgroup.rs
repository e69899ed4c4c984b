//! Quota groups of btrfs: what a subvolume uses and may use, as <linux/btrfs.h> and
//! <linux/btrfs_tree.h> describe it.
//!
//! Where the file system has quotas, each subvolume has the group `0/<its id>`. The
//! tree that keeps them is read as it lies on the disk.

use std::io;
use std::mem::{self, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// `BTRFS_QUOTA_TREE_OBJECTID`: the tree that keeps the quota groups.
const QUOTA_TREE: u64 = 8;
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
    assert!(size_of::<Search>() == 4096);
    assert!(mem::offset_of!(Search, found) == 104);
    assert!(mem::offset_of!(Found, item) == 32);
    assert!(size_of::<Limit>() == 48);
    assert!(size_of::<Make>() == 16);
};

mod ioctl {
    use super::{Limit, Make, Search};

    const MAGIC: u8 = 0x94;

    nix::ioctl_readwrite!(
        /// `BTRFS_IOC_TREE_SEARCH`
        search,
        MAGIC,
        17,
        Search
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
