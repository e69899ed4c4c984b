//! The driver under a real dockerd. Needs root, and what `scripts/setup test`
//! installs. Every test has an engine of its own, which shares nothing with the
//! machine's and is gone with the test.

#[path = "../harness/mod.rs"]
mod harness;

// The service tier, whose part this is, may use more of it.
#[path = "../service/handover.rs"]
#[allow(dead_code)]
mod handover;

mod daemon;
mod image;
mod namespace;
mod proxy;
mod watched;

mod calls;
mod containers;
mod cp;
mod drain;
mod labels;
mod leftovers;
mod live_restore;
mod lives;
mod many;
mod person;
mod reference;
mod sockets;
mod unavailable;
mod userns;
