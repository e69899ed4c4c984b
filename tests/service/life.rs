//! The life of a volume on the disk: what Create makes, what Remove leaves, and
//! when Remove refuses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use serde_json::{Value, json};

use crate::expect::{
    TIME, done, entry, failed, listing, named, neutral, ok, root_with, swept_listing, volume,
    volume_at, with_id, with_options,
};
use crate::harness::{Serve, Setup, tree};

const CREATE: &str = "VolumeDriver.Create";
const REMOVE: &str = "VolumeDriver.Remove";

/// A name that an engine made up.
const ANONYMOUS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What Get answers as the options in force.
fn options_of(serve: &Serve, name: &str) -> Value {
    let body: Value = serde_json::from_str(&serve.ok("VolumeDriver.Get", &named(name))).unwrap();
    body["Volume"]["Status"]["options"].clone()
}

#[test]
fn each_option_is_applied_to_the_data_directory() {
    let cases = [
        ("plain", json!({}), "0755 0:0", json!({})),
        ("user", json!({"uid": "5"}), "0755 5:0", json!({"uid": "5"})),
        ("group", json!({"GID": "7"}), "0755 0:7", json!({"gid": "7"})),
        ("closed", json!({"Mode": "0o000"}), "0000 0:0", json!({"mode": "0000"})),
        (
            "shared",
            json!({"o": "uid=5,gid=7,mode=2770", "UID": "5", "GID": "7"}),
            "2770 5:7",
            json!({"gid": "7", "mode": "2770", "uid": "5"}),
        ),
        ("sticky", json!({"mode": "1777"}), "1777 0:0", json!({"mode": "1777"})),
        ("kept", json!({"retain": "48h"}), "0755 0:0", json!({"retain": "2days"})),
    ];
    let setup = Setup::new();
    let serve = setup.serve();
    let mut expected = Vec::new();
    for (name, options, data, stated) in &cases {
        assert_eq!(serve.call(CREATE, &with_options(name, options)), done(), "{name}");
        expected.extend(volume_at(&format!("volumes/{name}"), name, data, stated));
    }
    assert_eq!(listing(&setup.root()), root_with(expected));
    serve.stop();
}

#[test]
fn a_volume_is_created_again_without_being_touched() {
    let setup = Setup::new();
    let serve = setup.serve();
    let builtin = json!({"uid": "0", "gid": "0", "mode": "755", "retain": "1day"});
    let stated = json!({"uid": "5", "o": "mode=0700"});
    assert_eq!(serve.call(CREATE, &with_options("absent", &Value::Null)), done());
    assert_eq!(serve.call(CREATE, &with_options("builtin", &builtin)), done());
    assert_eq!(serve.call(CREATE, &with_options("stated", &stated)), done());
    fs::write(setup.root().join("volumes/absent/data/precious"), "bytes").unwrap();
    let before = tree(&setup.root());
    let inode = || fs::metadata(setup.root().join("volumes/absent")).unwrap().ino();
    let made = inode();
    // A stated default equals an absent one.
    for (name, options) in [
        ("absent", &Value::Null),
        ("absent", &json!({})),
        ("absent", &builtin),
        ("builtin", &Value::Null),
        ("builtin", &json!({"mode": "0o755", "retain": "24h"})),
        ("stated", &json!({"UID": "5", "Mode": "700", "gid": "0"})),
    ] {
        assert_eq!(serve.call(CREATE, &with_options(name, options)), done(), "{name} {options}");
    }
    assert_eq!(tree(&setup.root()), before);
    assert_eq!(inode(), made);
    serve.stop();
}

#[test]
fn a_volume_with_other_options_is_named_with_the_difference() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("plain");
    let stated = json!({"uid": "5", "mode": "0700"});
    assert_eq!(serve.call(CREATE, &with_options("stated", &stated)), done());
    let before = tree(&setup.root());
    let cases = [
        ("plain", json!({"mode": "0700"}), "its mode is 0755, not 0700"),
        ("plain", json!({"retain": "0"}), "its retain is 1day, not 0s"),
        ("plain", json!({"uid": "5", "gid": "7"}), "its gid is 0, not 7"),
        ("plain", json!({"protect": "true"}), "its protect is false, not true"),
        ("stated", json!({}), "its mode is 0700, not 0755"),
        ("stated", json!({"mode": "0700"}), "its uid is 5, not 0"),
    ];
    for (name, options, difference) in cases {
        let why = format!(
            "volume {name} exists with other options: {difference}; ask for the same, or change \
             it with 'dirvol set {name}'"
        );
        assert_eq!(serve.call(CREATE, &with_options(name, &options)), failed(409, &why));
    }
    assert_eq!(tree(&setup.root()), before);
    serve.stop();
}

#[test]
fn the_drivers_default_options_are_those_of_the_volume_for_good() {
    let setup = Setup::new();
    fs::create_dir(setup.root()).unwrap();
    let mut command = setup.command();
    command.args(["--default-opt", "mode=0700,gid=7", "--default-opt=uid=5"]);
    let serve = setup.start_with(command);
    serve.wait_available();
    serve.create("a");
    assert_eq!(serve.call(CREATE, &with_options("b", &json!({"mode": "0750"}))), done());
    let in_force =
        json!({"gid": "7", "mode": "0700", "protect": "false", "retain": "1day", "uid": "5"});
    assert_eq!(options_of(&serve, "a"), in_force);
    serve.stop();
    let kept =
        r#"\",\"options\":{},\"defaults\":{\"gid\":\"7\",\"mode\":\"0700\",\"uid\":\"5\"}}\n""#;
    let lines = listing(&setup.root().join("volumes"));
    assert!(lines.contains(&"a/data/ 0700 5:7".to_owned()), "{lines:?}");
    assert!(lines.contains(&"b/data/ 0750 5:7".to_owned()), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("a/vol") && line.ends_with(kept)),
        "{lines:?}"
    );

    // The flags of a later start change nothing of what is there.
    let serve = setup.serve();
    assert_eq!(options_of(&serve, "a"), in_force);
    serve.create("a");
    let stated = json!({"gid": "7", "mode": "0700", "uid": "5"});
    assert_eq!(serve.call(CREATE, &with_options("a", &stated)), done());
    serve.stop();
}

#[test]
fn many_who_create_one_volume_at_once_all_have_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(serve.call(CREATE, &named("a")), done()));
        }
    });
    assert_eq!(swept_listing(&setup.root()), root_with(volume("a")));
    serve.stop();
}

#[test]
fn many_who_create_and_remove_one_volume_at_once_never_break_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    thread::scope(|scope| {
        for first in 0..8 {
            let serve = &serve;
            scope.spawn(move || {
                for method in [CREATE, REMOVE].iter().cycle().skip(first).take(40) {
                    assert_eq!(serve.call(method, &named("a")), done());
                }
            });
        }
    });
    // Whole, and each wherever it came to lie.
    let kept = fs::read_dir(setup.root().join("trash")).unwrap().count();
    let mut expected = Vec::new();
    for _ in 0..kept {
        expected.extend(volume_at(&entry("a"), "a", "0755 0:0", &json!({})));
    }
    if serve.names() == ["a"] {
        expected.extend(volume("a"));
    }
    assert!(kept > 0);
    assert_eq!(swept_listing(&setup.root()), root_with(expected));
    serve.stop();
}

#[test]
fn a_removed_volume_is_kept_whole_in_the_trash() {
    let setup = Setup::new();
    let serve = setup.serve();
    for bytes in ["first", "second"] {
        serve.create("a");
        fs::write(setup.root().join("volumes/a/data/precious"), bytes).unwrap();
        serve.remove("a");
        assert_eq!(serve.names(), [""; 0]);
    }
    let mut kept = Vec::new();
    for bytes in ["first", "second"] {
        kept.extend(volume_at(&entry("a"), "a", "0755 0:0", &json!({})));
        kept.push(format!("{}/data/precious 0644 0:0 {bytes:?}", entry("a")));
    }
    assert_eq!(listing(&setup.root()), root_with(kept));
    let log = neutral(&serve.log());
    let entry = &entry("a")["trash/".len()..];
    let note = format!(
        "INFO kept in the trash as {entry} for 1day; 'dirvol trash purge {entry}' frees its space \
         now op=\"remove\" volume=\"a\" mount_id=\"\" outcome=\"ok\" ms="
    );
    assert_eq!(log.matches(&note).count(), 2, "{log}");
    serve.stop();
}

#[test]
fn what_is_not_to_be_kept_is_deleted_for_good() {
    let setup = Setup::new();
    let serve = setup.serve();
    let created = [
        ("kept", json!({})),
        ("retain-0", json!({"retain": "0"})),
        ("retain-0s", json!({"retain": "0s"})),
        (ANONYMOUS, json!({})),
    ];
    for (name, options) in created {
        assert_eq!(serve.call(CREATE, &with_options(name, &options)), done());
        fs::write(setup.root().join("volumes").join(name).join("data/bytes"), "x").unwrap();
        serve.remove(name);
    }
    // An engine's name with an option of the user's: the user knows better.
    let stated = json!({"retain": "1h"});
    assert_eq!(serve.call(CREATE, &with_options(ANONYMOUS, &stated)), done());
    serve.remove(ANONYMOUS);
    let mut kept = volume_at(&entry("kept"), "kept", "0755 0:0", &json!({})).to_vec();
    kept.push(format!("{}/data/bytes 0644 0:0 \"x\"", entry("kept")));
    kept.extend(volume_at(&entry(ANONYMOUS), ANONYMOUS, "0755 0:0", &stated));
    assert_eq!(swept_listing(&setup.root()), root_with(kept));
    serve.stop();
}

#[test]
fn a_driver_that_is_told_to_keep_nothing_keeps_nothing() {
    let setup = Setup::new().arg("--trash-retention").arg("0");
    let serve = setup.serve();
    serve.create("a");
    serve.remove("a");
    assert_eq!(serve.call(CREATE, &with_options("b", &json!({"retain": "1h"}))), done());
    serve.remove("b");
    let kept = volume_at(&entry("b"), "b", "0755 0:0", &json!({"retain": "1h"}));
    assert_eq!(swept_listing(&setup.root()), root_with(kept));
    serve.stop();
}

#[test]
fn a_volume_that_was_mounted_a_moment_ago_is_not_removed_until_it_is_unmounted() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let mount = |id: &str| {
        let data = setup.root().join("volumes/a/data");
        let expected = ok(format!(r#"{{"Mountpoint":"{}","Err":""}}"#, data.display()));
        assert_eq!(serve.call("VolumeDriver.Mount", &with_id("a", id)), expected);
    };
    let refused = |id: &str| {
        let why = format!(
            "volume a: volume is in use by mount ID {id}, which asked for it at {TIME}; stop its \
             containers first"
        );
        assert_eq!(serve.call(REMOVE, &named("a")).neutral(), failed(409, &why));
    };
    let unmount = |id: &str| {
        assert_eq!(serve.call("VolumeDriver.Unmount", &with_id("a", id)), done());
    };
    mount("first-of-two-containers");
    mount("second");
    refused("first-of-two");
    unmount("first-of-two-containers");
    refused("second");
    // An Unmount of somebody unknown is success, and no permission.
    unmount("unknown");
    refused("second");
    unmount("second");
    serve.remove("a");
    let kept = volume_at(&entry("a"), "a", "0755 0:0", &json!({}));
    assert_eq!(listing(&setup.root()), root_with(kept));
    serve.stop();
}

#[test]
fn a_volume_that_one_id_mounted_twice_is_waited_for_until_the_first_unmount() {
    // A dockerd that was killed mounts with the ID of before, and unmounts once.
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    let why = format!(
        "volume a: volume is in use by mount ID x, which asked for it at {TIME}; stop its \
         containers first"
    );
    assert_eq!(serve.call(REMOVE, &named("a")).neutral(), failed(409, &why));
    serve.ok("VolumeDriver.Unmount", &with_id("a", "x"));
    serve.remove("a");
    assert_eq!(serve.names(), [""; 0]);
    serve.stop();
}

#[test]
fn a_volume_that_is_not_there_is_told_so_or_is_gone_as_asked() {
    let setup = Setup::new();
    let serve = setup.serve();
    let before = tree(&setup.root());
    let none = failed(404, "no such volume: x");
    assert_eq!(serve.call("VolumeDriver.Get", &named("x")), none);
    assert_eq!(serve.call("VolumeDriver.Path", &named("x")), none);
    assert_eq!(serve.call("VolumeDriver.Mount", &with_id("x", "1")), none);
    assert_eq!(serve.call("VolumeDriver.Unmount", &with_id("x", "1")), done());
    assert_eq!(serve.call(REMOVE, &named("x")), done());
    // The Mount that failed is no holder of the volume that comes later.
    serve.create("x");
    serve.remove("x");
    assert_eq!(tree(&setup.root().join("volumes")), tree(&setup.root().join("staging")));
    assert_eq!(before, root_lines_without_trash(&setup));
    serve.stop();
}

fn root_lines_without_trash(setup: &Setup) -> Vec<String> {
    let inside = |line: &String| line.starts_with("trash/") && !line.starts_with("trash/ ");
    tree(&setup.root()).into_iter().filter(|line| !inside(line)).collect()
}

#[test]
fn a_restart_changes_nothing_but_who_is_remembered_to_hold_what() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    serve.create("b");
    serve.remove("b");
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    let holders = |serve: &Serve| {
        let body = neutral(&serve.ok("VolumeDriver.Get", &named("a")));
        serde_json::from_str::<Value>(&body).unwrap()["Volume"]["Status"]["holders"].clone()
    };
    let twice = json!([{"id": "x", "count": 2, "since": TIME}]);
    assert_eq!(holders(&serve), twice);
    let (root, state) = (tree(&setup.root()), tree(&setup.state()));
    serve.stop();
    setup.serve().kill();
    let serve = setup.serve();
    assert_eq!(holders(&serve), json!([]));
    assert_eq!((tree(&setup.root()), tree(&setup.state())), (root, state));
    serve.stop();
}
