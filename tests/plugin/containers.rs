//! Containers with volumes of the plugin, as people use them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::harness::eventually;
use crate::plugged::{PLUGIN, Plugged};
use crate::writer::Writer;

#[test]
fn two_containers_share_a_volume_while_they_run() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let daemon = &plugged.daemon;
    for name in ["one", "two"] {
        daemon.run(&format!("-d --name {name} -v db:/{name}"), "top");
    }
    daemon.ok("exec one touch /one/new");
    assert_eq!(daemon.ok("exec two ls /two"), "file\nnew\n");
    // The one that goes takes nothing from the one that stays.
    daemon.ok("rm -f one");
    assert_eq!(daemon.ok("exec two cat /two/file"), "bytes of db\n");
    let error = daemon.fails("volume rm db");
    assert!(error.contains("volume is in use"), "{error}");
    daemon.ok("rm -f two");
    fs::remove_file(plugged.root().join("volumes/db/data/new")).unwrap();
    assert_eq!(plugged.everything(), before);
}

#[test]
fn a_copy_both_ways_leaves_the_volume_with_its_container() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let daemon = &plugged.daemon;
    let writer = Writer::start(&plugged, "db");
    let copy = plugged.path("copy");
    daemon.ok(&format!("cp writer:/x/file {}", copy.display()));
    assert_eq!(fs::read_to_string(&copy).unwrap(), "bytes of db\n");
    writer.still_writes();
    daemon.ok(&format!("cp {} writer:/x/", copy.display()));
    assert_eq!(daemon.ok("exec writer cat /x/copy"), "bytes of db\n");
    let copied = plugged.root().join("volumes/db/data/copy");
    assert_eq!(fs::read_to_string(&copied).unwrap(), "bytes of db\n");
    fs::remove_file(copied).unwrap();
    writer.end();
    assert_eq!(plugged.everything(), before);
}

#[test]
fn a_container_that_restarts_has_its_volume_again() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let daemon = &plugged.daemon;
    daemon.shell("-d --name user --stop-signal KILL -v db:/x", "cat /x/file; exec top -b");
    daemon.ok("restart user");
    assert_eq!(daemon.ok("exec user cat /x/file"), "bytes of db\n");
    daemon.ok("rm -f user");
    assert_eq!(plugged.everything(), before);
    plugged.remove_volume("db");
}

#[test]
fn a_container_of_another_user_writes_to_a_volume_that_is_made_for_it() {
    let plugged = Plugged::enabled();
    let daemon = &plugged.daemon;
    let own = "-o uid=1000 -o gid=1001 -o mode=0700";
    daemon.ok(&format!("volume create -d {PLUGIN} --label a=b {own} own"));
    let options = "--rm --user 1000:1001 -v own:/home/data";
    daemon.run(options, "touch /home/data/mine");
    assert_eq!(daemon.run(options, "stat -c %u:%g:%a /home/data"), "1000:1001:700\n");
    let data = plugged.root().join("volumes/own/data");
    let meta = fs::metadata(&data).unwrap();
    let owner = (meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777);
    assert_eq!(owner, (1000, 1001, 0o700));
    let file = fs::metadata(data.join("mine")).unwrap();
    assert_eq!((file.uid(), file.gid()), (1000, 1001));
    let stranger = "--rm --user 1002:1002 -v own:/home/data";
    let error = daemon.run_fails(stranger, "ls /home/data");
    assert!(error.contains("Permission denied"), "{error}");
    assert_eq!(daemon.inspect("own")[0]["Labels"]["a"], "b");
}

#[test]
fn an_anonymous_volume_goes_with_its_container() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let daemon = &plugged.daemon;
    let options = format!("--rm -v /x --volume-driver {PLUGIN}");
    let name = daemon.run("-d --name user -v /x --volume-driver dirvol", "top");
    assert!(!name.is_empty());
    let volumes = fs::read_dir(plugged.root().join("volumes")).unwrap();
    assert_eq!(volumes.count(), 2);
    daemon.ok("rm -fv user");
    daemon.shell(&options, "echo gone > /x/file");
    // Its directory is deleted in the background.
    eventually("nothing of it is left", || {
        let staged = fs::read_dir(plugged.root().join("staging")).unwrap().count();
        (staged == 0).then_some(())
    });
    assert_eq!(plugged.everything(), before);
}
