//! What dockerd knows of a volume, its labels and options, outlasts every call
//! that is lost on the way. dockerd repeats such a call with an empty body, and
//! drops what it knows when the answer to a Get is anything but the volume.

use std::fs;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, eventually, tree};
use crate::proxy::{Call, Proxy};

/// The volumes that there are, and what they are created with.
const VOLUMES: [(&str, &str); 3] = [
    ("db", "--label team=db --label tier -o uid=5 -o mode=0700"),
    ("web", "--label team=web"),
    ("plain", "-o retain=0"),
];

/// An engine that reaches the driver through a proxy, and knows some volumes.
struct Lossy {
    proxy: Proxy,
    daemon: Daemon,
    serve: Option<Serve>,
    setup: Setup,
}

/// Everything that may not change: what dockerd shows of the volumes, and the
/// whole of the root and the state directory.
#[derive(Debug, PartialEq, Eq)]
struct Everything {
    shown: Vec<Value>,
    root: Vec<String>,
    state: Vec<String>,
}

impl Lossy {
    fn start() -> Self {
        let setup = Setup::new();
        let plugins = setup.path("plugins");
        fs::create_dir(&plugins).unwrap();
        let proxy = Proxy::start(&plugins.join("dirvol.sock"), &setup.socket());
        let serve = setup.serve();
        let daemon = Daemon::start(&plugins);
        for (name, given) in VOLUMES {
            daemon.ok(&format!("volume create -d dirvol {given} {name}"));
        }
        fs::write(serve.root.join("volumes/db/data/table"), "rows").unwrap();
        let lossy = Self { proxy, daemon, serve: Some(serve), setup };
        let facts = |kind: &str| -> Vec<String> {
            let shown = lossy.everything().shown;
            // Of a volume that has none, engines say `null` or `{}`.
            shown.iter().map(|volume| volume[kind].to_string().replace("null", "{}")).collect()
        };
        assert_eq!(facts("Labels"), [r#"{"team":"db","tier":""}"#, r#"{"team":"web"}"#, "{}"]);
        assert_eq!(facts("Options"), [r#"{"mode":"0700","uid":"5"}"#, "{}", r#"{"retain":"0"}"#]);
        lossy
    }

    fn everything(&self) -> Everything {
        let mut shown = self.daemon.inspect(&VOLUMES.map(|(name, _)| name).join(" "));
        for volume in &mut shown {
            // Who mounted it: the one thing here that a lost Unmount changes.
            volume["Status"].as_object_mut().unwrap().remove("holders");
        }
        Everything { shown, root: tree(&self.setup.root()), state: tree(&self.setup.state()) }
    }

    /// Does something in which dockerd calls `method` with a body that contains
    /// `sent`; the first such call is read and dropped. Then dockerd must have
    /// repeated it with an empty body, and nothing may have changed.
    fn lose(&mut self, method: &str, sent: &str, act: impl FnOnce(&mut Daemon)) -> Vec<Call> {
        let before = self.everything();
        self.proxy.take_calls(method);
        self.proxy.drop_next(method);
        act(&mut self.daemon);
        let calls = self.proxy.take_calls(method);
        assert!(calls.len() >= 2 && calls[0].body.contains(sent), "{method}: {calls:?}");
        assert_eq!(calls[1], Call { method: method.into(), body: String::new() });
        assert_eq!(self.everything(), before);
        // What dockerd holds in memory, it also still has on its disk.
        self.daemon.restart();
        assert_eq!(self.everything(), before);
        calls
    }
}

/// What the driver says to a call without a body.
const EMPTY: &str = "the request's body is empty, as in a retry of a dropped call: try again";

#[test]
fn a_lost_activate_changes_nothing() {
    let mut lossy = Lossy::start();
    lossy.lose("Plugin.Activate", "", |daemon| {
        daemon.restart();
    });
}

#[test]
fn a_lost_capabilities_changes_nothing() {
    let mut lossy = Lossy::start();
    let calls = lossy.lose("VolumeDriver.Capabilities", "{}", |daemon| {
        daemon.restart();
        daemon.ok("volume inspect db");
    });
    // The repeated call was answered, or dockerd would ask again and again.
    assert_eq!(calls.len(), 2);
}

/// The retries are not answered: any answer that a call without a name could be
/// given would cost the volume its labels.
#[test]
fn a_lost_get_changes_nothing() {
    let mut lossy = Lossy::start();
    let calls = lossy.lose("VolumeDriver.Get", r#"{"Name":"db"}"#, |daemon| {
        daemon.fails("volume inspect db");
    });
    assert!(calls[1..].iter().all(|call| call.body.is_empty()), "{calls:?}");
}

#[test]
fn a_lost_create_makes_no_volume() {
    let mut lossy = Lossy::start();
    let create = "volume create -d dirvol --label of=fresh fresh";
    lossy.lose("VolumeDriver.Create", r#"{"Name":"fresh""#, |daemon| {
        let error = daemon.fails(create);
        assert!(error.contains(EMPTY), "{error}");
    });
    lossy.daemon.ok(create);
    assert_eq!(lossy.daemon.inspect("fresh")[0]["Labels"]["of"], "fresh");
}

#[test]
fn a_lost_mount_changes_nothing() {
    let mut lossy = Lossy::start();
    lossy.lose("VolumeDriver.Mount", r#"{"Name":"db""#, |daemon| {
        let error = daemon.run_fails("--rm -v db:/db", "cat /db/table");
        assert!(error.contains(EMPTY), "{error}");
    });
    assert_eq!(lossy.daemon.run("--rm -v db:/db", "cat /db/table"), "rows");
}

#[test]
fn a_lost_unmount_changes_nothing() {
    let mut lossy = Lossy::start();
    lossy.daemon.run("-d --name user -v db:/db", "top");
    lossy.lose("VolumeDriver.Unmount", r#"{"Name":"db""#, |daemon| {
        daemon.ok("rm -f user");
    });
    assert_eq!(lossy.daemon.run("--rm -v db:/db", "cat /db/table"), "rows");
}

#[test]
fn a_lost_remove_removes_nothing() {
    let mut lossy = Lossy::start();
    lossy.lose("VolumeDriver.Remove", r#"{"Name":"db"}"#, |daemon| {
        let error = daemon.fails("volume rm db");
        assert!(error.contains(EMPTY), "{error}");
    });
    lossy.daemon.ok("volume rm db");
    assert_eq!(lossy.serve.as_ref().unwrap().names(), ["plain", "web"]);
}

#[test]
fn a_lost_list_changes_nothing() {
    let mut lossy = Lossy::start();
    lossy.lose("VolumeDriver.List", "{}", |daemon| {
        let names = daemon.ok("volume ls --quiet");
        assert_eq!(names.lines().collect::<Vec<_>>(), ["db", "plain", "web"]);
    });
}

/// This engine cannot be brought to call Path, so what its retry would carry is
/// sent by hand.
#[test]
fn a_path_without_a_body_changes_nothing() {
    let lossy = Lossy::start();
    let before = lossy.everything();
    let answer = lossy.serve.as_ref().unwrap().call("VolumeDriver.Path", "");
    assert_eq!((answer.status, answer.body), (400, format!(r#"{{"Err":"{EMPTY}"}}"#)));
    assert_eq!(lossy.everything(), before);
}

/// The driver has read a Get when it is killed, and is back before dockerd gives
/// up.
#[test]
fn a_driver_that_is_killed_in_the_middle_of_a_get_changes_nothing() {
    let mut lossy = Lossy::start();
    let before = lossy.everything();
    lossy.proxy.take_calls("VolumeDriver.Get");
    lossy.proxy.hold_next("VolumeDriver.Get");
    let mut inspect = lossy.daemon.spawn("volume inspect db");
    eventually("the driver has read the call", || lossy.proxy.is_holding().then_some(()));
    lossy.serve.take().unwrap().kill();
    eventually("dockerd tries again in vain", || {
        (lossy.proxy.count("VolumeDriver.Get") >= 2).then_some(())
    });
    lossy.serve = Some(lossy.setup.serve());
    let back = lossy.proxy.count("VolumeDriver.Get");
    eventually("dockerd gives up", || inspect.ended());
    let calls = lossy.proxy.take_calls("VolumeDriver.Get");
    assert!(calls[0].body.contains(r#"{"Name":"db"}"#), "{calls:?}");
    assert!(calls[1..].iter().all(|call| call.body.is_empty()), "{calls:?}");
    assert!(calls.len() > back, "dockerd did not ask the driver that was back: {calls:?}");
    assert_eq!(lossy.everything(), before);
}

#[test]
fn a_damaged_volume_is_shown_with_its_labels() {
    let lossy = Lossy::start();
    let before = lossy.everything();
    let record = lossy.setup.root().join("volumes/db/volume.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "").unwrap();
    let shown = eventually("the driver sees it", || {
        let shown = lossy.daemon.inspect("db").remove(0);
        shown["Status"]["health"].as_str().unwrap().starts_with("damaged: ").then_some(shown)
    });
    assert_eq!(shown["Labels"], before.shown[0]["Labels"]);
    let error = lossy.daemon.fails("volume rm db");
    assert!(error.contains("volume db cannot be used"), "{error}");
    fs::write(&record, whole).unwrap();
    eventually("the driver sees it", || (lossy.everything() == before).then_some(()));
}

#[test]
fn a_root_that_goes_while_it_is_served_costs_no_labels() {
    let lossy = Lossy::start();
    let before = lossy.everything();
    let serve = lossy.serve.as_ref().unwrap();
    fs::rename(&serve.root, lossy.setup.path("elsewhere")).unwrap();
    serve.wait_unavailable();
    let shown = lossy.daemon.inspect("db").remove(0);
    let health = shown["Status"]["health"].as_str().unwrap();
    assert!(health.starts_with("unknown: ") && health.contains("is gone"), "{health}");
    for (name, _) in VOLUMES {
        let error = lossy.daemon.fails(&format!("volume rm {name}"));
        assert!(error.contains("dirvol is unavailable: "), "{error}");
    }
    fs::rename(lossy.setup.path("elsewhere"), &serve.root).unwrap();
    serve.wait_available();
    assert_eq!(lossy.everything(), before);
}
