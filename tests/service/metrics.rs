//! What the metrics say of volumes, of the disk and of failures, and what they
//! leave out.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;
use serde_json::json;

use crate::expect::{failed, named, with_id, with_options};
use crate::harness::{Client, Serve, Setup, eventually, get, request};
use crate::mounts::{in_own_mounts, mount_memory};
use crate::scraped::{Described, Scraped, scrape};

const CREATE: &str = "VolumeDriver.Create";
const MOUNT: &str = "VolumeDriver.Mount";
const UNMOUNT: &str = "VolumeDriver.Unmount";

/// A name as an engine makes one up.
const ANONYMOUS: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// The lines of the metrics that begin with `prefix`.
fn lines(serve: &Serve, prefix: &str) -> Vec<String> {
    let text = get(&serve.socket, "/metrics").body;
    text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn a_volume_has_series_of_its_own_and_one_that_an_engine_named_has_none() {
    let setup = Setup::new();
    let serve = setup.serve();
    for name in ["plain", "held", "damaged", "empty", ANONYMOUS] {
        serve.create(name);
    }
    serve.ok(CREATE, &with_options("kept", &json!({"retain": "7d", "mode": "0700"})));
    for id in ["x", "y", "y"] {
        serve.ok(MOUNT, &with_id("held", id));
    }
    serve.ok(MOUNT, &with_id("plain", "x"));
    serve.ok(UNMOUNT, &with_id("plain", "x"));
    let volumes = setup.root().join("volumes");
    fs::write(volumes.join("damaged/volume.json"), "no record").unwrap();
    fs::remove_dir(volumes.join("empty/data")).unwrap();
    let expected = Scraped {
        calls: vec![("create", [6, 0, 0]), ("mount", [4, 0, 0]), ("unmount", [1, 0, 0])],
        volumes: 6,
        described: vec![
            Described {
                retain: "unknown",
                has_record: false,
                abnormal: true,
                ..Described::new("damaged")
            },
            Described { abnormal: true, ..Described::new("empty") },
            Described { mounts: 2, ..Described::new("held") },
            Described { retain: "7days", ..Described::new("kept") },
            Described::new("plain"),
        ],
        ..Scraped::of(&setup.root())
    };
    assert_eq!(scrape(&serve), expected.answer());
    serve.stop();
}

#[test]
fn a_volume_was_created_when_it_was() {
    let setup = Setup::new();
    let serve = setup.serve();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    serve.create("a");
    let created = serve.metric("dirvol_volume_created_timestamp_seconds", "a");
    assert!((before..=now()).contains(&created), "{created}");
    let started = lines(&serve, "dirvol_start_time_seconds ").remove(0);
    let started: f64 = started.rsplit_once(' ').unwrap().1.parse().unwrap();
    let started = Duration::from_secs_f64(started).as_secs();
    assert!((before - 60..=before).contains(&started), "{started}");
    serve.stop();
}

#[test]
fn so_many_volumes_have_series_as_was_said_and_the_rest_is_counted() {
    let names = ["a", "b", "c", "d"];
    let cases = [("0", 0), ("1", 1), ("3", 3), ("4", 4), ("5", 4)];
    let setup = Setup::new();
    let serve = setup.serve();
    names.iter().rev().for_each(|name| serve.create(name));
    serve.stop();
    for (limit, described) in cases {
        let mut command = setup.command();
        command.env("DIRVOL_METRICS_VOLUMES", limit);
        let serve = setup.start_with(command);
        serve.wait_available();
        let described = names[..described].iter().map(|name| Described::new(name)).collect();
        let expected = Scraped { volumes: 4, described, ..Scraped::of(&setup.root()) };
        assert_eq!(scrape(&serve), expected.answer(), "{limit}");
        serve.stop();
    }
}

#[test]
fn the_space_of_the_root_is_that_of_its_file_system_and_is_not_told_without_it() {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(&setup.root(), "size=8m,nr_inodes=1000");
        let serve = setup.serve();
        serve.create("a");
        fs::write(setup.root().join("volumes/a/data/bytes"), vec![0; 1 << 20]).unwrap();
        let stat = statvfs(&setup.root()).unwrap();
        let root = setup.root().display().to_string();
        let samples: Vec<String> = [
            ("size_bytes", 8 << 20),
            ("avail_bytes", stat.blocks_available() * stat.fragment_size()),
            ("files", 1000),
            ("files_free", stat.files_available()),
        ]
        .map(|(name, value)| format!("dirvol_filesystem_{name}{{root=\"{root}\"}} {value}"))
        .into();
        assert!(stat.blocks_available() * stat.fragment_size() < 7 << 20);
        assert_eq!(lines(&serve, "dirvol_filesystem_"), samples);
        let away = setup.path("away");
        // The root is a mount: it cannot be renamed, and its `volumes/` can.
        fs::rename(setup.root().join("volumes"), &away).unwrap_err();
        fs::rename(setup.root().join("volumes"), setup.root().join("away")).unwrap();
        serve.wait_unavailable();
        assert_eq!(lines(&serve, "dirvol_filesystem_"), [""; 0]);
        // What was last seen of volumes stands.
        assert_eq!(lines(&serve, "dirvol_volumes "), ["dirvol_volumes 1"]);
        assert_eq!(lines(&serve, "dirvol_volume_mounts"), ["dirvol_volume_mounts{volume=\"a\"} 0"]);
        fs::rename(setup.root().join("away"), setup.root().join("volumes")).unwrap();
        serve.wait_available();
        assert_eq!(lines(&serve, "dirvol_filesystem_"), samples);
        serve.stop();
    });
}

#[test]
fn scrapes_at_the_same_time_all_have_the_space() {
    let setup = Setup::new();
    let serve = setup.serve();
    // Many volumes, so that one look is not over before the next begins.
    for number in 0..300 {
        fs::create_dir(setup.root().join("volumes").join(format!("v{number}"))).unwrap();
    }
    let samples = |_| lines(&serve, "dirvol_filesystem_size_bytes{").len();
    let found: Vec<usize> = thread::scope(|scope| {
        let scrapers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..8).map(samples).sum::<usize>())).collect();
        scrapers.into_iter().map(|scraper| scraper.join().unwrap()).collect()
    });
    assert_eq!(found, [8; 4]);
    serve.stop();
}

#[test]
fn a_failure_is_counted_under_its_cause() {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(&setup.root(), "size=8m");
        let serve = setup.serve();
        for name in ["a", "held", "damaged"] {
            serve.create(name);
        }
        serve.ok(MOUNT, &with_id("held", "x"));
        fs::write(setup.root().join("volumes/damaged/volume.json"), "no record").unwrap();
        // The body of a call, and what becomes of it.
        let cases = [
            ("bad_request", CREATE, String::new(), 400),
            ("bad_request", "VolumeDriver.Grow", String::new(), 404),
            ("bad_request", MOUNT, named("a"), 400),
            ("bad_name", CREATE, named("a/b"), 400),
            ("bad_option", CREATE, with_options("b", &json!({"colour": "red"})), 400),
            ("no_such_volume", MOUNT, with_id("b", "x"), 404),
            ("options_differ", CREATE, with_options("a", &json!({"mode": "0700"})), 409),
            ("in_use", "VolumeDriver.Remove", named("held"), 409),
            ("damaged", MOUNT, with_id("damaged", "x"), 500),
        ];
        let count = |kind: &str| serve.metric("dirvol_errors_total", &format!("\"{kind}\""));
        let all = || serve.metric("dirvol_errors_total", "");
        let mut so_far = 0;
        let mut assert_counted = |kind: &str, fails: &dyn Fn()| {
            let before = count(kind);
            fails();
            so_far += 1;
            assert_eq!((count(kind), all()), (before + 1, so_far), "{kind}");
        };
        for (kind, method, body, status) in cases {
            assert_counted(kind, &|| assert_eq!(serve.call(method, &body).status, status));
        }
        assert_counted("bad_request", &|| {
            // A Get that is not answered.
            assert_eq!(Client::connect(&serve.socket).call("VolumeDriver.Get", ""), None);
        });
        let bytes = fs::write(setup.root().join("volumes/a/data/bytes"), vec![0; 8 << 20]);
        assert!(bytes.is_err(), "the disk is not full");
        assert_counted("disk", &|| assert_eq!(serve.call(CREATE, &named("c")).status, 500));
        fs::rename(setup.root().join("volumes"), setup.root().join("away")).unwrap();
        serve.wait_unavailable();
        assert_counted("unavailable", &|| {
            assert_eq!(serve.call(CREATE, &named("c")).status, 503);
        });
        serve.stop();
    });
}

#[test]
fn what_a_fixture_fails_with_is_counted_too() {
    let setup = Setup::new().arg("--test-fixture");
    let serve = setup.serve();
    serve.ok(CREATE, &with_options("a", &json!({"invalidOption": "1"})));
    assert_eq!(serve.call(MOUNT, &with_id("a", "x")), failed(500, "invalid argument"));
    assert_eq!(serve.metric("dirvol_errors_total", "fixture"), 1);
    serve.stop();
}

#[test]
fn a_call_is_in_flight_until_it_is_answered_or_its_client_is_gone() {
    let setup = Setup::new();
    let serve = setup.serve();
    let in_flight = |count: u64| {
        eventually("so many are in flight", || {
            (serve.metric("dirvol_requests_in_flight", "") == count).then_some(())
        });
    };
    let whole = request(CREATE, &named("a"));
    let (begin, rest) = whole.split_at(whole.len() - 2);
    let [mut answered, mut gone] = [(); 2].map(|()| Client::connect(&serve.socket));
    answered.send(begin);
    in_flight(1);
    gone.send(begin);
    in_flight(2);
    answered.send(rest);
    assert_eq!(answered.answer().unwrap().status, 200);
    in_flight(1);
    gone.stream.flush().unwrap();
    gone.stream.shutdown(Shutdown::Both).unwrap();
    in_flight(0);
    serve.stop();
}

#[test]
fn a_call_that_waits_counts_among_the_slow_ones() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("known");
    // A Get of a root that has just gone waits for it.
    fs::rename(setup.root(), setup.path("away")).unwrap();
    serve.wait_unavailable();
    assert_eq!(serve.call("VolumeDriver.Get", &named("new")).status, 404);
    let bucket = |bound: &str| {
        let labels = format!("endpoint=\"get\",le=\"{bound}\"");
        serve.metric("dirvol_request_duration_seconds_bucket", &labels)
    };
    assert_eq!((bucket("1"), bucket("120"), bucket("+Inf")), (0, 1, 1));
    let sum = lines(&serve, "dirvol_request_duration_seconds_sum{endpoint=\"get\"}").remove(0);
    let sum: f64 = sum.rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((1.0..120.0).contains(&sum), "{sum}");
    serve.stop();
}
