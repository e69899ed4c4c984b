//! dockerd with live-restore: its containers go on while it restarts.

use crate::watched::Watched;

const LIVE_RESTORE: &str = r#"{"live-restore": true}"#;

/// What a driver is asked first in each life of dockerd, and what of each volume
/// that it knows, and of each that a container has.
const BOOT: [&str; 4] = ["Activate", "Capabilities", "Get held", "Get held"];

fn start() -> Watched {
    let watched = Watched::used(LIVE_RESTORE, "");
    watched.still_writes();
    watched
}

/// The container still runs and writes, and nobody can remove its volume.
fn goes_on(watched: &mut Watched) {
    watched.still_writes();
    watched.is_held();
    watched.is_intact();
    watched.called("inspect", &["Get held"]);
    let error = watched.daemon.fails("volume rm held");
    assert!(error.contains("volume is in use"), "{error}");
}

#[test]
fn live_restore_mounts_nothing_and_unmounts_the_id_of_the_life_before() {
    let mut watched = start();
    watched.daemon.stop();
    watched.called("stop", &[]);
    watched.still_writes();
    watched.daemon.boot();
    watched.called("boot", &BOOT);
    goes_on(&mut watched);
    watched.called("volume rm", &["Get held"]);
    watched.ok("stop user", &["Get held", "Unmount held #1"]);
    // dockerd counts less than none, and keeps the ID.
    watched.ok("start user", &["Get held", "Mount held #1"]);
    watched.daemon.kill();
    watched.daemon.boot();
    watched.called("boot", &BOOT);
    goes_on(&mut watched);
    watched.called("volume rm", &["Get held"]);
    watched.remove(&["Get held", "Unmount held #1"]);
}

/// A copy takes the ID along: dockerd has not counted the container's own mount.
#[test]
fn after_a_copy_live_restore_unmounts_nothing() {
    let mut watched = start();
    watched.daemon.stop();
    watched.daemon.boot();
    watched.called("boot", &BOOT);
    watched.copy_both_ways(["#1", "#2", "#3"]);
    goes_on(&mut watched);
    watched.called("volume rm", &["Get held"]);
    watched.remove(&[]);
}

/// While the driver is down, dockerd's connections are closed: it tries for 15 s
/// for the volume, and for 15 s for the container.
#[test]
fn live_restore_never_unmounts_what_it_could_not_ask_for() {
    let mut watched = start();
    watched.daemon.stop();
    watched.serve.take().unwrap().stop();
    watched.daemon.boot();
    watched.called("boot without a driver", &["Activate"; 10]);
    watched.still_writes();
    watched.serve = Some(watched.setup.serve());
    watched.ok("volume inspect held", &BOOT[..3]);
    // dockerd does not know who uses the volume: it is for the driver to refuse.
    goes_on(&mut watched);
    watched.called("volume rm", &["Get held", "Get held", "Remove held"]);
    watched.remove(&[]);
}
