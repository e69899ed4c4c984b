//! Which calls dockerd makes, and when: what the driver relies on, step by step.
//! Where another engine does otherwise, a row of these tables fails first.

use std::fs;

use crate::harness::{Setup, eventually};
use crate::proxy::Proxy;
use crate::watched::Watched;

/// How a docker command ends.
#[derive(Clone, Copy)]
enum End {
    Done,
    /// With an error that contains this.
    Fails(&'static str),
}
use End::{Done, Fails};

/// A docker command, how it ends, and the calls that it makes. In a command, `@`
/// stands for the image and what it needs.
type Row = (&'static str, End, &'static [&'static str]);

const IN_USE: End = Fails("volume is in use");

/// Volumes by themselves.
const VOLUMES: &[Row] = &[
    // The first use since dockerd has started.
    (
        "volume create -d dirvol --label a=b held",
        Done,
        &["Activate", "Capabilities", "Get held", "Create held"],
    ),
    // What is asked for here is lost: Create is not called.
    ("volume create -d dirvol --label a=c -o uid=5 held", Done, &["Get held"]),
    ("volume ls", Done, &["List"]),
    ("volume inspect held", Done, &["Get held"]),
    ("volume inspect nobody", Fails("no such volume"), &["Get nobody"]),
    ("volume create -d dirvol fresh", Done, &["Get fresh", "Create fresh"]),
    ("volume rm fresh", Done, &["Get fresh", "Get fresh", "Remove fresh"]),
    ("volume rm fresh", Fails("no such volume"), &["Get fresh"]),
    ("volume rm -f fresh", Done, &["Get fresh"]),
    ("volume create -d dirvol fresh", Done, &["Get fresh", "Create fresh"]),
    ("volume rm -f fresh", Done, &["Get fresh", "Get fresh", "Remove fresh"]),
    // These know of no volumes but the driver `local`'s.
    ("volume prune --force", Done, &[]),
    ("system prune --force --volumes", Done, &[]),
    ("system df -v", Done, &[]),
    // A volume of the driver `local`; where no driver is named, all are asked first.
    ("volume create other", Done, &[]),
    ("volume rm other", Done, &[]),
    ("run --rm -v other:/x @ true", Done, &["Get other"]),
    ("run --rm -v /anon @ true", Done, &["Get anonymous"]),
];

/// Containers and their volumes. The volume `held` is there.
const CONTAINERS: &[Row] = &[
    ("create --name user -v held:/x @ top", Done, &["Get held"]),
    // It is held from now on.
    ("volume rm held", IN_USE, &["Get held"]),
    ("start user", Done, &["Get held", "Mount held #1"]),
    ("volume rm held", IN_USE, &["Get held"]),
    ("volume rm -f held", IN_USE, &["Get held"]),
    ("inspect user", Done, &[]),
    ("exec user touch /x/file", Done, &[]),
    ("restart --time 0 user", Done, &["Get held", "Unmount held #1", "Get held", "Mount held #2"]),
    // What is copied need not be in the volume; copying into a container looks
    // there first.
    ("cp user:/x/file -", Done, CP_2),
    ("cp user:/bin/busybox -", Done, CP_2),
    ("cp /bin/busybox user:/x/", Done, CP_2_TWICE),
    ("stop --time 0 user", Done, &["Get held", "Unmount held #2"]),
    // Of a container that does not run, each has an ID of its own.
    ("cp user:/x/file -", Done, &["Get held", "Mount held #3", "Get held", "Unmount held #3"]),
    ("cp user:/x/file -", Done, &["Get held", "Mount held #4", "Get held", "Unmount held #4"]),
    ("start user", Done, &["Get held", "Mount held #5"]),
    ("kill user", Done, &["Get held", "Unmount held #5"]),
    ("start user", Done, &["Get held", "Mount held #6"]),
    ("rm -f user", Done, &["Get held", "Unmount held #6"]),
    // In the place of a directory that the image has: an empty volume is filled.
    ("create --name copied -v held:/seeded @ true", Done, COPY_UP_7),
    ("rm -v copied", Done, &[]),
    // Also one with something in it is looked into.
    ("create --name copied -v held:/seeded @ true", Done, COPY_UP_8),
    ("start -a copied", Done, &["Get held", "Mount held #9", "Get held", "Unmount held #9"]),
    ("rm -v copied", Done, &[]),
    ("create --name bare -v held:/seeded:nocopy @ true", Done, &["Get held"]),
    ("rm bare", Done, &[]),
    // The name of a driver makes a volume that is not there.
    ("create --name new --volume-driver dirvol -v new:/x @ true", Done, &["Get new", "Create new"]),
    // Only an anonymous volume goes with its container.
    ("rm -v new", Done, &[]),
    ("volume rm new", Done, &["Get new", "Get new", "Remove new"]),
    (
        "create --name anon --volume-driver dirvol -v /anon @ true",
        Done,
        &["Get anonymous", "Create anonymous"],
    ),
    ("rm -v anon", Done, REMOVE_ANONYMOUS),
    (
        "run --rm --volume-driver dirvol -v /anon @ true",
        Done,
        &[
            "Get anonymous",
            "Create anonymous",
            "Get anonymous",
            "Mount anonymous #10",
            "Get anonymous",
            "Unmount anonymous #10",
            "Get anonymous",
            "Get anonymous",
            "Remove anonymous",
        ],
    ),
    // The container cannot be started, with its mounts and for want of them.
    (
        "run --rm -v held:/x/y:nocopy @ missing",
        Fails("runc create failed"),
        &["Get held", "Get held", "Mount held #11", "Get held", "Unmount held #11"],
    ),
    (
        "run --rm -v held:/bin/busybox:nocopy @ true",
        Fails("runc create failed"),
        &["Get held", "Get held", "Mount held #12", "Get held", "Unmount held #12"],
    ),
    ("volume rm held", Done, &["Get held", "Get held", "Remove held"]),
];

const CP_2: &[&str] = &["Get held", "Mount held #2", "Get held", "Unmount held #2"];

const CP_2_TWICE: &[&str] = &[
    "Get held",
    "Mount held #2",
    "Get held",
    "Unmount held #2",
    "Get held",
    "Mount held #2",
    "Get held",
    "Unmount held #2",
];

const COPY_UP_7: &[&str] =
    &["Get held", "Get held", "Mount held #7", "Get held", "Unmount held #7"];

const COPY_UP_8: &[&str] =
    &["Get held", "Get held", "Mount held #8", "Get held", "Unmount held #8"];

const REMOVE_ANONYMOUS: &[&str] = &["Get anonymous", "Get anonymous", "Remove anonymous"];

fn line(row: &str) -> String {
    let row = row.replace('@', "busybox:latest");
    match row.split_once(' ') {
        Some((verb @ ("run" | "create"), rest)) => format!("{verb} --network none {rest}"),
        _ => row,
    }
}

fn command(watched: &mut Watched, (row, end, calls): Row) {
    match end {
        Done => drop(watched.daemon.ok(&line(row))),
        Fails(why) => {
            let error = watched.daemon.fails(&line(row));
            assert!(error.contains(why), "{row}: {error}");
        }
    }
    watched.called(row, calls);
}

#[test]
fn every_command_makes_the_calls_that_the_driver_is_made_for() {
    let mut watched = Watched::start("{}");
    for row in VOLUMES.iter().chain(CONTAINERS) {
        command(&mut watched, *row);
    }
}

/// With two drivers, and a volume that dockerd knows nothing of.
#[test]
fn an_unknown_volume_is_asked_of_every_driver() {
    let mut watched = Watched::start("{}");
    let second = Setup::new();
    let proxy = Proxy::start(&watched.setup.path("plugins/second.sock"), &second.socket());
    let serve = second.serve();
    let asked = || -> Vec<String> {
        let calls = proxy.take_all_calls();
        calls.into_iter().map(|call| call.method + " " + call.body.trim_end()).collect()
    };

    watched.daemon.fails("volume inspect nobody");
    // The scope is asked for when there is a volume to show.
    watched.called("inspect", &["Activate", "Get nobody"]);
    let get = r#"VolumeDriver.Get {"Name":"nobody"}"#;
    assert_eq!(asked(), ["Plugin.Activate ", get]);

    watched.daemon.fails("volume inspect nobody");
    watched.called("inspect", &["Get nobody"]);
    assert_eq!(asked(), [get]);

    // Whose a volume is dockerd keeps, and asks nobody else.
    watched.daemon.ok("volume create -d second theirs");
    let get = r#"VolumeDriver.Get {"Name":"theirs"}"#;
    let create = r#"VolumeDriver.Create {"Name":"theirs","Opts":null}"#;
    assert_eq!(asked(), [get, create, "VolumeDriver.Capabilities {}"]);
    watched.daemon.ok("volume inspect theirs");
    watched.daemon.ok("volume rm theirs");
    let remove = r#"VolumeDriver.Remove {"Name":"theirs"}"#;
    assert_eq!(asked(), [get, get, get, remove]);
    watched.called("a volume of another driver", &[]);

    // What there is, all are asked.
    watched.ok("volume ls", &["List"]);
    assert_eq!(asked(), ["VolumeDriver.List {}"]);
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// A Mount that is refused has no Unmount, and the volumes that the container has
/// beside are unmounted.
#[test]
fn a_refused_mount_is_not_unmounted() {
    let mut watched = Watched::start("{}");
    let serve = watched.serve.as_ref().unwrap();
    watched.daemon.ok("volume create -d dirvol held");
    fs::write(serve.root.join("volumes/held/volume.json"), "").unwrap();
    watched.called("create", &["Activate", "Capabilities", "Get held", "Create held"]);
    let row = ("run --rm -v held:/x @ true", Fails("volume held cannot be used"));
    command(&mut watched, (row.0, row.1, &["Get held", "Get held", "Mount held #1"]));
    command(&mut watched, (row.0, row.1, &["Get held", "Get held", "Mount held #2"]));

    // In which order dockerd mounts them, is up to chance.
    watched.daemon.ok("volume create -d dirvol whole");
    watched.daemon.run_fails("--rm -v whole:/whole -v held:/held", "true");
    assert_eq!(watched.daemon.inspect("whole")[0]["Status"]["holders"].to_string(), "[]");
}

/// dockerd logs that an Unmount failed, and mounts with the same ID the next time.
#[test]
fn after_a_failed_unmount_the_id_is_mounted_again() {
    let mut watched = Watched::start("{}");
    watched.daemon.ok("volume create -d dirvol held");
    watched.called("create", &["Activate", "Capabilities", "Get held", "Create held"]);
    let start: Row = ("start user", Done, &["Get held", "Mount held #1"]);
    command(&mut watched, ("create --name user -v held:/x @ top", Done, &["Get held"]));
    command(&mut watched, start);
    watched.proxy.drop_next("VolumeDriver.Unmount");
    let calls = &["Get held", "Unmount held #1", "Unmount empty"];
    command(&mut watched, ("kill user", Done, calls));
    command(&mut watched, start);
    command(&mut watched, ("kill user", Done, &["Get held", "Unmount held #1"]));
    command(&mut watched, ("rm user", Done, &[]));
    command(&mut watched, ("volume rm held", Done, &["Get held", "Get held", "Remove held"]));
}

/// A volume that has gone when its container ends has no Unmount.
#[test]
fn a_volume_that_is_unknown_is_not_unmounted() {
    let mut watched = Watched::start("{}");
    watched.daemon.ok("volume create -d dirvol held");
    watched.called("create", &["Activate", "Capabilities", "Get held", "Create held"]);
    let run = "run -d --name user -v held:/x @ top";
    command(&mut watched, (run, Done, &["Get held", "Get held", "Mount held #1"]));
    let serve = watched.serve.as_ref().unwrap();
    let (volume, elsewhere) = (serve.root.join("volumes/held"), watched.setup.path("elsewhere"));
    fs::rename(&volume, &elsewhere).unwrap();
    // The driver may answer for a second from what it has read.
    eventually("the driver sees it", || {
        let answer = serve.call("VolumeDriver.Get", r#"{"Name":"held"}"#);
        (answer.status == 404).then_some(())
    });
    command(&mut watched, ("kill user", Done, &["Get held"]));
    fs::rename(&elsewhere, &volume).unwrap();
    command(&mut watched, ("start user", Done, &["Get held", "Mount held #1"]));
    command(&mut watched, ("rm -f user", Done, &["Get held", "Unmount held #1"]));
    command(&mut watched, ("volume rm held", Done, &["Get held", "Get held", "Remove held"]));
}
