//! A root that cannot be served: whoever asks is told the cause and the cure,
//! nothing is changed, no volume is said to be gone, and it heals by itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::causes::{CAUSES, Cause, Remembered, vanished};
use crate::expect::{done, failed, named, ok, response, with_id};
use crate::harness::{Client, Serve, Setup, eventually, get, metric, tree};
use crate::mounts::{bind, in_own_mounts, mount_memory, set_read_only, unmount_lazily};
use crate::scraped::{Scraped, scrape};

/// Waits until `reason` is the reason: others may come before it.
fn wait_for_reason(serve: &Serve, reason: &str) {
    let reason = json!(reason).to_string();
    eventually("the reason is found", || {
        get(&serve.socket, "/healthz").body.contains(&reason).then_some(())
    });
}

/// Asks for everything that is answered at once, with `reason` for a reason.
fn assert_unavailable(serve: &Serve, reason: &str) {
    let health = json!({"reason": reason, "status": "unavailable"}).to_string();
    assert_eq!(get(&serve.socket, "/healthz"), response(503, "application/json", health));
    let implements = ok(r#"{"Implements":["VolumeDriver"]}"#);
    assert_eq!(serve.call("Plugin.Activate", ""), implements);
    let scope = ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#);
    assert_eq!(serve.call("VolumeDriver.Capabilities", "{}\n"), scope);
    let scraped = scrape(serve);
    assert_eq!(scraped, Scraped::unavailable(&scraped).answer());

    let why = failed(503, &format!("dirvol is unavailable: {reason}"));
    for name in ["known", "new"] {
        assert_eq!(serve.call("VolumeDriver.Create", &named(name)), why);
        assert_eq!(serve.call("VolumeDriver.Remove", &named(name)), why);
        assert_eq!(serve.call("VolumeDriver.Mount", &with_id(name, "x")), why);
        assert_eq!(serve.call("VolumeDriver.Unmount", &with_id(name, "x")), done());
    }
    assert_eq!(serve.call("VolumeDriver.List", "{}\n"), why);
    assert_eq!(serve.call("VolumeDriver.Path", &named("new")), why);
}

/// What a driver that never read the volume `name` says of it: its answer, or
/// `None` where the connection was closed.
fn get_of(serve: &Serve, name: &str) -> Option<crate::harness::Answer> {
    let asked = Instant::now();
    let answer = Client::connect(&serve.socket).call("VolumeDriver.Get", &named(name));
    // Podman gives up after 5 s. The rest is slack for a machine that is busy.
    assert!(asked.elapsed() < Duration::from_secs(4) * 10, "{:?}", asked.elapsed());
    answer
}

/// What is said of a volume that the state directory alone knows.
fn seen(serve: &Serve, name: &str, reason: &str) -> crate::harness::Answer {
    let mountpoint = serve.root.join("volumes").join(name).join("data");
    let health = json!(format!("unknown: dirvol is unavailable: {reason}"));
    ok(format!(
        r#"{{"Volume":{{"Name":"{name}","Mountpoint":"{}","Status":{{"health":{health},"holders":[]}}}},"Err":""}}"#,
        mountpoint.display()
    ))
}

fn assert_served(serve: &Serve) {
    serve.wait_available();
    assert_eq!(serve.names(), ["known"]);
    serve.create("new");
    let got = serve.ok("VolumeDriver.Get", &named("known"));
    assert!(got.contains(r#""health":"ok""#), "{got}");
    assert_eq!(metric(&serve.socket, "dirvol_available", ""), 1);
    serve.remove("new");
}

/// Lives through one cause, from a driver that starts with it to its end.
fn live_through(cause: &Cause) {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("known");
    serve.stop();
    let away = setup.path("away");
    fs::create_dir(&away).unwrap();
    (cause.harm)(&setup, &away);
    let lying = |name: &str| {
        let path = setup.path(name);
        if path.is_dir() { tree(&path) } else { vec![] }
    };
    let before = lying("root");

    let serve = setup.start();
    let reason = (cause.reason)(&setup);
    wait_for_reason(&serve, &reason);
    assert_unavailable(&serve, &reason);
    assert_eq!(serve.call("VolumeDriver.Path", &named("known")).status, 503);
    let none = |name: &str| Some(failed(404, &format!("no such volume: {name}")));
    let (known, new) = match cause.remembered {
        Remembered::Known => (Some(seen(&serve, "known", &reason)), none("new")),
        Remembered::Nothing => (none("known"), none("new")),
        Remembered::Unreadable => (None, None),
    };
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(get_of(&serve, "known"), known));
        scope.spawn(|| assert_eq!(get_of(&serve, "new"), new));
    });
    // Still so after all that was asked.
    assert_unavailable(&serve, &reason);
    assert_eq!(lying("root"), before);

    (cause.mend)(&setup, &away);
    assert_served(&serve);
    let log = serve.log();
    assert_eq!(log.matches(&format!("ERROR unavailable: {reason}\n")).count(), 1, "{log}");
    serve.stop();
}

#[test]
fn each_cause_is_told_with_its_cure_and_heals_by_itself() {
    thread::scope(|scope| {
        for cause in &CAUSES {
            thread::Builder::new()
                .name(cause.what.into())
                .spawn_scoped(scope, || live_through(cause))
                .unwrap();
        }
    });
}

#[test]
fn two_drivers_never_serve_one_root() {
    let (one, two) = (Setup::new(), Setup::new());
    let busy = |setup: &Setup| {
        let root = setup.root();
        format!(
            "root {} is served by another dirvol: stop that one, or give another --root",
            root.display()
        )
    };
    let mut first = one.serve();
    first.create("known");
    symlink(one.root(), two.root()).unwrap();
    // However the one ends, the other takes over.
    for (end, setup) in [(Serve::stop as fn(Serve), &two), (Serve::kill, &one)] {
        let second = setup.start();
        wait_for_reason(&second, &busy(setup));
        assert_unavailable(&second, &busy(setup));
        assert_eq!(first.names(), ["known"]);
        end(first);
        assert_served(&second);
        first = second;
    }
    first.stop();
}

#[test]
fn a_lock_that_was_deleted_still_keeps_another_driver_out() {
    let (one, two) = (Setup::new(), Setup::new());
    let first = one.serve();
    first.create("known");
    symlink(one.root(), two.root()).unwrap();
    fs::remove_file(one.root().join("lock")).unwrap();
    let second = two.start();
    let busy = format!(
        "root {} is served by another dirvol: stop that one, or give another --root",
        two.root().display()
    );
    wait_for_reason(&second, &busy);
    assert_unavailable(&second, &busy);
    first.stop();
    assert_served(&second);
    second.stop();
}

#[test]
fn two_drivers_never_share_a_state_directory() {
    let (one, two) = (Setup::new(), Setup::new());
    let first = one.serve();
    first.create("known");
    let before = tree(&one.state());
    symlink(one.state(), two.state()).unwrap();
    // A root of its own that is the same one by its id, so that nothing else is
    // the matter.
    fs::create_dir_all(two.root().join("volumes")).unwrap();
    fs::copy(one.root().join("dirvol.json"), two.root().join("dirvol.json")).unwrap();
    let second = two.start();
    let busy = format!(
        "state directory {} is used by another dirvol: give this one another --state-dir",
        two.state().display()
    );
    wait_for_reason(&second, &busy);
    assert_unavailable(&second, &busy);
    assert_eq!(tree(&one.state()), before);
    assert_eq!(first.names(), ["known"]);
    first.stop();
    second.wait_available();
    assert_eq!(second.names(), [""; 0]);
    second.stop();
}

/// A driver that has read the volume `known`, and whose root goes and comes back.
fn lose_and_find(setup: &Setup, lose: impl Fn(), find: impl Fn(), reason: &str) {
    let serve = setup.serve();
    serve.create("known");
    serve.create("unread");
    let cached = serve.call("VolumeDriver.Get", &named("known")).neutral();
    let path = serve.call("VolumeDriver.Path", &named("known"));
    lose();
    // What changes something notices at once, before anything was checked.
    let moved = format!(
        "root {} is gone from its path: mount its disk, or move it back",
        setup.root().display()
    );
    let refused = serve.call("VolumeDriver.Mount", &with_id("known", "x"));
    let why = [&*moved, reason].map(|why| failed(503, &format!("dirvol is unavailable: {why}")));
    assert!(why.contains(&refused), "{refused:?}");
    wait_for_reason(&serve, reason);
    assert_unavailable(&serve, reason);

    // What was read before is still told, and where it was.
    let unknown = json!(format!("unknown: {reason}")).to_string();
    let expected = cached.body.replace(r#""ok""#, &unknown);
    assert_eq!(serve.call("VolumeDriver.Get", &named("known")).neutral(), ok(expected).neutral());
    assert_eq!(serve.call("VolumeDriver.Path", &named("known")), path);
    let none = Some(failed(404, "no such volume: new"));
    thread::scope(|scope| {
        scope.spawn(|| {
            // The reason may become another one while the Get waits.
            let answer = get_of(&serve, "unread").unwrap();
            let whys = [&*moved, reason].map(|why| seen(&serve, "unread", why));
            assert!(whys.contains(&answer), "{answer:?}");
        });
        scope.spawn(|| assert_eq!(get_of(&serve, "new"), none));
    });

    find();
    serve.wait_available();
    assert_eq!(serve.names(), ["known", "unread"]);
    assert_eq!(serve.call("VolumeDriver.Get", &named("known")).neutral(), cached);
    serve.stop();
}

#[test]
fn a_root_that_is_renamed_away_is_missed_at_once_and_found_again() {
    let setup = Setup::new();
    let root = setup.root();
    let away = setup.path("away");
    let reason = format!(
        "root {root} does not exist: mount its disk, or make it with 'dirvol init {root}'",
        root = root.display()
    );
    let lose = || fs::rename(&root, &away).unwrap();
    let find = || fs::rename(&away, &root).unwrap();
    lose_and_find(&setup, lose, find, &reason);
}

#[test]
fn a_disk_that_is_unmounted_while_it_is_served_is_missed_at_once_and_found_again() {
    let setup = Setup::new();
    in_own_mounts(|| {
        let (root, disk) = (setup.root(), setup.path("disk"));
        mount_memory(&disk, "size=64m");
        fs::create_dir(&root).unwrap();
        bind(&disk, &root);
        // Its id is known when it was served.
        setup.serve().stop();
        let reason = vanished(&setup);
        lose_and_find(&setup, || unmount_lazily(&root), || bind(&disk, &root), &reason);
        // Nothing was written where the disk was not.
        unmount_lazily(&root);
        assert_eq!(tree(&root), [""; 0]);
    });
}

#[test]
fn volumes_that_are_moved_away_while_they_are_served_are_missed_at_once() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("known");
    let (volumes, away) = (setup.root().join("volumes"), setup.path("away"));
    fs::rename(&volumes, &away).unwrap();
    // Neither is a path given that leads nowhere, nor is anything made there.
    let refused = ["Mount", "Create"]
        .map(|method| serve.call(&format!("VolumeDriver.{method}"), &with_id("known", "x")).status);
    assert_eq!(refused, [503, 503]);
    let reason = format!(
        "root {} has lost its directory 'volumes': restore it, or make it if it was empty",
        setup.root().display()
    );
    wait_for_reason(&serve, &reason);
    assert_unavailable(&serve, &reason);
    fs::rename(&away, &volumes).unwrap();
    assert_served(&serve);
    serve.stop();
}

#[test]
fn a_disk_that_is_mounted_read_only_is_served_when_it_can_be_written() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("known");
    serve.stop();
    let before = tree(&setup.root());
    in_own_mounts(|| {
        let root = setup.root();
        bind(&root, &root);
        set_read_only(&root, true);
        let serve = setup.start();
        let reason = format!(
            "openat2 {}/lock: Read-only file system (os error 30): see the kernel's \
             log, and who may use that path",
            root.display()
        );
        wait_for_reason(&serve, &reason);
        assert_unavailable(&serve, &reason);
        assert_eq!(tree(&root), before);
        set_read_only(&root, false);
        assert_served(&serve);
        serve.stop();
    });
}

#[test]
fn the_names_in_the_state_directory_are_brought_in_line_with_the_root() {
    let setup = Setup::new();
    let serve = setup.serve();
    for name in ["stays", "goes"] {
        serve.create(name);
    }
    serve.stop();
    // Behind the driver's back one goes, and one comes that went before.
    let volumes = setup.root().join("volumes");
    fs::rename(volumes.join("goes"), setup.path("gone")).unwrap();
    let serve = setup.serve();
    let names = |expected: [&str; 2]| {
        eventually("they are in line", || {
            let seen = fs::read_dir(setup.state().join("seen")).unwrap();
            let mut seen: Vec<_> = seen.map(|name| name.unwrap().file_name()).collect();
            seen.sort();
            let expected = expected.iter().filter(|name| !name.is_empty());
            seen.iter().eq(expected).then_some(())
        });
    };
    names(["", "stays"]);
    serve.stop();
    fs::rename(setup.path("gone"), volumes.join("goes")).unwrap();
    let serve = setup.serve();
    names(["goes", "stays"]);
    serve.stop();
}

#[test]
fn a_state_directory_that_is_deleted_while_the_root_is_served_is_made_anew() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("known");
    let before = tree(&setup.state());
    fs::remove_dir_all(setup.state()).unwrap();
    eventually("it is made anew", || {
        (setup.state().is_dir() && tree(&setup.state()) == before).then_some(())
    });
    assert_served(&serve);
    assert_eq!(tree(&setup.state()), before);
    serve.stop();
}

/// As the README has it: nothing but a Get told the driver of the volume.
#[test]
fn a_volume_that_was_moved_back_by_hand_is_known_when_the_root_is_missing() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    serve.remove("a");
    let entry = fs::read_dir(setup.root().join("trash")).unwrap().next().unwrap().unwrap();
    fs::rename(entry.path(), setup.root().join("volumes/a")).unwrap();
    serve.ok("VolumeDriver.Get", &named("a"));
    serve.stop();
    fs::rename(setup.root(), setup.path("away")).unwrap();
    let serve = setup.start();
    let root = setup.root().display().to_string();
    let reason =
        format!("root {root} does not exist: mount its disk, or make it with 'dirvol init {root}'");
    wait_for_reason(&serve, &reason);
    assert_eq!(get_of(&serve, "a"), Some(seen(&serve, "a", &reason)));
    serve.stop();
}
