//! Who really has a volume mounted: no call tells the driver, the kernel does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::expect::{done, failed, named, with_id, with_options};
use crate::harness::{Answer, Serve, Setup};
use crate::mounts::{Container, bind, in_own_mounts, mount_memory, unmount_lazily};

const REMOVE: &str = "VolumeDriver.Remove";

fn refused(container: &Container) -> Answer {
    let why = format!(
        "volume a: volume is in use by process {}, which has it mounted at /mnt; stop its \
         containers first",
        container.pid()
    );
    failed(409, &why)
}

/// Has the volume `a` mounted by a process, and sees that it stays until then.
fn hold_and_let_go(serve: &Serve, data: &Path) {
    let container = Container::with(data);
    assert_eq!(serve.call(REMOVE, &named("a")), refused(&container), "{}", data.display());
    drop(container);
    serve.remove("a");
    assert_eq!(serve.names(), [""; 0]);
}

#[test]
fn a_volume_that_a_process_has_mounted_is_not_removed_though_nobody_said_so() {
    let setup = Setup::new();
    let serve = setup.serve();
    let data = setup.root().join("volumes/a/data");
    serve.create("a");
    serve.create("ab");
    fs::create_dir(data.join("below")).unwrap();
    for mounted in [data.clone(), data.join("below")] {
        let container = Container::with(&mounted);
        assert_eq!(serve.call(REMOVE, &named("a")), refused(&container));
        // The kernel's count goes before that of those who said so.
        for id in ["x", "y"] {
            serve.ok("VolumeDriver.Mount", &with_id("a", id));
        }
        let all: Value = serde_json::from_str(&serve.ok("Dirvol.List", "{}")).unwrap();
        let holders =
            |at: usize| (all["Volumes"][at]["Name"].clone(), all["Volumes"][at]["Holders"].clone());
        assert_eq!((holders(0), holders(1)), ((json!("a"), json!(1)), (json!("ab"), json!(0))));
        for id in ["x", "y"] {
            serve.ok("VolumeDriver.Unmount", &with_id("a", id));
        }
        // Another volume whose name begins alike is nobody's.
        serve.remove("ab");
        serve.create("ab");
    }
    serve.remove("a");
    assert_eq!(serve.names(), ["ab"]);
    serve.stop();
}

#[test]
fn who_is_told_to_hold_a_volume_is_who_has_it_mounted_and_where_nobody_has_who_said_so() {
    let setup = Setup::new();
    let serve = setup.serve();
    let data = setup.root().join("volumes/a/data");
    serve.create("a");
    fs::create_dir(data.join("below")).unwrap();
    let counted = || {
        let list: Value = serde_json::from_str(&serve.ok("Dirvol.List", "{}")).unwrap();
        list["Volumes"][0]["Holders"].as_u64()
    };
    assert_eq!(counted(), Some(0));
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    assert_eq!(counted(), Some(1));
    let containers =
        [data.clone(), data.join("below"), data.clone()].map(|dir| Container::with(&dir));
    assert_eq!(counted(), Some(3));
    let holders: Value =
        serde_json::from_str(&serve.ok("Dirvol.Holders", &json!({"Name": "a"}).to_string()))
            .unwrap();
    let mounts = holders["Mounts"].as_array().unwrap().iter();
    let mut seen: Vec<_> = mounts.map(|mount| (&mount["Pid"], &mount["Mountpoint"])).collect();
    seen.sort_by_key(|(pid, _)| pid.as_u64());
    let mut pids = containers.each_ref().map(Container::pid);
    pids.sort_unstable();
    let (pids, at) = (pids.map(|pid| json!(pid)), json!("/mnt"));
    assert_eq!(seen, pids.each_ref().map(|pid| (pid, &at)));
    drop(containers);
    // A volume that is created anew is held by nobody who held the one before.
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    serve.ok("VolumeDriver.Unmount", &with_id("a", "x"));
    assert_eq!(counted(), Some(1));
    serve.remove("a");
    serve.create("a");
    assert_eq!(counted(), Some(0));
    serve.stop();
}

#[test]
fn evidence_counts_after_a_restart_and_after_an_unmount() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let container = Container::with(&setup.root().join("volumes/a/data"));
    serve.kill();
    let serve = setup.serve();
    assert_eq!(serve.call("VolumeDriver.Unmount", &with_id("a", "x")), done());
    assert_eq!(serve.call(REMOVE, &named("a")), refused(&container));
    drop(container);
    serve.remove("a");
    serve.stop();
}

#[test]
fn evidence_is_found_wherever_the_root_lies() {
    let setup = Setup::new();
    let far = setup.path("a far\tplace\\with \\040 blanks");
    fs::create_dir_all(far.join("root")).unwrap();
    symlink(far.join("root"), setup.root()).unwrap();
    let serve = setup.serve();
    serve.create("a");
    hold_and_let_go(&serve, &far.join("root/volumes/a/data"));
    serve.stop();
}

#[test]
fn evidence_is_found_on_a_disk_of_its_own_and_by_any_path_to_it() {
    let (whole, part) = (Setup::new(), Setup::new());
    in_own_mounts(|| {
        // One root is the top of a file system, the other a directory in one.
        let disk = part.path("disk");
        mount_memory(&whole.root(), "size=16m");
        mount_memory(&disk, "size=16m");
        fs::create_dir(disk.join("below")).unwrap();
        fs::create_dir(part.root()).unwrap();
        bind(&disk.join("below"), &part.root());
        for (setup, place) in [(&whole, whole.root()), (&part, disk.join("below"))] {
            let serve = setup.serve();
            for root in [setup.root(), place] {
                serve.create("a");
                hold_and_let_go(&serve, &root.join("volumes/a/data"));
            }
            serve.stop();
        }
    });
}

/// The descriptor that the driver holds came by a mount that is gone, and what
/// it leads to is the same.
#[test]
fn evidence_is_found_when_the_root_was_mounted_anew_behind_the_drivers_back() {
    let setup = Setup::new();
    let place = setup.path("place");
    in_own_mounts(|| {
        fs::create_dir(&place).unwrap();
        fs::create_dir(setup.root()).unwrap();
        bind(&place, &setup.root());
        let serve = setup.serve();
        let create = with_options("a", &json!({"retain": "0"}));
        assert_eq!(serve.call("VolumeDriver.Create", &create), done());
        serve.freeze();
        unmount_lazily(&setup.root());
        bind(&place, &setup.root());
        serve.signal(Signal::SIGCONT);
        hold_and_let_go(&serve, &place.join("volumes/a/data"));
        serve.stop();
    });
}
