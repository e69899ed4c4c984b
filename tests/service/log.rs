//! What is in the log; and a log that cannot be written, which is nobody's matter
//! but the log's.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::expect::{named, neutral, with_id, with_options};
use crate::harness::{Client, Serve, Setup};
use crate::trash::entries;

/// Far more lines than a pipe holds.
const CALLS: usize = 3000;

/// Serves with all output to `log`, sees that it does not matter, and returns how
/// many lines were dropped.
fn assert_served(setup: &Setup, log: &Path) -> u64 {
    std::fs::create_dir(setup.root()).unwrap();
    let serve = setup.command();
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$0" "$@" >"$LOG" 2>&1"#]).env("LOG", log);
    command.arg(serve.get_program()).args(serve.get_args());
    let serve = setup.start_with(command);
    serve.wait_available();
    let mut client = Client::connect(&serve.socket);
    for _ in 0..CALLS {
        assert_eq!(client.call("VolumeDriver.Get", &named("new")).unwrap().status, 404);
    }
    serve.create("a");
    // The threads behind the requests are not ended by it either.
    let away = setup.path("away");
    std::fs::rename(setup.root(), &away).unwrap();
    serve.wait_unavailable();
    std::fs::rename(&away, setup.root()).unwrap();
    serve.wait_available();
    assert_eq!(serve.names(), ["a"]);
    let dropped = serve.metric("dirvol_log_lines_dropped_total", "");
    serve.stop();
    dropped
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    assert_served(&Setup::new(), Path::new("/dev/full"));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let setup = Setup::new();
    let pipe = setup.path("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let dropped = assert_served(&setup, &pipe);
    // A pipe holds 64 KiB, less than a thousand lines, and as many more wait.
    assert!((1..CALLS as u64).contains(&dropped), "{dropped}");
    drop(reader);
}

/// Calls that change something, calls that only look, and calls that fail.
fn make_calls(setup: &Setup, serve: &Serve) {
    let options = json!({"retain": "7d", "uid": "4242"});
    for (method, body) in [
        ("VolumeDriver.Create", with_options("db", &options)),
        ("VolumeDriver.Create", with_options("db", &options)),
        ("VolumeDriver.Create", with_options("db", &json!({"sise": "hunter2"}))),
        ("VolumeDriver.Mount", with_id("db", "f00")),
        ("VolumeDriver.Get", named("db")),
        ("VolumeDriver.Get", named("nosuch")),
        ("VolumeDriver.List", "{}".into()),
        ("VolumeDriver.Remove", named("db")),
        ("VolumeDriver.Unmount", with_id("db", "f00")),
        ("Dirvol.Set", with_options("db", &json!({"mode": "0700"}))),
        ("Dirvol.List", "{}".into()),
        ("Dirvol.Holders", json!({"Name": "db"}).to_string()),
        ("VolumeDriver.Remove", named("db")),
        ("Dirvol.TrashList", "{}".into()),
    ] {
        serve.call(method, &body);
    }
    let [entry] = &entries(&setup.root())[..] else { panic!("one is in the trash") };
    let prune = json!({"UnusedFor": "0", "DryRun": true, "Needed": []});
    for (method, body) in [
        ("Dirvol.TrashRestore", json!({"Entry": entry}).to_string()),
        ("Dirvol.Prune", prune.to_string()),
        ("Dirvol.Remove", named("db")),
        ("Dirvol.Prune", json!({"UnusedFor": "0", "Needed": []}).to_string()),
        ("Dirvol.TrashPurge", json!({"All": true}).to_string()),
    ] {
        serve.call(method, &body);
    }
}

/// What is said of them: level, message, call, volume, mount ID, outcome. The
/// purge of an entry is a line of its own.
fn expected() -> Vec<[&'static str; 6]> {
    let known = "volume db: option \"sise\" is unknown (known: from, gid, inodes, live, mode, path, protect, retain, size, uid)";
    let in_use = "volume db: volume is in use by mount ID f00, which asked for it at \
                  0000-00-00T00:00:00Z; stop its containers first";
    let kept = "kept in the trash as db~0000000000~ffffffffffffffff for 7days; 'dirvol trash \
                purge db~0000000000~ffffffffffffffff' frees its space now";
    let restored = "restored from the trash: db~0000000000~ffffffffffffffff";
    vec![
        ["INFO", "", "create", "db", "", "ok"],
        ["INFO", "it was there already", "create", "db", "", "ok"],
        ["WARN", known, "create", "db", "", "error"],
        ["INFO", "", "mount", "db", "f00", "ok"],
        ["WARN", in_use, "remove", "db", "", "error"],
        ["INFO", "", "unmount", "db", "f00", "ok"],
        ["INFO", "set: mode", "dirvol_set", "db", "", "ok"],
        ["INFO", kept, "remove", "db", "", "ok"],
        ["INFO", restored, "dirvol_trash_restore", "db", "", "ok"],
        ["INFO", "1 would be removed", "dirvol_prune", "", "", "ok"],
        ["INFO", kept, "dirvol_remove", "db", "", "ok"],
        ["INFO", "0 removed", "dirvol_prune", "", "", "ok"],
        ["INFO", "1 purged", "dirvol_trash_purge", "", "", "ok"],
    ]
}

/// The lines of the log that are about calls, without the time in front.
fn lines(serve: &Serve) -> Vec<String> {
    let log = serve.log();
    assert!(!log.contains("hunter2") && !log.contains("4242"), "{log}");
    log.lines().filter(|line| line.contains("outcome")).map(neutral).collect()
}

#[test]
fn each_change_is_one_line_for_people_and_looking_is_none() {
    let setup = Setup::new().log_level("info");
    let serve = setup.serve();
    make_calls(&setup, &serve);
    let seen: Vec<String> = lines(&serve)
        .iter()
        .map(|line| {
            let (_time, rest) = line.split_at(line.find('Z').unwrap() + 1);
            let (rest, ms) = rest.rsplit_once(" ms=").unwrap();
            assert!(ms.parse::<u64>().is_ok(), "{line}");
            rest.trim().to_owned()
        })
        .collect();
    let wanted = expected().into_iter().map(|[level, message, op, volume, id, outcome]| {
        format!("{level} {message} op={op:?} volume={volume:?} mount_id={id:?} outcome={outcome:?}")
    });
    assert_eq!(seen, wanted.collect::<Vec<_>>());
    let purged = " INFO purged, as asked for op=\"dirvol_trash_purge\" volume=\"db\" \
                  entry=\"db~0000000000~ffffffffffffffff\"\n";
    let log = neutral(&serve.log());
    assert_eq!(log.matches(purged).count(), 1, "{log}");
    serve.stop();
}

#[test]
fn each_change_is_one_object_for_programs() {
    let setup = Setup::new().log_level("info").arg("--log-format").arg("json");
    let serve = setup.serve();
    make_calls(&setup, &serve);
    let seen: Vec<Value> = lines(&serve)
        .iter()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let fields = line.as_object_mut().unwrap();
            assert!(fields.remove("ms").unwrap().is_u64());
            let time = fields.remove("timestamp").unwrap();
            humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
            line
        })
        .collect();
    let wanted = expected().into_iter().map(|[level, message, op, volume, id, outcome]| {
        json!({"level": level, "message": message, "op": op, "volume": volume, "mount_id": id,
               "outcome": outcome})
    });
    assert_eq!(seen, wanted.collect::<Vec<_>>());
    serve.stop();
}

#[test]
fn looking_is_told_of_to_whoever_wants_to_know() {
    let setup = Setup::new().log_level("debug");
    let serve = setup.serve();
    make_calls(&setup, &serve);
    let log = serve.log();
    for line in [
        "DEBUG  op=\"get\" volume=\"db\" mount_id=\"\" outcome=\"ok\"",
        "DEBUG no such volume: nosuch op=\"get\" volume=\"nosuch\" mount_id=\"\" outcome=\"error\"",
        "DEBUG  op=\"list\" volume=\"\" mount_id=\"\" outcome=\"ok\"",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    serve.stop();
}
