//! dockerd ends and starts while a container uses its volume. Which calls that
//! makes is another thing each time; the volume can be used and removed each time,
//! and nothing needs to be done for that by hand.

use std::fs;

use crate::harness::eventually;
use crate::watched::Watched;

/// What a driver is asked first in each life of dockerd, and what of each volume
/// that it knows.
const FIRST: [&str; 3] = ["Activate", "Capabilities", "Get held"];

/// Starts dockerd, which asks first what it always does, and then makes `calls`.
fn boot(watched: &mut Watched, calls: &[&str]) {
    watched.daemon.boot();
    watched.called("boot", &[&FIRST, calls].concat());
    watched.is_intact();
    watched.called("inspect", &["Get held"]);
}

/// What dockerd says of the container's state.
fn state(watched: &Watched) -> String {
    watched.daemon.ok("inspect --format {{.State.Status}} user")
}

#[test]
fn a_dockerd_that_is_stopped_unmounts_and_mounts_with_another_id() {
    let mut watched = Watched::used("{}", "--restart always");
    watched.daemon.stop();
    watched.called("stop", &["Get held", "Unmount held #1"]);
    boot(&mut watched, &["Get held", "Get held", "Mount held #2"]);
    watched.still_writes();
    watched.is_held();
    watched.remove(&["Get held", "Unmount held #2"]);
}

#[test]
fn a_dockerd_that_is_killed_mounts_the_same_id_again_and_unmounts_once() {
    let mut watched = Watched::used("{}", "--restart always");
    watched.daemon.kill();
    watched.called("kill", &[]);
    watched.still_writes();
    watched.is_held();
    boot(&mut watched, &["Get held", "Get held", "Mount held #1"]);
    watched.still_writes();
    watched.is_held();
    watched.remove(&["Get held", "Unmount held #1"]);
}

/// dockerd ends such a container as it starts, and forgets to unmount.
#[test]
fn a_container_that_is_started_after_dockerd_was_killed_has_the_id_it_had() {
    let mut watched = Watched::used("{}", "");
    watched.still_writes();
    watched.daemon.kill();
    boot(&mut watched, &["Get held"]);
    assert_eq!(state(&watched), "exited\n");
    watched.ok("start user", &["Get held", "Mount held #1"]);
    watched.still_writes();
    watched.is_held();
    watched.ok("stop user", &["Get held", "Unmount held #1"]);
    watched.ok("start user", &["Get held", "Mount held #2"]);
    watched.ok("stop user", &["Get held", "Unmount held #2"]);
    watched.remove(&[]);
}

/// Its Mount is from another life of dockerd, which does not mind it any more.
#[test]
fn a_volume_of_a_container_that_ended_with_dockerd_is_removed_soon() {
    let mut watched = Watched::used("{}", "");
    watched.still_writes();
    watched.daemon.kill();
    boot(&mut watched, &["Get held"]);
    let written = watched.written();
    watched.ok("stop user", &[]);
    watched.ok("rm user", &[]);
    assert_eq!(watched.written(), written);
    watched.remove_volume();
}

#[test]
fn a_volume_of_a_container_that_ended_while_dockerd_was_dead_is_removed_soon() {
    let mut watched = Watched::used("{}", "");
    watched.still_writes();
    watched.daemon.kill();
    fs::write(watched.file("end"), "").unwrap();
    eventually("the container ends", || {
        let answer = watched.serve().call("VolumeDriver.Remove", r#"{"Name":"held"}"#);
        answer.body.contains("volume is in use by mount ID ").then_some(())
    });
    let written = watched.written();
    boot(&mut watched, &["Get held"]);
    assert_eq!(state(&watched), "exited\n");
    assert_eq!(watched.written(), written);
    fs::remove_file(watched.file("end")).unwrap();
    watched.ok("rm user", &[]);
    watched.remove_volume();
}
