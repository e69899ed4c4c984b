//! Labels, where SELinux is on. The kernel here has none: that it is on is what a file
//! says that the test puts in its place; the labels are real, and nothing enforces them.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::doctor::{but, doctor, told};
use crate::expect::named;
use crate::harness::{Serve, Setup};
use crate::mounts::{in_own_mounts, mount_memory};

const ENFORCE: &str = "/sys/fs/selinux/enforce";

fn turn_on() {
    mount_memory(Path::new("/sys/fs"), "");
    fs::create_dir("/sys/fs/selinux").unwrap();
    fs::write(ENFORCE, "1").unwrap();
}

fn status(serve: &Serve, name: &str) -> Value {
    let got: Value = serde_json::from_str(&serve.ok("VolumeDriver.Get", &named(name))).unwrap();
    got["Volume"]["Status"]["selinux"].clone()
}

#[test]
fn a_new_volume_is_labelled_for_containers_and_an_older_one_is_told_of() {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(Path::new("/run"), "");
        let serve = setup.serve();
        serve.create("older");
        assert_eq!(status(&serve, "older"), Value::Null);
        serve.stop();
        turn_on();
        let serve = setup.serve();
        serve.create("new");
        assert_eq!(status(&serve, "new"), Value::Null);
        let why = "it has no SELinux label, and should have system_u:object_r:container_file_t:s0";
        assert_eq!(status(&serve, "older"), json!(why));
        serve.stop();

        let found = format!(
            "volume older: {why}; chcon -R system_u:object_r:container_file_t:s0 \
             DIR/root/volumes/older/data"
        );
        let well = |selinux| but(&[("health", "2 volumes read"), ("selinux", selinux)]);
        let enforcing = told(&well("it is enforcing"), &[("selinux", &found)]);
        assert_eq!(doctor(&setup, &[]), enforcing);
        fs::write(ENFORCE, "0").unwrap();
        assert_eq!(doctor(&setup, &[]), told(&well("it is permissive"), &[]));
    });
}

#[test]
fn where_a_label_cannot_be_set_the_volume_is_made_and_says_so() {
    let setup = Setup::new();
    in_own_mounts(|| {
        fs::create_dir(setup.root()).unwrap();
        let flags = MsFlags::empty();
        mount(Some("memory"), &setup.root(), Some("ramfs"), flags, None::<&str>).unwrap();
        turn_on();
        let serve = setup.serve();
        serve.create("a");
        let why = "its SELinux label cannot be read: Operation not supported (os error 95)";
        assert_eq!(status(&serve, "a"), json!(why));
        let got = serve.ok("VolumeDriver.Get", &named("a"));
        assert!(got.contains(r#""health":"ok""#), "{got}");
        serve.stop();
    });
}
