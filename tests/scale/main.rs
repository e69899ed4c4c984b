//! One root on a shared file system, and a driver on each of several nodes. These
//! tests run inside a virtual machine, which `scripts/vm` starts: it is the server of
//! NFS, with ext4 on /dev/vda and xfs on /dev/vdb, and each node is a client of it in
//! namespaces of its own, at its own end of a wire.

#[path = "../harness/mod.rs"]
mod harness;

mod node;
mod server;

mod alone;
mod outage;
mod rests_on;
