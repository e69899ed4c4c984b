//! The trash: when its entries go, and how they are deleted.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::expect::{done, root_with, swept_listing, volume, with_options};
use crate::harness::{Serve, Setup, eventually, tree};
use crate::mounts::{Container, bind, in_own_mounts, mount_memory, unmount_lazily};

const CREATE: &str = "VolumeDriver.Create";

/// Makes the driver look for something to purge, now and not within a minute.
pub fn announce(serve: &Serve) {
    assert_eq!(serve.call(CREATE, &with_options("last", &json!({"retain": "0"}))), done());
    serve.remove("last");
}

/// The entries of the trash, in order.
pub fn entries(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join("trash")).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The volumes that lie in the trash, in order.
pub fn removed(root: &Path) -> Vec<String> {
    let entries = entries(root);
    entries.iter().map(|entry| entry.split('~').next().unwrap().to_owned()).collect()
}

/// Makes an entry of the trash for `name`, removed `age` ago with `options`.
pub fn make_entry(setup: &Setup, name: &str, age: Duration, options: &str) -> String {
    let removed = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap().as_secs();
    let entry = format!("{name}~{removed}~0123456789abcdef");
    let dir = setup.root().join("trash").join(&entry);
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("data/bytes"), "x").unwrap();
    let created = "2023-11-14T22:13:20Z";
    let record =
        format!(r#"{{"format":1,"name":"{name}","created":"{created}","options":{options}}}"#);
    fs::write(dir.join("volume.json"), record).unwrap();
    entry
}

/// A driver that has opened its root and was stopped.
pub fn stopped() -> Setup {
    let setup = Setup::new();
    setup.serve().stop();
    setup
}

pub const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn what_is_due_goes_at_once_when_somebody_says_so() {
    let setup = Setup::new();
    let serve = setup.serve();
    let due = make_entry(&setup, "due", HOUR * 2, r#"{"retain":"1h"}"#);
    let fresh = make_entry(&setup, "fresh", HOUR * 2, "{}");
    let purged = serve.ok("Dirvol.TrashPurge", r#"{"Expired":true}"#);
    assert_eq!(purged, format!(r#"{{"Purged":["{due}"],"Kept":[],"Err":""}}"#));
    assert_eq!(entries(&setup.root()), [fresh]);
    serve.stop();
}

#[test]
fn what_was_removed_first_is_listed_first() {
    let setup = Setup::new();
    let serve = setup.serve();
    // Neither in the order of names nor in that of their making, nor backwards.
    let [b, d, a, c] = [("b", 2), ("d", 4), ("a", 3), ("c", 1)]
        .map(|(name, hours)| make_entry(&setup, name, HOUR * hours, "{}"));
    let list: Value = serde_json::from_str(&serve.ok("Dirvol.TrashList", "{}")).unwrap();
    let listed = list["Entries"].as_array().unwrap().iter().map(|entry| &entry["Entry"]);
    assert_eq!(listed.collect::<Vec<_>>(), [&d, &a, &b, &c]);
    serve.stop();
}

#[test]
fn an_entry_goes_when_its_own_time_is_up() {
    let setup = stopped();
    let expired = [
        make_entry(&setup, "default", HOUR * 25, "{}"),
        make_entry(&setup, "short", HOUR * 2, r#"{"retain":"1h"}"#),
        make_entry(&setup, "ancient", HOUR * 24 * 365 * 20, r#"{"retain":"5years"}"#),
        make_entry(&setup, "unreadable", HOUR * 25, "torn"),
    ];
    let mut kept = vec![
        make_entry(&setup, "fresh", HOUR * 23, "{}"),
        make_entry(&setup, "long", HOUR * 25, r#"{"retain":"26h"}"#),
        make_entry(&setup, "torn", HOUR * 23, "torn"),
    ];
    // Whatever else lies there is not ours to delete.
    for name in ["by hand", "a~b~c", "x~1"] {
        fs::create_dir(setup.root().join("trash").join(name)).unwrap();
        kept.push(name.to_owned());
    }
    kept.sort();
    // Opening the root is a time to look.
    let serve = setup.serve();
    eventually("the expired entries are gone", || {
        let left = entries(&setup.root());
        (!expired.iter().any(|entry| left.contains(entry))).then_some(())
    });
    assert_eq!(entries(&setup.root()), kept);
    swept_listing(&setup.root());
    assert_eq!(entries(&setup.root()), kept);
    assert_eq!(serve.metric("dirvol_trash_entries", ""), 3);
    // Told in the order in which they were removed.
    let log = serve.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("purged: ")).collect();
    let order = [&expired[2], &expired[0], &expired[3], &expired[1]];
    assert_eq!(told.len(), order.len(), "{log}");
    for (line, entry) in told.iter().zip(order) {
        let name = entry.split('~').next().unwrap();
        let expected = format!(r#" INFO purged: its time was up volume="{name}" entry="{entry}""#);
        assert!(line.ends_with(&expected), "{line}");
    }
    assert_eq!(serve.metric("dirvol_trash_purged_total", "expired"), 4);
    assert_eq!(serve.metric("dirvol_trash_purged_total", "low_space"), 0);
    serve.stop();
}

#[test]
fn a_removed_volume_goes_when_the_drivers_retention_is_over() {
    let setup = Setup::new().arg("--trash-retention").arg("1s");
    let serve = setup.serve();
    serve.create("a");
    assert_eq!(serve.call(CREATE, &with_options("b", &json!({"retain": "1h"}))), done());
    serve.remove("a");
    serve.remove("b");
    eventually("its second is over", || {
        announce(&serve);
        (removed(&setup.root()) == ["b"]).then_some(())
    });
    serve.stop();
}

#[test]
fn an_entry_that_somebody_has_mounted_is_not_purged() {
    let setup = stopped();
    let mounted = make_entry(&setup, "mounted", HOUR * 48, "{}");
    let inside = make_entry(&setup, "inside", HOUR * 47, "{}");
    make_entry(&setup, "nobodys", HOUR * 25, "{}");
    let data = |entry: &str| setup.root().join("trash").join(entry).join("data");
    fs::create_dir(data(&inside).join("below")).unwrap();
    let containers =
        [Container::with(&data(&mounted)), Container::with(&data(&inside).join("below"))];
    let serve = setup.serve();
    eventually("the other is gone", || {
        (removed(&setup.root()) == ["inside", "mounted"]).then_some(())
    });
    assert_eq!(fs::read(data(&mounted).join("bytes")).unwrap(), b"x");
    drop(containers);
    eventually("they are gone too", || {
        announce(&serve);
        entries(&setup.root()).is_empty().then_some(())
    });
    serve.stop();
}

#[test]
fn whatever_a_container_made_is_deleted_and_nothing_is_followed() {
    let setup = Setup::new();
    let sentinel = setup.path("sentinel");
    fs::create_dir(&sentinel).unwrap();
    fs::write(sentinel.join("precious"), "bytes").unwrap();
    let before = tree(&sentinel);
    let serve = setup.serve();
    let options = with_options("a", &json!({"retain": "0"}));
    assert_eq!(serve.call(CREATE, &options), done());
    let data = setup.root().join("volumes/a/data");
    // Deeper than descriptors or a stack would last.
    let deep: PathBuf = std::iter::repeat_n("d", 1500).collect();
    fs::create_dir_all(data.join(&deep)).unwrap();
    fs::write(data.join(&deep).join("file"), "").unwrap();
    for name in [&b"\xff\xfe"[..], b"new\nline", b"~", b"...", b"-rf", &[b'x'; 255]] {
        fs::write(data.join(OsStr::from_bytes(name)), "").unwrap();
        let dir = [name, b"d"].concat();
        fs::create_dir(data.join(OsStr::from_bytes(&dir[dir.len().saturating_sub(255)..])))
            .unwrap();
    }
    symlink(&sentinel, data.join("link")).unwrap();
    symlink(sentinel.join("precious"), data.join("link-to-file")).unwrap();
    symlink("loop", data.join("loop")).unwrap();
    fs::hard_link(sentinel.join("precious"), data.join("hard-link")).unwrap();
    mkfifo(&data.join("fifo"), Mode::S_IRWXU).unwrap();
    drop(UnixListener::bind(data.join("socket")).unwrap());
    for wide in 0..2000 {
        fs::write(data.join(wide.to_string()), "").unwrap();
    }
    serve.remove("a");
    assert_eq!(swept_listing(&setup.root()), root_with([]));
    assert_eq!(tree(&sentinel), before);
    assert!(!serve.log().contains("WARN"), "{}", serve.log());
    serve.stop();
}

#[test]
fn deleting_stops_at_a_mount() {
    let setup = Setup::new();
    in_own_mounts(|| {
        let serve = setup.serve();
        let sentinel = setup.path("sentinel");
        fs::create_dir(&sentinel).unwrap();
        fs::write(sentinel.join("precious"), "bytes").unwrap();
        assert_eq!(serve.call(CREATE, &with_options("a", &json!({"retain": "0"}))), done());
        let data = setup.root().join("volumes/a/data");
        mount_memory(&data.join("memory"), "size=1m");
        fs::write(data.join("memory/precious"), "bytes").unwrap();
        fs::create_dir(data.join("bound")).unwrap();
        bind(&sentinel, &data.join("bound"));
        for name in ["0", "file", "z"] {
            fs::write(data.join(name), "").unwrap();
        }
        serve.remove("a");
        let staging = setup.root().join("staging");
        let doomed = eventually("the volume is being deleted", || {
            fs::read_dir(&staging).unwrap().next().map(|entry| entry.unwrap().path())
        });
        let refused = "WARN cannot delete from the trash: openat2 ";
        eventually("the log says what cannot be deleted", || {
            serve.log().contains(refused).then_some(())
        });
        let left = [
            "bound/ 0755 0:0",
            "bound/precious 0644 0:0 \"bytes\"",
            "memory/ 1777 0:0",
            "memory/precious 0644 0:0 \"bytes\"",
        ];
        assert_eq!(tree(&doomed.join("data")), left);
        let log = serve.log();
        let line = log.lines().find(|line| line.contains(refused)).unwrap();
        assert!(line.ends_with(": Invalid cross-device link (os error 18)"), "{line}");
        // It does not keep others from being deleted, and is told of once.
        for _ in 0..3 {
            announce(&serve);
        }
        eventually("the others are gone", || {
            (fs::read_dir(&staging).unwrap().count() == 1).then_some(())
        });
        assert_eq!(serve.log().matches(refused).count(), 1, "{}", serve.log());
        serve.stop();

        unmount_lazily(&doomed.join("data/memory"));
        unmount_lazily(&doomed.join("data/bound"));
        let serve = setup.serve();
        assert_eq!(swept_listing(&setup.root()), root_with([]));
        assert_eq!(tree(&sentinel), [r#"precious 0644 0:0 "bytes""#]);
        serve.stop();
    });
}

#[test]
fn what_a_crash_left_to_delete_is_deleted_on_the_next_open() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    serve.kill();
    let staging = setup.root().join("staging");
    // A volume being built, one half deleted, a tree moved up, and an empty one.
    fs::create_dir_all(staging.join("00000000000000aa/data")).unwrap();
    fs::write(staging.join("00000000000000aa/volume.json"), "{").unwrap();
    fs::create_dir_all(staging.join("00000000000000bb/data/some/where")).unwrap();
    fs::write(staging.join("00000000000000bb/data/some/bytes"), "x").unwrap();
    fs::create_dir_all(staging.join("00000000000000cc/d/d/d")).unwrap();
    fs::create_dir(staging.join("00000000000000dd")).unwrap();
    // And what took the place of a tree as it was moved up.
    symlink(setup.root().join("volumes"), staging.join("00000000000000ee")).unwrap();
    fs::write(staging.join("00000000000000ff"), "").unwrap();
    let serve = setup.serve();
    assert_eq!(swept_listing(&setup.root()), root_with(volume("a")));
    serve.stop();
}
