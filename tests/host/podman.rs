//! Podman's own tests of volume plugins, with this driver in the place of the plugin
//! that they bring, and what people do with Podman besides.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::harness::{Setup, tree};
use crate::storage::{Podman, start};

#[test]
fn a_create_with_a_driver_that_is_not_configured_says_so() {
    let (_setup, _serve, podman) = start();
    let (code, error) = podman.fails("volume create --driver notexist test_volume_name");
    let why = "Error: volume test_volume_name uses volume plugin notexist but it could not be \
               retrieved: no volume plugin with name notexist available: required plugin missing\n";
    assert_eq!((code, error.as_str()), (125, why));
}

#[test]
fn a_create_with_a_driver_that_does_not_run_says_where_it_is_missed() {
    let setup = Setup::new();
    let podman = Podman::new(setup.dir.path(), &["testvol0"]);
    let (code, error) = podman.fails("volume create --driver testvol0 test_volume_name");
    let why = "Error: volume test_volume_name uses volume plugin testvol0 but it could not be \
               retrieved: cannot access plugin testvol0 socket \
               \"/run/docker/plugins/testvol0.sock\": stat /run/docker/plugins/testvol0.sock: no \
               such file or directory\n";
    assert_eq!((code, error.as_str()), (125, why));
}

/// Podman has a driver of its own that is called `image`; a plugin of that name goes
/// before it.
#[test]
fn a_volume_is_created_and_removed() {
    let setup = Setup::new();
    let serve = setup.serve();
    let podman = Podman::new(setup.dir.path(), &["image=dirvol"]);
    assert_eq!(podman.ok("volume create --driver image testVolume1"), "testVolume1\n");
    assert_eq!(podman.ok("volume ls -q"), "testVolume1\n");
    // Of this version, the field is not there yet: it is none of an image either way.
    assert_eq!(podman.inspect("testVolume1").get("StorageID"), None);
    assert_eq!(serve.names(), ["testVolume1"]);
    assert_eq!(podman.ok("volume rm testVolume1"), "testVolume1\n");
    assert_eq!(podman.ok("volume ls -q"), "");
    assert_eq!(serve.names(), Vec::<String>::new());
}

#[test]
fn a_volume_is_inspected_with_its_labels_options_and_status() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create --driver dirvol --label a=b --opt mode=0750 testVolume1");
    assert_eq!(podman.ok("volume inspect --format {{.Driver}} testVolume1"), "dirvol\n");
    let shown = podman.inspect("testVolume1");
    let data = serve.root.join("volumes/testVolume1/data");
    let told =
        ["Name", "Driver", "Labels", "Options", "Scope", "MountCount"].map(|key| &shown[key]);
    let expected = [
        &json!("testVolume1"),
        &json!("dirvol"),
        &json!({"a": "b"}),
        &json!({"mode": "0750"}),
        &json!("local"),
        &json!(0),
    ];
    assert_eq!(told, expected, "{shown}");
    assert_eq!(shown["Status"]["health"], "ok");
    assert_eq!(shown["Status"]["options"]["mode"], "0750");
    assert!(data.is_dir());
}

#[test]
fn a_remove_with_a_driver_that_is_stopped_forgets_the_volume_and_keeps_its_bytes() {
    let setup = Setup::new();
    let serve = setup.serve();
    let podman = Podman::new(setup.dir.path(), &["testvol3=dirvol"]);
    podman.ok("volume create --driver testvol3 testVolume1");
    podman.shell("--rm -v testVolume1:/x", "echo precious > /x/file");
    assert_eq!(podman.ok("volume ls -q"), "testVolume1\n");
    serve.stop();
    let (code, error) = podman.fails("volume rm testVolume1");
    let why = "cannot remove volume testVolume1 from plugin testvol3, but it has been removed from \
               Podman: required plugin missing";
    assert!(code == 125 && error.contains(why), "{code} {error}");
    assert_eq!(podman.ok("volume ls -q"), "");

    // What Podman has forgotten, the driver has not.
    let _serve = setup.serve();
    assert_eq!(podman.ok("volume reload"), "Added:\ntestVolume1\n");
    assert_eq!(podman.run("--rm -v testVolume1:/x", "cat /x/file"), "precious\n");
}

#[test]
fn what_one_container_writes_another_reads() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create --driver dirvol testVolume1");
    let script = "touch /test/testfile && echo helloworld > /test/testfile";
    podman.shell("--name ctr1 -v testVolume1:/test", script);
    let read = podman.run("--name ctr2 -v testVolume1:/test", "cat /test/testfile");
    assert_eq!(read, "helloworld\n");
    // Nothing but what the container wrote is in the volume.
    let found = tree(&serve.root.join("volumes/testVolume1/data"));
    assert_eq!(found, [r#"testfile 0644 0:0 "helloworld\n""#]);
    assert_eq!(serve.metric("dirvol_requests_total", "endpoint=\"mount\""), 2);
    assert_eq!(serve.metric("dirvol_requests_total", "endpoint=\"unmount\""), 2);
}

#[test]
fn a_reload_adds_and_removes_what_was_changed_behind_podmans_back() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create localvol");
    podman.ok("volume create --driver dirvol vol1");
    serve.create("vol2");
    assert_eq!(podman.ok("volume ls -q"), "localvol\nvol1\n");
    serve.remove("vol1");
    assert_eq!(podman.ok("volume reload"), "Added:\nvol2\nRemoved:\nvol1\n");
    assert_eq!(podman.ok("volume ls -q"), "localvol\nvol2\n");
}

#[test]
fn a_timeout_is_the_configured_one_or_the_volumes_own() {
    let setup = Setup::new();
    let _serve = setup.serve();
    let podman = Podman::with_timeout(setup.dir.path(), &["dirvol"], Some(15));
    podman.ok("volume create --driver dirvol testVolume1");
    assert_eq!(podman.ok("volume inspect --format {{.Timeout}} testVolume1"), "15\n");
    podman.ok("volume create --driver dirvol --opt o=timeout=3 testVolume2");
    assert_eq!(podman.ok("volume inspect --format {{.Timeout}} testVolume2"), "3\n");
}

/// The file that is shipped, where it is shipped to, beside the machine's own settings.
#[test]
fn the_shipped_settings_tell_podman_of_the_driver() {
    let (_setup, serve, podman) = start();
    let own = podman.at("shipped.conf");
    fs::copy("packaging/podman/dirvol.conf", &own).unwrap();
    let dir = "/etc/containers/containers.conf.d";
    podman.inside("mkdir", &["-p", dir]);
    podman.inside("cp", &[own.to_str().unwrap(), dir]);
    let output = podman.as_installed("volume create --driver dirvol db");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serve.names(), ["db"]);
}

/// Named volumes too: Podman's prune, before its version 6, takes whatever no
/// container uses.
#[test]
fn what_a_prune_removed_is_taken_back_from_the_trash() {
    let (_setup, serve, podman) = start();
    for name in ["db", "held"] {
        podman.ok(&format!("volume create --driver dirvol {name}"));
    }
    podman.shell("--rm -v db:/x", "echo precious > /x/file");
    podman.run("-d --name holder -v held:/x", "top");
    assert_eq!(podman.ok("volume prune -f"), "db\n");
    assert_eq!(serve.names(), ["held"]);
    let mut restore = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    restore.arg("--socket").arg(&serve.socket).args(["trash", "restore", "db"]);
    let restored = restore.output().unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert_eq!(podman.ok("volume reload"), "Added:\ndb\n");
    assert_eq!(podman.run("--rm -v db:/x", "cat /x/file"), "precious\n");
}

/// Of this version, both work while a container has the volume, and say so else.
#[test]
fn a_volume_is_exported_and_imported_while_it_is_mounted() {
    let (_setup, serve, podman) = start();
    for name in ["from", "to"] {
        podman.ok(&format!("volume create --driver dirvol {name}"));
    }
    let archive = podman.at("export.tar");
    let export = format!("volume export from --output {}", archive.display());
    let import = format!("volume import to {}", archive.display());
    let (code, error) = podman.fails(&export);
    assert_eq!((code, error.as_str()), (125, "Error: volume is not mounted anywhere on host\n"));
    podman.shell("-d --name holder -v from:/from -v to:/to", "echo precious > /from/file; top");
    let data = |name: &str| serve.root.join("volumes").join(name).join("data");
    crate::harness::eventually("the file is written", || {
        data("from").join("file").exists().then_some(())
    });
    podman.ok(&export);
    podman.ok(&import);
    assert_eq!(tree(&data("to")), [r#"file 0644 0:0 "precious\n""#]);
}
