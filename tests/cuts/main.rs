//! Power cuts, without a machine to switch off: the driver works on a disk of
//! ext4, of xfs and of btrfs, what is on that disk is copied in the middle of it,
//! and the copy is mounted and served by the real binary. Every acknowledged
//! change holds, and every other one is there wholly or not at all.
//!
//! A copy of the disk holds what the file system has issued to it and nothing
//! else, so whatever was only in memory or in a journal that was not written is
//! lost, as it is when the power fails. What a disk loses from a cache of its own
//! is not modelled: the copy has each write that was issued before it.
//!
//! Needs root, loop devices, the tools of the three file systems, and strace.

#[path = "../harness/mod.rs"]
mod harness;

mod archived;
mod disk;
mod each;
mod found;
mod imported;
mod knife;
mod ledger;
mod live;
mod revive;
mod rig;
mod trace;
mod traced;

mod acknowledged;
mod adopted;
mod between;
mod initialised;
mod killed;
mod load;
mod steps;
