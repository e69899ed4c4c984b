//! Containers and their volumes, as people use them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, eventually};

/// Options that make a volume the user 1000's alone.
const OWN: &str = "-o uid=1000 -o gid=1000 -o mode=0700";

/// The driver, and an engine that finds it.
fn start() -> (Setup, Serve, Daemon) {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    (setup, serve, daemon)
}

/// The names of what is in a volume, in order.
fn files(serve: &Serve, volume: &str) -> Vec<String> {
    let data = serve.root.join("volumes").join(volume).join("data");
    let entries = fs::read_dir(data).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_one_container_writes_another_reads() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol shared");
    daemon.shell("--rm -v shared:/here", "echo written > /here/file");
    assert_eq!(daemon.run("--rm -v shared:/there:ro", "cat /there/file"), "written\n");
    // Nothing but what the container wrote is in the volume.
    assert_eq!(files(&serve, "shared"), ["file"]);
}

#[test]
fn a_volume_of_a_running_container_is_not_removed() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol held");
    daemon.run("-d --name holder -v held:/x", "top");
    let error = daemon.fails("volume rm held");
    assert!(error.contains("volume is in use"), "{error}");
    // dockerd has refused of itself: the driver was not asked.
    assert_eq!(serve.metric("dirvol_requests_total", "endpoint=\"remove\""), 0);
    assert_eq!(serve.names(), ["held"]);
    daemon.ok("rm -f holder");
    daemon.ok("volume rm held");
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// The driver knows nothing of the container, for it was started after it; but
/// the kernel does.
#[test]
fn a_remove_behind_dockerds_back_is_refused_on_evidence() {
    let (setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol held");
    daemon.shell("-d --name holder -v held:/x", "echo a > /x/f; top");
    serve.stop();
    let serve = setup.serve();
    assert_eq!(daemon.inspect("held")[0]["Status"]["holders"].to_string(), "[]");

    let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"held"}"#);
    assert_eq!(answer.status, 409, "{}", answer.body);
    let (start, rest) = answer.body.split_once("process ").unwrap();
    let (pid, end) = rest.split_once(',').unwrap();
    assert_eq!(start, r#"{"Err":"volume held: volume is in use by "#);
    assert_eq!(end, r#" which has it mounted at /x; stop its containers first"}"#);
    let seen = Path::new("/proc").join(pid).join("root/x");
    assert!(seen.exists(), "process {pid} does not see the volume");
    assert_eq!(serve.names(), ["held"]);

    daemon.ok("rm -f holder");
    daemon.ok("volume rm held");
    assert_eq!(serve.names(), Vec::<String>::new());
}

#[test]
fn a_container_of_another_user_writes_to_a_volume_that_is_made_for_it() {
    let (_setup, serve, daemon) = start();
    daemon.ok(&format!("volume create -d dirvol {OWN} own"));
    let options = "--rm --user 1000:1000 -v own:/home/data";
    daemon.run(options, "touch /home/data/mine");
    assert_eq!(daemon.run(options, "stat -c %u:%g:%a /home/data"), "1000:1000:700\n");
    let file = fs::metadata(serve.root.join("volumes/own/data/mine")).unwrap();
    assert_eq!((file.uid(), file.gid()), (1000, 1000));

    // It is the options that let the user in.
    daemon.ok("volume create -d dirvol other");
    let options = "--rm --user 1000:1000 -v other:/home/data";
    let error = daemon.run_fails(options, "touch /home/data/mine");
    assert!(error.contains("Permission denied"), "{error}");
}

#[test]
fn nocopy_keeps_the_owner_that_the_options_say_and_the_volume_empty() {
    let (_setup, serve, daemon) = start();
    daemon.ok(&format!("volume create -d dirvol {OWN} own"));
    let options = "--rm --user 1000:1000 -v own:/seeded:nocopy";
    assert_eq!(daemon.run(options, "stat -c %u:%g:%a /seeded"), "1000:1000:700\n");
    daemon.run(options, "touch /seeded/mine");
    assert_eq!(files(&serve, "own"), ["mine"]);
}

/// Without `nocopy`, dockerd fills an empty volume with what the image has in
/// its place, and gives it the owner and the mode of the image's directory,
/// whatever the options have said. A volume with something in it is left as it is.
#[test]
fn the_content_of_the_image_comes_with_its_owner_and_mode() {
    let (_setup, serve, daemon) = start();
    daemon.ok(&format!("volume create -d dirvol {OWN} empty"));
    let options = "--rm --user 1000:1000 -v empty:/seeded";
    assert_eq!(daemon.run(options, "stat -c %u:%g:%a /seeded"), "7:8:711\n");
    assert_eq!(daemon.run(options, "cat /seeded/greeting"), "hello from the image\n");
    assert_eq!(files(&serve, "empty"), ["greeting"]);

    for (volume, file) in [("full", "mine"), ("dotted", ".mine")] {
        daemon.ok(&format!("volume create -d dirvol {OWN} {volume}"));
        let data = serve.root.join("volumes").join(volume).join("data");
        fs::write(data.join(file), "").unwrap();
        let options = format!("--rm --user 1000:1000 -v {volume}:/seeded");
        assert_eq!(daemon.run(&options, "stat -c %u:%g:%a /seeded"), "1000:1000:700\n");
        assert_eq!(files(&serve, volume), [file]);
        let data = fs::metadata(data).unwrap();
        let owner = (data.uid(), data.gid(), data.permissions().mode() & 0o7777);
        assert_eq!(owner, (1000, 1000, 0o700));
    }
}

/// What users have in common is a group, and what they make is the group's.
#[test]
fn users_of_one_group_share_a_volume_that_is_made_for_it() {
    let (_setup, serve, daemon) = start();
    daemon.ok("volume create -d dirvol -o gid=2000 -o mode=2770 team");
    let data = serve.root.join("volumes/team/data");
    for user in [1000, 1001] {
        let options = format!("--rm --user {user}:{user} --group-add 2000 -v team:/team");
        assert_eq!(daemon.run(&options, "stat -c %u:%g:%a /team"), "0:2000:2770\n");
        daemon.run(&options, &format!("touch /team/{user}"));
        let file = fs::metadata(data.join(user.to_string())).unwrap();
        assert_eq!((file.uid(), file.gid()), (user, 2000));
    }
    let error = daemon.run_fails("--rm --user 1002:1002 -v team:/team", "ls /team");
    assert!(error.contains("Permission denied"), "{error}");
    assert_eq!(files(&serve, "team"), ["1000", "1001"]);
}

#[test]
fn options_and_labels_outlast_a_restart_of_dockerd_and_of_the_driver() {
    let (setup, serve, mut daemon) = start();
    daemon.ok("volume create -d dirvol --label a=b -o uid=1000 -o mode=2770 kept");
    let before = daemon.inspect("kept");
    assert_eq!(before[0]["Labels"].to_string(), r#"{"a":"b"}"#);
    assert_eq!(before[0]["Options"].to_string(), r#"{"mode":"2770","uid":"1000"}"#);
    let in_force = r#"{"gid":"0","mode":"2770","protect":"false","retain":"1day","uid":"1000"}"#;
    assert_eq!(before[0]["Status"]["options"].to_string(), in_force);
    daemon.restart();
    assert_eq!(daemon.inspect("kept"), before);
    serve.stop();
    let _serve = setup.serve();
    assert_eq!(daemon.inspect("kept"), before);
    daemon.restart();
    assert_eq!(daemon.inspect("kept"), before);
}

/// dockerd mounts with the same ID again when it comes back, and unmounts once.
#[test]
fn a_volume_of_a_container_that_outlived_dockerd_is_removed_in_the_end() {
    let (_setup, serve, mut daemon) = start();
    daemon.ok("volume create -d dirvol --label a=b held");
    daemon.run("-d --name holder -v held:/x", "top");
    daemon.kill();
    let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"held"}"#);
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.body.contains("volume is in use by process "), "{}", answer.body);
    daemon.boot();
    daemon.ok("start holder");
    let mounts = serve.metric("dirvol_requests_total", "endpoint=\"mount\"");
    assert_eq!(mounts, 2);
    let error = daemon.fails("volume rm held");
    assert!(error.contains("volume is in use"), "{error}");
    daemon.ok("rm -f holder");
    assert_eq!(serve.metric("dirvol_requests_total", "endpoint=\"unmount\""), 1);
    assert_eq!(daemon.inspect("held")[0]["Labels"]["a"], "b");
    // The container's mount may go a moment after the container.
    eventually("the volume is removed", || {
        daemon.docker("volume rm held").status.success().then_some(())
    });
    assert_eq!(serve.names(), Vec::<String>::new());
}
