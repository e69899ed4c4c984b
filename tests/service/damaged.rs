//! Volumes that cannot be read: each says what is wrong with it, refuses to be
//! mounted or removed, is left as it is, and disturbs no other.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::expect::{done, failed, named, ok, with_id, with_options};
use crate::harness::{Serve, Setup, tree};

/// What is done to a volume, and how.
struct Damage {
    what: &'static str,
    /// Damages the volume at the first path; the second is elsewhere, and is
    /// what links lead to.
    harm: fn(&Path, &Path),
    /// What is then wrong with the volume at the path.
    reason: fn(&Path) -> String,
    /// Whether it still is a directory, and so is listed.
    listed: bool,
}

const DAMAGES: [Damage; 18] = [
    Damage {
        what: "a link to another directory",
        harm: |volume, elsewhere| {
            fs::rename(volume, elsewhere.join("moved")).unwrap();
            symlink(elsewhere.join("moved"), volume).unwrap();
        },
        reason: |_| "it is not a directory".into(),
        listed: false,
    },
    Damage {
        what: "a link to nothing",
        harm: |volume, elsewhere| {
            fs::rename(volume, elsewhere.join("moved")).unwrap();
            symlink("/nothing", volume).unwrap();
        },
        reason: |_| "it is not a directory".into(),
        listed: false,
    },
    Damage {
        what: "a file",
        harm: |volume, elsewhere| {
            fs::rename(volume, elsewhere.join("moved")).unwrap();
            fs::write(volume, "bytes").unwrap();
        },
        reason: |_| "it is not a directory".into(),
        listed: false,
    },
    Damage {
        what: "an empty directory",
        harm: |volume, elsewhere| {
            fs::rename(volume, elsewhere.join("moved")).unwrap();
            fs::create_dir(volume).unwrap();
        },
        reason: |_| "it has no volume.json".into(),
        listed: true,
    },
    Damage {
        what: "without its data",
        harm: |volume, _| fs::remove_dir(volume.join("data")).unwrap(),
        reason: |_| "its data directory is missing".into(),
        listed: true,
    },
    Damage {
        what: "a link in the place of its data",
        harm: |volume, elsewhere| {
            fs::remove_dir(volume.join("data")).unwrap();
            symlink(elsewhere, volume.join("data")).unwrap();
        },
        reason: |_| "its data directory is missing".into(),
        listed: true,
    },
    Damage {
        what: "a file in the place of its data",
        harm: |volume, _| {
            fs::remove_dir(volume.join("data")).unwrap();
            fs::write(volume.join("data"), "bytes").unwrap();
        },
        reason: |_| "its data directory is missing".into(),
        listed: true,
    },
    Damage {
        what: "without its record",
        harm: |volume, _| fs::remove_file(volume.join("volume.json")).unwrap(),
        reason: |_| "it has no volume.json".into(),
        listed: true,
    },
    Damage {
        what: "a link in the place of its record",
        harm: |volume, elsewhere| {
            fs::rename(volume.join("volume.json"), elsewhere.join("record")).unwrap();
            symlink(elsewhere.join("record"), volume.join("volume.json")).unwrap();
        },
        reason: |volume| {
            let record = volume.join("volume.json");
            format!("openat2 {}: Too many levels of symbolic links (os error 40)", record.display())
        },
        listed: true,
    },
    Damage {
        what: "a fifo in the place of its record",
        harm: |volume, _| {
            fs::remove_file(volume.join("volume.json")).unwrap();
            mkfifo(&volume.join("volume.json"), Mode::S_IRWXU).unwrap();
        },
        reason: |_| unusable("EOF while parsing a value at line 1 column 0"),
        listed: true,
    },
    Damage {
        what: "a socket in the place of its record",
        harm: |volume, _| {
            fs::remove_file(volume.join("volume.json")).unwrap();
            drop(UnixListener::bind(volume.join("volume.json")).unwrap());
        },
        reason: |volume| {
            let record = volume.join("volume.json");
            format!("openat2 {}: No such device or address (os error 6)", record.display())
        },
        listed: true,
    },
    Damage {
        what: "a directory in the place of its record",
        harm: |volume, _| {
            fs::remove_file(volume.join("volume.json")).unwrap();
            fs::create_dir(volume.join("volume.json")).unwrap();
        },
        reason: |volume| {
            let record = volume.join("volume.json");
            format!("read {}: Is a directory (os error 21)", record.display())
        },
        listed: true,
    },
    Damage {
        what: "an empty record",
        harm: |volume, _| fs::write(volume.join("volume.json"), "").unwrap(),
        reason: |_| unusable("EOF while parsing a value at line 1 column 0"),
        listed: true,
    },
    Damage {
        what: "a record that is torn",
        harm: |volume, _| {
            let record = fs::read(volume.join("volume.json")).unwrap();
            fs::write(volume.join("volume.json"), &record[..20]).unwrap();
        },
        reason: |_| unusable("EOF while parsing a string at line 1 column 20"),
        listed: true,
    },
    Damage {
        what: "a record of a later format",
        harm: |volume, _| {
            let record = json!({"format": 2, "anything": "else"}).to_string();
            fs::write(volume.join("volume.json"), record).unwrap();
        },
        reason: |_| "its record has format 2, and this dirvol knows 1".into(),
        listed: true,
    },
    Damage {
        what: "the record of another volume",
        harm: |volume, _| {
            let other = volume.with_file_name("fine").join("volume.json");
            fs::copy(other, volume.join("volume.json")).unwrap();
        },
        reason: |_| "its record is that of \"fine\"".into(),
        listed: true,
    },
    Damage {
        what: "a record with an option of a later version",
        harm: |volume, _| {
            let text = fs::read_to_string(volume.join("volume.json")).unwrap();
            let text = text.replace(r#""options":{"#, r#""options":{"colour":"red""#);
            fs::write(volume.join("volume.json"), text).unwrap();
        },
        reason: |_| {
            "its record: option \"colour\" is unknown (known: from, gid, inodes, live, mode, path, protect, retain, size, uid)"
                .into()
        },
        listed: true,
    },
    Damage {
        what: "a record of two mebibytes",
        harm: |volume, _| fs::write(volume.join("volume.json"), " ".repeat(2 << 20)).unwrap(),
        reason: |volume| {
            format!("read {}: longer than 1048576 bytes", volume.join("volume.json").display())
        },
        listed: true,
    },
];

fn unusable(why: &str) -> String {
    format!("its record cannot be used: {why}")
}

/// Asks all there is to ask about the damaged volume `x`.
fn assert_refused(serve: &Serve, damage: &Damage) {
    let volume = serve.root.join("volumes/x");
    let (what, reason) = (damage.what, (damage.reason)(&volume));
    let data = volume.join("data").display().to_string();
    let status = json!({"health": format!("damaged: {reason}"), "holders": []});
    // With a record that can be read, what it says is still told.
    let got = serve.call("VolumeDriver.Get", &named("x"));
    let mut body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    if reason == "its data directory is missing" {
        let created = body["Volume"]["CreatedAt"].take();
        let status = body["Volume"]["Status"].as_object_mut().unwrap();
        assert_eq!(status.remove("created"), Some(created), "{what}");
        assert_eq!(status.remove("options").unwrap()["mode"], "0755", "{what}");
        body["Volume"].as_object_mut().unwrap().remove("CreatedAt");
    }
    let expected =
        json!({"Volume": {"Name": "x", "Mountpoint": data, "Status": status}, "Err": ""});
    assert_eq!((got.status, body), (200, expected), "{what}");

    let why = format!(
        "volume x cannot be used: {reason}; mend it or move it away, {} is left as it is",
        volume.display()
    );
    let refused = failed(500, &why);
    assert_eq!(serve.call("VolumeDriver.Mount", &with_id("x", "1")), refused, "{what}");
    assert_eq!(serve.call("VolumeDriver.Remove", &named("x")), refused, "{what}");
    let set = with_options("x", &json!({"mode": "0700"}));
    assert_eq!(serve.call("Dirvol.Set", &set), refused, "{what}");
    assert_eq!(serve.call("VolumeDriver.Create", &named("x")), refused, "{what}");
    assert_eq!(serve.call("VolumeDriver.Unmount", &with_id("x", "1")), done(), "{what}");
    let path = ok(format!(r#"{{"Mountpoint":"{data}","Err":""}}"#));
    assert_eq!(serve.call("VolumeDriver.Path", &named("x")), path, "{what}");
}

/// Uses a volume in every way but for removing it.
fn assert_in_order(serve: &Serve, name: &str) {
    serve.create(name);
    serve.ok("VolumeDriver.Mount", &with_id(name, "1"));
    serve.ok("VolumeDriver.Unmount", &with_id(name, "1"));
    let got = serve.ok("VolumeDriver.Get", &named(name));
    assert!(got.contains(r#""health":"ok""#), "{got}");
}

#[test]
fn a_damaged_volume_says_so_and_is_left_as_it_is() {
    for damage in &DAMAGES {
        let setup = Setup::new();
        let serve = setup.serve();
        serve.create("fine");
        serve.create("x");
        let elsewhere = setup.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("precious"), "bytes").unwrap();
        (damage.harm)(&setup.root().join("volumes/x"), &elsewhere);
        let before = (tree(&setup.root()), tree(&elsewhere));

        assert_refused(&serve, damage);
        assert_in_order(&serve, "fine");
        let names: &[&str] = if damage.listed { &["fine", "x"] } else { &["fine"] };
        assert_eq!(serve.names(), names, "{}", damage.what);
        assert_eq!((tree(&setup.root()), tree(&elsewhere)), before, "{}", damage.what);
        // Nor does it keep the driver from starting.
        serve.stop();
        let serve = setup.serve();
        assert_refused(&serve, damage);
        assert_eq!((tree(&setup.root()), tree(&elsewhere)), before, "{}", damage.what);
        serve.stop();
    }
}

#[test]
fn a_volume_that_was_mended_is_used_again() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("x");
    let record = setup.root().join("volumes/x/volume.json");
    let good = fs::read(&record).unwrap();
    fs::write(&record, "").unwrap();
    let refused = serve.call("VolumeDriver.Mount", &with_id("x", "1"));
    assert_eq!(refused.status, 500, "{refused:?}");
    fs::write(&record, good).unwrap();
    assert_in_order(&serve, "x");
    serve.remove("x");
    serve.stop();
}

#[test]
fn damage_is_seen_although_the_volume_was_read_a_moment_ago() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("x");
    let got = serve.ok("VolumeDriver.Get", &named("x"));
    assert!(got.contains(r#""health":"ok""#), "{got}");
    fs::write(setup.root().join("volumes/x/volume.json"), "").unwrap();
    // What changes something reads the disk; what only informs may lag a little.
    let refused = serve.call("VolumeDriver.Mount", &with_id("x", "1"));
    assert_eq!(refused.status, 500, "{refused:?}");
    crate::harness::eventually("a Get sees it too", || {
        serve.ok("VolumeDriver.Get", &named("x")).contains("damaged").then_some(())
    });
    serve.stop();
}

#[test]
fn a_volume_that_was_put_there_by_hand_is_a_volume() {
    let setup = Setup::new();
    let serve = setup.serve();
    let volume = setup.root().join("volumes/x");
    fs::create_dir_all(volume.join("data")).unwrap();
    let record = r#"{"format":1,"name":"x","created":"2023-11-14T22:13:20Z"}"#;
    fs::write(volume.join("volume.json"), record).unwrap();
    assert_eq!(serve.names(), ["x"]);
    assert_in_order(&serve, "x");
    let before = tree(&setup.root());
    serve.create("x");
    assert_eq!(tree(&setup.root()), before);
    serve.remove("x");
    serve.stop();
}

#[test]
fn what_cannot_be_a_volume_is_neither_listed_nor_counted() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("x");
    for name in ["a name", ".hidden", "lost+found"] {
        fs::create_dir(setup.root().join("volumes").join(name)).unwrap();
    }
    assert_eq!(serve.names(), ["x"]);
    assert_eq!(serve.metric("dirvol_volumes", ""), 1);
    serve.stop();
}
