//! Containers whose root is another user of the machine. dockerd does not tell a
//! driver which; who creates a volume for them says so with `uid` and `gid`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::daemon::Daemon;
use crate::harness::{DONE, Serve, Setup, eventually};

/// As the user `remapped` of the engine's namespace has them.
const SETTINGS: &str = r#"{"userns-remap": "remapped"}"#;

/// The owner and the mode of a file in a volume, as the machine sees it.
fn seen(serve: &Serve, path: &str) -> String {
    let meta = fs::metadata(serve.root.join("volumes").join(path)).unwrap();
    format!("{}:{}:{:o}", meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

/// The engine reaches the volumes through directories that are root's alone, as
/// it opens them before it gives its rights away.
#[test]
fn a_remapped_root_writes_to_a_volume_that_is_made_for_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start_with(setup.dir.path(), SETTINGS);
    let map = daemon.run("--rm", "cat /proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);

    daemon.ok("volume create -d dirvol -o uid=100000 -o gid=100000 -o mode=0750 own");
    daemon.run("--rm -v own:/x", "touch /x/mine");
    assert_eq!(daemon.run("--rm -v own:/x", "stat -c %u:%g:%a /x /x/mine"), "0:0:750\n0:0:644\n");
    assert_eq!(seen(&serve, "own/data"), "100000:100000:750");
    assert_eq!(seen(&serve, "own/data/mine"), "100000:100000:644");

    // A user in the container is another one outside too.
    daemon.ok("volume create -d dirvol -o uid=101000 -o gid=101000 -o mode=0700 user");
    daemon.run("--rm --user 1000:1000 -v user:/x", "touch /x/mine");
    assert_eq!(seen(&serve, "user/data/mine"), "101000:101000:644");

    // Whoever has the volume mounted is seen from outside.
    daemon.run("-d --name holder -v own:/x", "top");
    let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"own"}"#);
    assert!(answer.body.contains("own: volume is in use by process "), "{}", answer.body);
    daemon.ok("rm -f holder");
    eventually("the volume is removed", || {
        let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"own"}"#);
        (answer.body == DONE).then_some(())
    });
}

/// Such a volume is the machine's root's. Only where the image has a directory in
/// its place does dockerd give it to the container, with the image's owner and
/// mode, as the container sees them.
#[test]
fn a_remapped_root_does_not_write_to_a_volume_that_is_not_made_for_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start_with(setup.dir.path(), SETTINGS);
    daemon.ok("volume create -d dirvol plain");
    for place in ["plain:/x", "plain:/seeded:nocopy"] {
        let options = format!("--rm -v {place}");
        let inside = place.split(':').nth(1).unwrap();
        let error = daemon.run_fails(&options, &format!("touch {inside}/mine"));
        assert!(error.contains("Permission denied"), "{error}");
        let shown = daemon.run(&options, &format!("stat -c %u:%g:%a {inside}"));
        assert_eq!(shown, "65534:65534:755\n");
        assert_eq!(seen(&serve, "plain/data"), "0:0:755");
    }

    daemon.run("--rm -v plain:/seeded", "touch /seeded/mine");
    let shown = daemon.run("--rm -v plain:/seeded", "stat -c %u:%g:%a /seeded /seeded/mine");
    assert_eq!(shown, "7:8:711\n0:0:644\n");
    assert_eq!(seen(&serve, "plain/data"), "100007:100008:711");
    assert_eq!(seen(&serve, "plain/data/mine"), "100000:100000:644");
    assert_eq!(seen(&serve, "plain/data/greeting"), "100000:100000:644");
}
