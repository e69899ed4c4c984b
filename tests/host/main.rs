//! The driver on a host, with what stands around it there: a real Podman, the tools that
//! drive engines, its units and its Debian package. Needs root, and what
//! `scripts/setup test` installs.

#[path = "../harness/mod.rs"]
mod harness;

// The engine tier, whose parts these are, uses more of them.
#[path = "../engine/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "../engine/image.rs"]
mod image;
#[path = "../engine/namespace.rs"]
mod namespace;
#[path = "../engine/proxy.rs"]
#[allow(dead_code)]
mod proxy;

mod storage;

mod ansible;
mod compose;
mod deb;
mod examples;
mod hazards;
mod migrating;
mod ownership;
mod podman;
mod swarm;
mod units;
