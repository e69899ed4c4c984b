//! What a prune removes, and what it never does.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::asked::{refused, said};
use crate::expect::{TIME, done, failed, listing, named, neutral, ok, with_id, with_options};
use crate::harness::{DEADLINE, Serve, Setup, eventually};
use crate::mounts::{Container, in_own_mounts, mount_memory};

const DAY: Duration = Duration::from_secs(86_400);

/// Makes a volume as old as if it had been used `age` ago for the last time.
fn age(setup: &Setup, name: &str, age: Duration) {
    let times = FileTimes::new().set_modified(SystemTime::now() - age);
    File::open(setup.state().join("seen").join(name)).unwrap().set_times(times).unwrap();
}

/// For how long a volume was not used.
fn unused(setup: &Setup, name: &str) -> Duration {
    let noted = fs::metadata(setup.state().join("seen").join(name)).unwrap();
    noted.modified().unwrap().elapsed().unwrap_or_default()
}

/// Serves in a place where no engine is to be found.
fn without_engine(test: impl FnOnce(&Setup, &Serve) + Send) {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(Path::new("/run"), "");
        let serve = setup.serve();
        test(&setup, &serve);
        serve.stop();
    });
}

/// Prunes, and says that there is no engine.
fn prune(serve: &Serve, line: &str) -> String {
    said(serve, &format!("{line} --no-engine"))
}

#[test]
fn what_nobody_has_used_for_long_goes_to_the_trash() {
    without_engine(|setup, serve| {
        let anonymous = "0123456789abcdef".repeat(4);
        for name in ["fresh", "old", "protected", "damaged", "mounted", "held", &anonymous] {
            serve.create(name);
            age(setup, name, DAY * 8);
        }
        age(setup, "fresh", DAY * 6);
        let scratch = with_options("scratch", &json!({"retain": "0"}));
        assert_eq!(serve.call("VolumeDriver.Create", &scratch), done());
        age(setup, "scratch", DAY * 8);
        said(serve, "set protected protect=true");
        fs::write(setup.root().join("volumes/damaged/volume.json"), "torn").unwrap();
        let container = Container::with(&setup.root().join("volumes/mounted/data"));
        serve.ok("VolumeDriver.Mount", &with_id("held", "x"));
        // It was mounted long ago, as of a container that runs on.
        age(setup, "held", DAY * 8);
        let before = (listing(&setup.root()), listing(&setup.state()));

        let kept = format!(
            "damaged    -                     stays: it is damaged: its record cannot be used: \
             expected ident at line 1 column 2\n\
             held       -                     stays: it is in use by mount ID x, which asked for \
             it at {TIME}\n\
             mounted    -                     stays: it is in use by process {}, which has it \
             mounted at /mnt\n\
             protected  -                     stays: it is protected\n",
            container.pid()
        );
        let heads =
            |width: usize| format!("{:width$}  LAST USED             WHAT BECAME OF IT\n", "NAME");
        let lines = |fates: [&str; 3]| {
            let rows = [(anonymous.as_str(), fates[0]), ("old", fates[1]), ("scratch", fates[2])];
            let rows = rows.map(|(name, fate)| format!("{name:64}  {TIME}  {fate}\n"));
            let kept = kept.lines().map(|line| {
                let (name, rest) = line.split_once(' ').unwrap();
                format!("{name:64}  {}\n", rest.trim_start())
            });
            heads(64) + &rows.concat() + &kept.collect::<String>()
        };
        let trash = "would be in the trash for 1day";
        let would = [trash, trash, "would be deleted for good"];
        assert_eq!(prune(serve, "prune --dry-run"), lines(would));
        assert_eq!((listing(&setup.root()), listing(&setup.state())), before);

        let entry = |name: &str| format!("{name}~0000000000~ffffffffffffffff");
        let kept_as = |name: &str| format!("in the trash for 1day as {}", entry(name));
        let (first, second) = (kept_as(&anonymous), kept_as("old"));
        assert_eq!(prune(serve, "prune"), lines([&first, &second, "deleted for good"]));
        assert_eq!(serve.names(), ["damaged", "fresh", "held", "mounted", "protected"]);
        let log = neutral(&serve.log());
        let line = format!(
            "INFO kept in the trash as {entry} for 1day; 'dirvol trash purge {entry}' frees its \
             space now op=\"dirvol_prune\" volume=\"old\"\n",
            entry = entry("old")
        );
        assert_eq!(log.matches(&line).count(), 1, "{log}");
        // It is all still there.
        said(serve, "trash restore old");
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("held", "x")), r#"{"Err":""}"#);
        drop(container);
        // What was used just now is not old any more; of the mounted one nobody said so.
        age(setup, "mounted", DAY * 8);
        let pruned = prune(serve, "prune --format json");
        assert!(pruned.starts_with(r#"{"Removed":[{"Name":"mounted","#), "{pruned}");
        assert_eq!(serve.names(), ["damaged", "fresh", "held", "old", "protected"]);
    });
}

#[test]
fn a_use_is_what_counts_and_not_the_creation() {
    without_engine(|setup, serve| {
        for name in ["a", "b", "c"] {
            serve.create(name);
            age(setup, name, DAY * 30);
        }
        serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
        assert!(unused(setup, "a") < DEADLINE);
        age(setup, "a", DAY * 30);
        serve.ok("VolumeDriver.Unmount", &with_id("a", "x"));
        // Nobody waits for that to be noted.
        eventually("it is noted", || (unused(setup, "a") < DEADLINE).then_some(()));
        // Looking is no use.
        serve.ok("VolumeDriver.Get", &named("b"));
        serve.ok("VolumeDriver.Path", &named("b"));
        serve.ok("VolumeDriver.List", "{}");
        assert!(unused(setup, "b") > DAY);
        let pruned = prune(serve, "prune --unused-for 29d --format json");
        assert!(pruned.starts_with(r#"{"Removed":[{"Name":"b","#), "{pruned}");
        assert_eq!(serve.names(), ["a"]);
        // What is back from the trash is as new.
        said(serve, "trash restore c");
        assert!(unused(setup, "c") < DEADLINE);
        // Whoever says so has everything removed that nobody uses.
        prune(serve, "prune --unused-for 0");
        assert_eq!(serve.names(), [""; 0]);
    });
}

/// The name may be known of a volume that was moved away by hand.
#[test]
fn a_new_volume_is_not_as_old_as_one_that_had_its_name() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    age(&setup, "a", DAY * 30);
    fs::rename(setup.root().join("volumes/a"), setup.path("away")).unwrap();
    serve.create("a");
    assert!(unused(&setup, "a") < DEADLINE);
    serve.stop();
}

#[test]
fn a_volume_that_is_mounted_when_the_driver_starts_is_in_use_then() {
    let setup = Setup::new();
    let serve = setup.serve();
    for name in ["a", "b"] {
        serve.create(name);
        age(&setup, name, DAY * 30);
    }
    serve.stop();
    let container = Container::with(&setup.root().join("volumes/a/data"));
    let serve = setup.serve();
    eventually("it is noted", || (unused(&setup, "a") < DEADLINE).then_some(()));
    assert!(unused(&setup, "b") > DAY);
    drop(container);
    serve.stop();
}

/// In a process namespace of its own, as a managed plugin is, the driver sees
/// nobody who has its volumes mounted.
#[test]
fn a_driver_that_does_not_see_the_host_prunes_only_what_no_engine_needs() {
    let setup = Setup::new();
    fs::create_dir(setup.root()).unwrap();
    let serve = setup.command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=TERM", "--mount-proc"]);
    command.arg(serve.get_program()).args(serve.get_args()).stdin(Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    for name in ["a", "b"] {
        serve.create(name);
        age(&setup, name, DAY * 8);
    }
    let container = Container::with(&setup.root().join("volumes/a/data"));
    let call = |needed: serde_json::Value| {
        let mut body = json!({"UnusedFor": "7d"});
        if !needed.is_null() {
            body["Needed"] = needed;
        }
        serve.call("Dirvol.Prune", &body.to_string()).neutral()
    };
    let why = "this driver does not see the host's processes, and no engine was asked: run the \
               prune where Docker's socket is";
    assert_eq!(call(json!(null)), failed(409, why));
    assert_eq!(serve.names(), ["a", "b"]);
    let removed = format!(
        r#"{{"Removed":[{{"Name":"b","LastUsed":"{TIME}","Entry":"b~0000000000~ffffffffffffffff","Retain":"1day"}}],"Kept":[{{"Name":"a","Why":"a container needs it"}}],"Err":""}}"#
    );
    assert_eq!(call(json!(["a", "other"])), ok(removed));
    assert_eq!(serve.names(), ["a"]);
    drop(container);
    drop(serve);
    eventually("the driver has ended", || {
        File::open(setup.root().join("lock")).unwrap().try_lock().ok()
    });
}

#[test]
fn an_engine_that_cannot_be_asked_is_a_reason_to_remove_nothing() {
    without_engine(|setup, serve| {
        serve.create("old");
        age(setup, "old", DAY * 8);
        let before = listing(&setup.root());
        let why = "there is no engine to ask which volumes its containers need: start it (Podman: \
                   'systemctl start podman.socket'), or say --no-engine if there is none";
        refused(serve, "prune", why);
        fs::write("/run/docker.sock", "").unwrap();
        let why = "the engine at /run/docker.sock cannot be asked which volumes its containers \
                   need: cannot connect to /run/docker.sock: Connection refused (os error 111); \
                   start it first";
        refused(serve, "prune", why);
        assert_eq!(listing(&setup.root()), before);
    });
}
