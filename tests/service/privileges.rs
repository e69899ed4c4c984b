//! What the driver can do with fewer of root's capabilities, as docs/security.md has it.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use dirvol::sys::xattr;
use nix::sys::stat::{Mode, SFlag};
use serde_json::json;

use crate::asked::{ask, said};
use crate::expect::{done, named, with_id, with_options};
use crate::harness::{Serve, Setup, eventually};

/// Serves as root with the capabilities in `kept` alone, as a unit of systemd bounds them.
fn with_capabilities(setup: &Setup, kept: &str) -> Serve {
    fs::create_dir_all(setup.root()).unwrap();
    let serve = setup.command();
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set=-all{kept}"));
    command.arg(serve.get_program()).args(serve.get_args()).stdin(Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    serve
}

/// The capabilities of the shipped unit, in setpriv's words.
fn of_the_unit() -> String {
    let unit = crate::harness::project("packaging/systemd/dirvol.service");
    let text = fs::read_to_string(unit).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    line.split(' ')
        .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect()
}

fn without(capability: &str) -> String {
    of_the_unit().replace(&format!(",+{capability}"), "")
}

fn create(serve: &Serve, name: &str, options: &serde_json::Value) -> crate::harness::Answer {
    serve.call("VolumeDriver.Create", &with_options(name, options))
}

fn is_swept(setup: &Setup) {
    let staging = setup.root().join("staging");
    eventually("nothing is left to delete", || {
        fs::read_dir(&staging).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn without_any_capability_there_are_volumes_of_its_own() {
    let setup = Setup::new();
    let serve = with_capabilities(&setup, "");
    assert_eq!(create(&serve, "a", &json!({"mode": "0750", "retain": "0"})), done());
    serve.ok("VolumeDriver.Mount", &with_id("a", "1"));
    serve.ok("VolumeDriver.Unmount", &with_id("a", "1"));
    serve.ok("Dirvol.Set", &with_options("a", &json!({"mode": "0700"})));
    serve.remove("a");
    is_swept(&setup);
    let refused = create(&serve, "b", &json!({"uid": "5"}));
    assert_eq!(refused.status, 400, "{}", refused.body);
    let refused = create(&serve, "b", &json!({"size": "1G"}));
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(serve.names(), [""; 0]);
    serve.stop();
}

#[test]
fn with_the_capabilities_of_the_unit_all_but_limits_is_to_be_had() {
    let setup = Setup::new();
    let serve = with_capabilities(&setup, &of_the_unit());
    let options = json!({"uid": "5", "gid": "6", "mode": "2700", "retain": "0"});
    assert_eq!(create(&serve, "a", &options), done());
    let data = setup.root().join("volumes/a/data");
    let owned = || {
        let meta = fs::metadata(&data).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    assert_eq!(owned(), (5, 6, 0o2700));
    serve.ok("Dirvol.Set", &with_options("a", &json!({"mode": "2770"})));
    assert_eq!(owned(), (5, 6, 0o2770));
    let shut = data.join("shut");
    fs::create_dir(&shut).unwrap();
    fs::write(shut.join("file"), "").unwrap();
    fs::set_permissions(&shut, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    chown(&shut, Some(5), Some(6)).unwrap();
    serve.remove("a");
    is_swept(&setup);
    let refused = create(&serve, "b", &json!({"size": "1G"}));
    assert_eq!(refused.status, 400, "{}", refused.body);
    serve.stop();
}

/// What each of the unit's capabilities is for fails without it, and says so.
#[test]
fn each_capability_of_the_unit_is_needed() {
    let setup = Setup::new();
    let serve = with_capabilities(&setup, &without("chown"));
    let refused = create(&serve, "a", &json!({"uid": "5"}));
    assert_eq!(refused.status, 400, "{}", refused.body);
    serve.stop();

    let serve = with_capabilities(&setup, &without("fsetid"));
    let answer = create(&serve, "g", &json!({"gid": "6", "mode": "2770"}));
    assert!(answer.body.contains("fchmod"), "{}", answer.body);
    assert_eq!(serve.names(), [""; 0]);
    serve.stop();

    let serve = with_capabilities(&setup, &of_the_unit());
    assert_eq!(create(&serve, "a", &json!({"uid": "5", "mode": "0700", "retain": "0"})), done());
    serve.stop();
    let serve = with_capabilities(&setup, &without("fowner"));
    let refused = serve.call("Dirvol.Set", &with_options("a", &json!({"mode": "0750"})));
    assert!(refused.body.contains("fchmod"), "{}", refused.body);
    serve.stop();

    fs::write(setup.root().join("volumes/a/data/file"), "").unwrap();
    let serve = with_capabilities(&setup, &without("dac_override"));
    serve.call("VolumeDriver.Remove", &named("a"));
    eventually("it says what it cannot delete", || {
        serve.log().contains("WARN cannot delete from the trash").then_some(())
    });
    serve.stop();
    // The next one that may does.
    let serve = setup.serve();
    is_swept(&setup);
    serve.stop();
}

/// Makes a device, a fifo and a file that may do something, as containers do.
fn fill(data: &Path) {
    let null = nix::sys::stat::makedev(1, 3);
    nix::sys::stat::mknod(&data.join("null"), SFlag::S_IFCHR, Mode::S_IRUSR, null).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), Mode::S_IRUSR).unwrap();
    fs::write(data.join("ping"), "").unwrap();
    let ping = fs::File::open(data.join("ping")).unwrap();
    xattr::set(ping.as_fd(), CAPABILITY, &CAP_NET_RAW).unwrap();
}

const CAPABILITY: &std::ffi::CStr = c"security.capability";

/// `cap_net_raw`, as the kernel keeps it: `struct vfs_cap_data`.
const CAP_NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Whether the device of [`fill`] is there, and whether the file may what it may.
fn filled(data: &Path) -> (bool, bool) {
    assert!(data.join("fifo").exists());
    let ping = fs::File::open(data.join("ping")).unwrap();
    let device = fs::symlink_metadata(data.join("null")).ok().map(|meta| meta.rdev());
    let value = xattr::value(ping.as_fd(), CAPABILITY).unwrap();
    (device == Some(nix::sys::stat::makedev(1, 3)), value.as_deref() == Some(&CAP_NET_RAW[..]))
}

/// By `dirvol clone`, and by `dirvol import` of its own archive.
#[test]
fn devices_and_what_files_may_do_are_copied_with_a_capability_for_each() {
    let device = "null: the driver may not make devices";
    let attribute = "ping: its attribute security.capability cannot be set here";
    let no_device = "entry \"./null\": this driver may not make devices: give it CAP_MKNOD, or \
                     pack without it";
    let no_attribute = "dirvol: volume c: left out: attribute security.capability\n";
    let cases: [(&str, bool, bool, &[&str]); 4] = [
        (",+mknod,+setfcap", true, true, &[]),
        (",+mknod", true, false, &[attribute]),
        (",+setfcap", false, true, &[device]),
        ("", false, false, &[device, attribute]),
    ];
    for (more, may_mknod, may_setfcap, left_out) in cases {
        let setup = Setup::new();
        let serve = with_capabilities(&setup, &(of_the_unit() + more));
        serve.create("a");
        let volumes = setup.root().join("volumes");
        fill(&volumes.join("a/data"));
        let cloned = serve.ok("Dirvol.Clone", r#"{"Name":"b","From":"a"}"#);
        let mut cloned: serde_json::Value = serde_json::from_str(&cloned).unwrap();
        let skipped = cloned["Skipped"].as_array_mut().unwrap();
        skipped.sort_by_key(ToString::to_string);
        assert_eq!(cloned["Skipped"], json!(left_out), "{more}");
        assert_eq!(filled(&volumes.join("b/data")), (may_mknod, may_setfcap), "{more}");
        let file = setup.path("a.tar");
        said(&serve, &format!("export a {}", file.display()));
        let imported = ask(&serve, &format!("import c {}", file.display()));
        if may_mknod {
            let told = if may_setfcap { "" } else { no_attribute };
            assert_eq!((imported.code, imported.stderr.as_str()), (Some(0), told), "{more}");
            assert_eq!(filled(&volumes.join("c/data")), (may_mknod, may_setfcap), "{more}");
        } else {
            let told = format!("dirvol: volume c was not made: {no_device}\n");
            assert_eq!((imported.code, imported.stderr), (Some(1), told), "{more}");
            is_swept(&setup);
            assert_eq!(serve.names(), ["a", "b"], "{more}");
        }
        serve.stop();
    }
}
