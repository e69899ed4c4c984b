//! What the kernel offers and no crate wraps: the only room with `unsafe`.
//!
//! Nothing here knows what a volume is. Every function is a thin, safe door to
//! one kernel facility and says which man page it follows.

#![allow(unsafe_code)]

pub mod btrfs;
pub mod credentials;
pub mod fresh;
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod left_out;
pub mod lock;
pub mod mountinfo;
pub mod notify;
pub mod process;
pub mod qgroup;
pub mod quota;
pub mod random;
pub mod selinux;
pub mod sharing;
pub mod socket;
pub mod xattr;
