//! What goes wrong between Podman and a driver, and that no data is lost by it.
//! Not here: `podman volume rm -f` of a volume that a container uses, which Podman
//! 4.3 never returns from, whatever the driver does.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Serve, Setup, eventually};
use crate::proxy::Proxy;
use crate::storage::{Podman, start};

/// The one mount ID that Podman has for everything.
const ONLY_ID: &str = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2";

/// How often a call of the protocol was answered.
fn calls(serve: &Serve, endpoint: &str) -> u64 {
    serve.metric("dirvol_requests_total", &format!("endpoint={endpoint:?}"))
}

/// The volume `db`, and a container `holder` that has it mounted.
fn hold(podman: &Podman) {
    podman.ok("volume create --driver dirvol --label a=b db");
    podman.shell("--rm -v db:/x", "echo precious > /x/file");
    podman.run("-d --name holder -v db:/x", "top");
}

/// The volume `db`, which a container has had.
fn unused() -> (Setup, Serve, Podman) {
    let (setup, serve, podman) = start();
    hold(&podman);
    podman.ok("rm -f -t 0 holder");
    (setup, serve, podman)
}

/// What Podman says when it finds that a volume is gone. Its exit code is 1 then, for
/// it knows the words "no such volume".
fn forgotten(volume: &str) -> String {
    format!(
        "Error: volume {volume} could not be retrieved from plugin dirvol, but it has been removed \
         from Podman: on /VolumeDriver.Get on volume {volume} in volume plugin dirvol: no such \
         volume: {volume}\n"
    )
}

fn read(podman: &Podman) -> String {
    podman.run("--rm -v db:/x", "cat /x/file")
}

/// Runs a command while the driver is down. It succeeds, and complains of nothing
/// else; every command does, whatever it is about.
fn despite(podman: &Podman, line: &str) -> String {
    let output = podman.podman(line);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{line}: {complaint}");
    let about = "Volume db uses volume plugin dirvol, but it cannot be accessed";
    assert!(complaint.lines().all(|line| line.contains(about)), "{line}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn containers_go_on_while_the_driver_is_down_and_the_volume_is_removed_after() {
    let (setup, serve, podman) = start();
    hold(&podman);
    podman.ok("volume create local");
    serve.stop();
    let (code, error) = podman.fails("volume ls");
    let why = "Error: volume db uses volume plugin dirvol but it is not available, cannot inspect: \
               required plugin missing\n";
    assert!(code == 125 && error.ends_with(why), "{code} {error}");
    // Neither a running container, nor another on what is mounted, nor one of
    // another driver needs it.
    assert_eq!(despite(&podman, "exec holder cat /x/file"), "precious\n");
    let second = podman.container("--rm -v db:/x", "cat /x/file");
    assert_eq!(despite(&podman, &second), "precious\n");
    let other = podman.container("--rm -v local:/x", "echo runs");
    assert_eq!(despite(&podman, &other), "runs\n");
    // The container ends, and Podman has nobody to tell.
    let _complains = podman.podman("rm -f -t 0 holder");

    let serve = setup.serve();
    assert_eq!(podman.ok("volume ls -q"), "db\nlocal\n");
    assert_eq!(read(&podman), "precious\n");
    assert_eq!(podman.ok("volume rm db"), "db\n");
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// A socket that nobody listens at any more, as a driver that was killed leaves it.
#[test]
fn a_stale_socket_is_told_of_and_is_replaced() {
    let (setup, serve, podman) = unused();
    serve.kill();
    let (code, error) = podman.fails("volume ls");
    assert!(code == 125 && error.contains("connection refused"), "{code} {error}");
    let _serve = setup.serve();
    assert_eq!(podman.ok("volume ls -q"), "db\n");
    assert_eq!(read(&podman), "precious\n");
}

/// Podman then forgets what it knew of the volumes, and nothing else is lost.
#[test]
fn a_reload_while_the_driver_is_down_loses_labels_and_no_bytes() {
    let (setup, serve, podman) = unused();
    serve.stop();
    let output = podman.podman("volume reload");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Removed:\ndb\n");
    let _serve = setup.serve();
    assert_eq!(podman.ok("volume reload"), "Added:\ndb\n");
    assert_eq!(podman.inspect("db")["Labels"], serde_json::json!({}));
    assert_eq!(read(&podman), "precious\n");
}

/// A driver that was started again knows no mount IDs, and Podman does not mount
/// anew what it has mounted.
#[test]
fn a_restarted_driver_refuses_what_is_in_use_and_removes_what_is_not() {
    let (setup, serve, podman) = start();
    hold(&podman);
    serve.stop();
    let serve = setup.serve();
    assert_eq!(read(&podman), "precious\n");
    assert_eq!(calls(&serve, "mount"), 0);
    let answer = serve.call("VolumeDriver.Remove", r#"{"Name":"db"}"#);
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(answer.body.contains("volume db: volume is in use by process "), "{}", answer.body);
    podman.ok("rm -f -t 0 holder");
    // It is of an ID that was never heard of, and it succeeds.
    assert_eq!((calls(&serve, "mount"), calls(&serve, "unmount")), (0, 1));
    assert_eq!(podman.ok("volume rm db"), "db\n");
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// The driver has mounted, and Podman, whose time was up, does not know it: it
/// never unmounts. The removal waits for a while, and is then done.
#[test]
fn a_mount_that_timed_out_at_podman_does_not_keep_the_volume_for_ever() {
    let setup = Setup::new();
    let serve = setup.serve();
    let proxy = Proxy::start(&setup.path("slow.sock"), &serve.socket);
    let podman = Podman::with_timeout(setup.dir.path(), &["slow"], Some(1));
    podman.ok("volume create --driver slow db");
    proxy.hold_next("VolumeDriver.Mount");
    let mounted = Instant::now();
    let (_code, error) = podman.run_fails("--rm -v db:/x", "true");
    let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert!(error.contains(why), "{error}");
    assert_eq!((calls(&serve, "mount"), calls(&serve, "unmount")), (1, 0));
    let output = podman.podman("volume rm db");
    // It waits for 10 s, counted from the Mount.
    if output.status.success() {
        assert!(mounted.elapsed() > Duration::from_secs(10), "it did not wait");
        return;
    }
    let error = String::from_utf8_lossy(&output.stderr);
    let why = format!("volume db: volume is in use by mount ID {}, ", &ONLY_ID[..12]);
    assert!(output.status.code() == Some(125) && error.contains(&why), "{error}");
    assert_eq!(podman.ok("volume ls -q"), "db\n");
    eventually("the volume is removed", || {
        podman.podman("volume rm db").status.success().then_some(())
    });
    assert_eq!(serve.names(), Vec::<String>::new());
    assert_eq!(calls(&serve, "unmount"), 0);
}

/// As above, and somebody does not want to wait.
#[test]
fn a_mount_that_timed_out_at_podman_is_healed_by_the_next() {
    let setup = Setup::new();
    let serve = setup.serve();
    let proxy = Proxy::start(&setup.path("slow.sock"), &serve.socket);
    let podman = Podman::with_timeout(setup.dir.path(), &["slow"], Some(1));
    podman.ok("volume create --driver slow db");
    proxy.hold_next("VolumeDriver.Mount");
    podman.run_fails("--rm -v db:/x", "true");
    podman.run("--rm -v db:/x", "true");
    assert_eq!(podman.ok("volume rm db"), "db\n");
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// Both have the same mount ID, so what the second unmounts is the first one's; but
/// the kernel knows.
#[test]
fn a_volume_is_not_removed_by_another_podman_under_a_running_container() {
    let (_setup, serve, first) = start();
    hold(&first);
    let second = first.beside();
    assert_eq!(second.ok("volume reload"), "Added:\ndb\n");
    assert_eq!(read(&second), "precious\n");
    assert_eq!((calls(&serve, "mount"), calls(&serve, "unmount")), (3, 2));
    let (code, error) = second.fails("volume rm db");
    let start = "Error: on /VolumeDriver.Remove on volume db in volume plugin dirvol: volume db: \
                 volume is in use by process ";
    let end = " which has it mounted at /x; stop its containers first\n";
    let whole = error.contains(start.trim_start_matches("Error: ")) && error.ends_with(end);
    assert!(code == 125 && whole, "{code} {error}");
    assert_eq!(first.ok("exec holder cat /x/file"), "precious\n");
    assert_eq!(serve.names(), ["db"]);

    first.ok("rm -f -t 0 holder");
    assert_eq!(second.ok("volume rm db"), "db\n");
    assert_eq!(serve.names(), Vec::<String>::new());
    // The first is told, and forgets it as well.
    assert_eq!(first.fails("volume rm db"), (1, forgotten("db")));
    assert_eq!(first.ok("volume ls -q"), "");
}

#[test]
fn a_refused_removal_keeps_the_volume_with_force_and_with_prune_too() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create --driver dirvol --label a=b --opt protect=true db");
    let before = podman.inspect("db");
    let why = "volume db is protected; if it is to be removed, run 'dirvol set db protect=false' \
               first";
    for line in ["volume rm db", "volume rm -f db", "volume prune -f"] {
        let output = podman.podman(line);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(why), "{line}: {error}");
        assert_eq!(output.status.code(), Some(125), "{line}: {error}");
        assert_eq!(podman.inspect("db"), before, "{line}");
    }
    assert_eq!(serve.names(), ["db"]);
}

/// Podman's list is all or nothing: one volume that it cannot ask for breaks it.
#[test]
fn a_volume_that_is_gone_breaks_the_list_until_podman_forgets_it() {
    let (_setup, serve, podman) = start();
    for name in ["gone", "here"] {
        podman.ok(&format!("volume create --driver dirvol {name}"));
    }
    serve.remove("gone");
    let (code, error) = podman.fails("volume ls");
    assert!(code == 125 && error.ends_with("no such volume: gone\n"), "{code} {error}");
    assert_eq!(podman.fails("volume rm gone"), (1, forgotten("gone")));
    assert_eq!(podman.ok("volume ls -q"), "here\n");
}

#[test]
fn a_damaged_volume_does_not_break_the_list_nor_another_volume() {
    let (setup, serve, podman) = unused();
    podman.ok("volume create --driver dirvol broken");
    fs::write(serve.root.join("volumes/broken/volume.json"), "{").unwrap();
    serve.stop();
    let _serve = setup.serve();
    assert_eq!(podman.ok("volume ls -q"), "broken\ndb\n");
    let shown = podman.inspect("broken");
    let health =
        "damaged: its record cannot be used: EOF while parsing an object at line 1 column 1";
    assert_eq!(shown["Status"]["health"], health);
    let (_code, error) = podman.run_fails("--rm -v broken:/x", "true");
    assert!(error.contains("volume broken cannot be used: "), "{error}");
    assert_eq!(read(&podman), "precious\n");
}

#[test]
fn volumes_are_listed_while_their_disk_is_not_there_and_none_is_mounted_or_made() {
    let (setup, serve, podman) = unused();
    let away = setup.path("away");
    fs::rename(&serve.root, &away).unwrap();
    serve.wait_unavailable();
    assert_eq!(podman.ok("volume ls -q"), "db\n");
    let mount = podman.container("--rm -v db:/x", "true");
    for line in [&mount, "volume create --driver dirvol new"] {
        let (_code, error) = podman.fails(line);
        assert!(error.contains("dirvol is unavailable: "), "{line}: {error}");
    }
    assert!(!Path::new(&serve.root).exists());
    fs::rename(&away, &serve.root).unwrap();
    serve.wait_available();
    assert_eq!(read(&podman), "precious\n");
    assert_eq!(podman.inspect("db")["Labels"]["a"], "b");
}

/// It knows no driver where none is named, so it takes its own.
#[test]
fn a_volume_that_is_first_named_by_a_container_is_podmans_own() {
    let (_setup, serve, podman) = start();
    podman.run("--rm -v new:/x", "true");
    assert_eq!(podman.inspect("new")["Driver"], "local");
    assert_eq!(serve.names(), Vec::<String>::new());
}

/// It removes every volume that Podman knows, and the driver keeps what it is to keep.
#[test]
fn a_reset_of_podman_leaves_the_volumes_in_the_trash() {
    let (_setup, serve, podman) = start();
    hold(&podman);
    podman.ok("volume create --driver dirvol --opt protect=true protected");
    podman.ok("rm -f -t 0 holder");
    // It complains of the one that it cannot remove, and goes on.
    let output = podman.podman("system reset --force");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("volume protected is protected"), "{complaint}");
    assert_eq!(serve.names(), ["protected"]);
    assert_eq!(serve.metric("dirvol_trash_entries", ""), 1);
}
