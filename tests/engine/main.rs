//! The driver under a real dockerd. Needs root, and what `scripts/setup test`
//! installs. Every test has an engine of its own, which shares nothing with the
//! machine's and is gone with the test.

#[path = "../harness/mod.rs"]
mod harness;

// The service tier, whose parts these are, may use more of them.
#[path = "../service/handover.rs"]
#[allow(dead_code)]
mod handover;
#[path = "../service/mounts.rs"]
#[allow(dead_code)]
mod mounts;

mod daemon;
mod image;
mod namespace;
mod proxy;
mod watched;

mod archive;
mod calls;
mod containers;
mod cp;
mod drain;
mod hanging;
mod labels;
mod leftovers;
mod live_restore;
mod lives;
mod many;
mod path;
mod person;
mod reference;
mod sockets;
mod unavailable;
mod userns;
