//! The driver on three nodes of a real swarm, which is made on one machine: each node is a
//! dockerd with namespaces of its own. Needs root, and what `scripts/setup test` installs.

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

// The service tier, whose part this is, uses more of it.
#[path = "../service/program.rs"]
#[allow(dead_code)]
mod program;

mod network;
mod nodes;

mod forming;
mod leftovers;
mod services;
mod volumes;
