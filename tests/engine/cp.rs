//! `docker cp`, which mounts and unmounts the volumes of a container that runs,
//! with the IDs that they have.

use crate::watched::Watched;

#[test]
fn a_copy_both_ways_leaves_the_volume_with_its_container() {
    let mut watched = Watched::used("{}", "");
    watched.copy_both_ways(["#1"; 3]);
    watched.is_held();
    // The driver that is asked now has not seen the container's own mount.
    watched.restart_driver();
    watched.copy_both_ways(["#1"; 3]);
    watched.is_held();
    let error = watched.daemon.fails("volume rm held");
    assert!(error.contains("volume is in use"), "{error}");
    watched.called("volume rm", &["Get held"]);
    watched.is_intact();
    watched.called("inspect", &["Get held"]);
    watched.remove(&["Get held", "Unmount held #1"]);
}
