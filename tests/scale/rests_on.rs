//! What a root on a shared file system rests on, and what it must not rest on, as the
//! kernel has it: two clients know of each other only by the server.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::harness::eventually;
use crate::node::{HARD, Node};
use crate::server::{Disk, Server, Share};

/// Two nodes with a share mounted at the same place.
fn two(server: &Server) -> (Share, [Node; 2], tempfile::TempDir) {
    let share = server.share(Disk::Ext4);
    let dir = tempfile::tempdir().unwrap();
    let nodes = [1, 2].map(|number| {
        let node = Node::new(number);
        node.mount(&share, dir.path(), HARD);
        node
    });
    (share, nodes, dir)
}

/// Takes a lock without waiting, of a file that is opened to be written.
fn locked(path: &Path) -> Option<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    try_lock(file.unwrap())
}

fn try_lock(file: File) -> Option<File> {
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

#[test]
fn a_file_is_locked_for_all_nodes_and_a_directory_for_one() {
    let server = Server::start();
    let (_share, [one, other], dir) = two(&server);
    let path = dir.path().join("lock");
    let held = one.run(|| locked(&path)).unwrap();
    assert!(other.run(|| locked(&path)).is_none());
    assert!(one.run(|| locked(&path)).is_none());
    drop(held);
    assert!(other.run(|| locked(&path)).is_some());
    let both = [&one, &other].map(|node| node.run(|| try_lock(File::open(dir.path()).unwrap())));
    assert!(both.iter().all(Option::is_some));
}

#[test]
fn a_lock_outlasts_the_server_and_ends_with_the_lease_of_a_node_that_is_cut_off() {
    let server = Server::start();
    let (_share, [one, other], dir) = two(&server);
    let path = dir.path().join("lock");
    let held = one.run(|| locked(&path)).unwrap();
    server.restart(|| drop(one.run(|| fs::metadata(dir.path()))));
    assert!(other.run(|| locked(&path)).is_none());
    one.cut();
    let taken = eventually("the lease ends", || other.run(|| locked(&path)));
    one.mend();
    // Its node is not told, but may ask.
    let asked = one.run(|| held.try_lock());
    assert!(matches!(asked, Err(TryLockError::WouldBlock)), "{asked:?}");
    drop(taken);
}

#[test]
fn what_a_node_looked_for_in_vain_it_does_not_see_come() {
    let server = Server::start();
    let (_share, [one, other], dir) = two(&server);
    let path = dir.path().join("volume");
    assert!(!other.run(|| path.exists()));
    one.run(|| fs::create_dir(&path)).unwrap();
    thread::sleep(Duration::from_secs(2));
    assert!(!other.run(|| path.exists()));
}
