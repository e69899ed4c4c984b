//! An engine whose every call to the driver is written down, and compared with
//! what is expected of it.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::harness::{DEADLINE, Serve, Setup, eventually};
use crate::proxy::{Call, Proxy};

/// A driver, and an engine that reaches it through a proxy.
pub struct Watched {
    pub proxy: Proxy,
    pub daemon: Daemon,
    /// None while the driver is down.
    pub serve: Option<Serve>,
    pub setup: Setup,
    /// The mount IDs that there were, in order.
    ids: Vec<String>,
    /// The calls that were not expected of anything yet.
    calls: Vec<String>,
}

impl Watched {
    /// Starts both, with `settings` in the engine's `daemon.json`.
    pub fn start(settings: &str) -> Self {
        let setup = Setup::new();
        let plugins = setup.path("plugins");
        fs::create_dir(&plugins).unwrap();
        let proxy = Proxy::start(&plugins.join("dirvol.sock"), &setup.socket());
        let serve = Some(setup.serve());
        let daemon = Daemon::start_with(&plugins, settings);
        Self { proxy, daemon, serve, setup, ids: Vec::new(), calls: Vec::new() }
    }

    /// Starts both, with a container `user` that writes into its volume `held` all
    /// the time, until it finds a file `end` there.
    pub fn used(settings: &str, options: &str) -> Self {
        let mut watched = Self::start(settings);
        watched.ok(
            "volume create -d dirvol --label a=b --label c -o uid=5 held",
            &["Activate", "Capabilities", "Get held", "Create held"],
        );
        // Its first process ignores every signal that it can ignore.
        let options = format!("-d --name user --stop-signal KILL {options} -v held:/x");
        let script = "until [ -e /x/end ]; do echo x >> /x/lines; sleep 0.05; done";
        watched.daemon.shell(&options, script);
        watched.called("run", &["Get held", "Get held", "Mount held #1"]);
        watched
    }

    /// Runs a docker command that must succeed, and makes the calls `expected`.
    pub fn ok(&mut self, line: &str, expected: &[&str]) {
        self.daemon.ok(line);
        self.called(line, expected);
    }

    pub fn serve(&self) -> &Serve {
        self.serve.as_ref().expect("the driver is not down")
    }

    /// Restarts the driver.
    pub fn restart_driver(&mut self) {
        self.serve.take().expect("the driver is not down").stop();
        self.serve = Some(self.setup.serve());
    }

    /// Returns the path of a file in the volume `held`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.setup.root().join("volumes/held/data").join(name)
    }

    /// What the container has written.
    pub fn written(&self) -> String {
        fs::read_to_string(self.file("lines")).unwrap_or_default()
    }

    /// Asserts that the container goes on writing, behind what it has written.
    pub fn still_writes(&self) {
        let before = self.written();
        let after = eventually("the container writes", || {
            Some(self.written()).filter(|written| written.len() > before.len())
        });
        assert!(after.starts_with(&before), "{before:?} and then {after:?}");
    }

    /// Asserts that dockerd shows the volume as it was created.
    pub fn is_intact(&self) {
        let shown = self.daemon.inspect("held").remove(0);
        assert_eq!(shown["Labels"], json!({"a": "b", "c": ""}));
        assert_eq!(shown["Options"], json!({"uid": "5"}));
        assert_eq!(shown["Mountpoint"], json!(self.setup.root().join("volumes/held/data")));
        assert_eq!(shown["Status"]["health"], "ok");
    }

    /// Asserts that the driver removes the volume for nobody, for it is mounted.
    pub fn is_held(&self) {
        let answer = self.serve().call("VolumeDriver.Remove", r#"{"Name":"held"}"#);
        assert_eq!(answer.status, 409, "{}", answer.body);
        assert!(answer.body.contains("volume is in use by process "), "{}", answer.body);
        assert!(answer.body.contains("which has it mounted at /x;"), "{}", answer.body);
        assert_eq!(self.serve().names(), ["held"]);
    }

    /// Copies a file out of the volume and another one into it, which dockerd
    /// mounts for with these IDs: to copy out, to look where to copy to, to copy.
    pub fn copy_both_ways(&mut self, [out, look, into]: [&str; 3]) {
        let calls = |ids: &[&str]| -> Vec<String> {
            let pair = |id| [format!("Mount held {id}"), format!("Unmount held {id}")];
            let mounts = ids.iter().flat_map(pair);
            mounts.flat_map(|call| ["Get held".to_owned(), call]).collect()
        };
        self.still_writes();
        let (copy, given) = (self.setup.path("copy"), self.setup.path("given"));
        self.daemon.ok(&format!("cp user:/x/lines {}", copy.display()));
        self.called("cp out of it", &strs(&calls(&[out])));
        let copied = fs::read_to_string(copy).unwrap();
        assert!(!copied.is_empty() && self.written().starts_with(&copied), "{copied:?}");
        fs::write(&given, &copied).unwrap();
        self.daemon.ok(&format!("cp {} user:/x/", given.display()));
        self.called("cp into it", &strs(&calls(&[look, into])));
        assert_eq!(self.daemon.ok("exec user cat /x/given"), copied);
        assert_eq!(fs::read_to_string(self.file("given")).unwrap(), copied);
        fs::remove_file(self.file("given")).unwrap();
        self.still_writes();
    }

    /// Removes the container, which makes `calls`, and the volume.
    pub fn remove(mut self, calls: &[&str]) {
        self.ok("rm -f user", calls);
        self.remove_volume();
    }

    /// Removes the volume, as soon as the driver lets go of it. The container's
    /// mount may go a moment after the container.
    pub fn remove_volume(&mut self) {
        eventually("the volume is removed", || {
            let removed = self.daemon.docker("volume rm held").status.success();
            self.called("volume rm", &["Get held", "Get held", "Remove held"]);
            removed.then_some(())
        });
        assert_eq!(self.serve().names(), Vec::<String>::new());
    }

    /// Asserts that since the last time dockerd has made the calls `expected` and
    /// no others, in this order. A call is a method, the name of a volume and the
    /// number of a mount ID: `#1` is the first that there was, whenever that was.
    /// For a name of 64 digits stands `anonymous`, for a call without a body that
    /// it is `empty`.
    ///
    /// What dockerd still sends when a command has ended is waited for; what it
    /// sends more than it should fails here or at the next time.
    pub fn called(&mut self, what: &str, expected: &[&str]) {
        let start = Instant::now();
        loop {
            for call in self.proxy.take_all_calls() {
                let shown = self.shown(&call);
                self.calls.push(shown);
            }
            let missing = self.calls.len() < expected.len()
                && self.calls.iter().zip(expected).all(|(call, expected)| call == expected);
            if !missing || start.elapsed() > DEADLINE {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(std::mem::take(&mut self.calls), expected, "{what}");
    }

    fn shown(&mut self, call: &Call) -> String {
        let mut shown = call.method.rsplit('.').next().unwrap().to_owned();
        if shown == "Activate" {
            return shown;
        }
        if call.body.is_empty() {
            return shown + " empty";
        }
        let body: Value = serde_json::from_str(&call.body).unwrap();
        match body["Name"].as_str() {
            Some(name) if name.len() == 64 => shown += " anonymous",
            Some(name) => shown = format!("{shown} {name}"),
            None => {}
        }
        if let Some(id) = body["ID"].as_str() {
            if !self.ids.iter().any(|known| known == id) {
                self.ids.push(id.to_owned());
            }
            let number = self.ids.iter().position(|known| known == id).unwrap() + 1;
            shown = format!("{shown} #{number}");
        }
        shown
    }
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}
