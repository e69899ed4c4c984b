//! The driver after the power came back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::archived;
use crate::disk::{Cut, Mount};
use crate::found::{self, Shown};
use crate::harness::{DONE, Serve, Setup, eventually, tree};
use crate::ledger::{Change, Ledger};

/// The real binary on the root and the state directory of a cut.
pub struct Revived<'a> {
    // Fields are dropped in this order, the driver before its disk.
    pub serve: Serve,
    _setup: Setup,
    pub root: PathBuf,
    pub state: PathBuf,
    mount: Mount,
    cut: &'a Cut,
    _told: Told,
}

/// Tells what there was when the power came back, should the test fail.
struct Told(String);

/// The command that serves `root` with `state`; the socket and the log are
/// elsewhere, so that nothing else is written to the disk.
pub fn command(setup: &Setup, root: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.args(["serve", "--log-level", "debug"]).stdin(Stdio::null());
    command.arg("--root").arg(root);
    command.arg("--state-dir").arg(state);
    command.arg("--socket").arg(setup.socket());
    command
}

/// The command that makes `root` a root.
pub fn init(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("init").arg(root);
    command
}

/// Serves `root` and waits until it is available.
pub fn serve(setup: &Setup, root: &Path, state: &Path) -> Serve {
    let serve = setup.start_with(command(setup, root, state));
    serve.wait_available();
    serve
}

impl<'a> Revived<'a> {
    /// Serves the directory `root` of a cut, with its directory `state`.
    pub fn new(cut: &'a Cut, root: &str, state: &str) -> Self {
        let mount = cut.mount();
        let state = mount.at.join(state);
        Self::on(cut, mount, root, state)
    }

    /// Serves the directory `root` of a cut, with a state directory elsewhere.
    pub fn with_state(cut: &'a Cut, root: &str, state: PathBuf) -> Self {
        let mount = cut.mount();
        Self::on(cut, mount, root, state)
    }

    fn on(cut: &'a Cut, mount: Mount, root: &str, state: PathBuf) -> Self {
        let mut there = tree(&mount.at);
        if !state.starts_with(&mount.at) {
            there.extend(tree(&state).into_iter().map(|line| format!("state: {line}")));
        }
        let (fs, when, there) = (cut.fs, &cut.when, there.join("\n"));
        let told = Told(format!("--- {fs:?}, cut {when}; there was then\n{there}\n---"));
        let (setup, root) = (Setup::new(), mount.at.join(root));
        let serve = serve(&setup, &root, &state);
        Self { serve, _setup: setup, root, state, mount, cut, _told: told }
    }

    /// Checks that this is the root with `marker`, in working order; and stops.
    pub fn expect_root(self, marker: &str) {
        assert_eq!(fs::read_to_string(self.root.join("dirvol.json")).unwrap(), marker);
        self.expect_sound();
    }

    /// Checks that this is a root in working order; and stops.
    pub fn expect_sound(self) {
        self.is_tidy();
        self.works();
        self.stop();
    }

    /// Stops the driver, and checks the file system that it worked on.
    pub fn stop(self) {
        self.serve.stop();
        self.mount.unmount();
        self.cut.check();
    }

    /// Checks that there is nothing in the root but what belongs there, and that
    /// the state directory knows this root and its names.
    pub fn is_tidy(&self) {
        eventually("staging is empty", || {
            found::entries(&self.root.join("staging")).is_empty().then_some(())
        });
        let expected = ["dirvol.json", "lock", "staging", "trash", "volumes"];
        assert_eq!(found::entries(&self.root), expected);
        let marker: Value =
            serde_json::from_slice(&fs::read(self.root.join("dirvol.json")).unwrap()).unwrap();
        let known = fs::read_to_string(self.state.join("root-id")).unwrap();
        assert_eq!(json!(known.trim_end()), marker["id"]);
        let names = self.serve.names();
        eventually("the state directory has the names of the root", || {
            (found::entries(&self.state.join("seen")) == names).then_some(())
        });
    }

    /// Checks that the driver does its work.
    pub fn works(&self) {
        let before = self.serve.names();
        self.serve.create("after-the-cut");
        self.serve.remove("after-the-cut");
        assert_eq!(self.serve.names(), before);
    }

    /// Checks that every volume that is there is answered as a sound one.
    fn is_sound(&self) {
        let names = found::entries(&self.root.join("volumes"));
        assert_eq!(self.serve.names(), names);
        for name in names {
            let got = self.serve.ok("VolumeDriver.Get", &json!({"Name": name}).to_string());
            let got: Value = serde_json::from_str(&got).unwrap();
            let data = self.root.join("volumes").join(&name).join("data");
            assert_eq!(got["Volume"]["Mountpoint"], json!(data), "{got}");
            assert_eq!(got["Volume"]["Status"]["health"], "ok", "{got}");
        }
    }

    /// What there is of one name.
    fn shown(&self, name: &str) -> Shown {
        found::read(&self.root).remove(name).unwrap_or_default()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Serves what a cut left, and checks it against all that was asked for.
pub fn examine(cut: &Cut, ledger: &Ledger) {
    let revived = Revived::new(cut, "root", "state");
    revived.is_tidy();
    revived.is_sound();
    assert_eq!(fs::read_to_string(revived.root.join("dirvol.json")).unwrap(), cut.marker);
    let allowed = ledger.allowed(cut);
    let shown = found::read(&revived.root);
    for (name, shown) in &shown {
        assert!(allowed.contains_key(name), "nobody asked for {name:?}: {shown:#?}");
    }
    for (name, allowed) in allowed {
        let shown = shown.get(&name).cloned().unwrap_or_default();
        let states: Vec<Shown> =
            allowed.states.iter().map(|known| found::expected(&name, known)).collect();
        assert!(
            states.contains(&shown),
            "of {name:?} there should be one of {states:#?}, and there is {shown:#?}"
        );
        // The client of a call that was cut repeats it.
        if let ([.., done], [change]) = (&states[..], &allowed.open[..]) {
            let repeated = repeat(&revived, &name, change);
            if repeated {
                assert_eq!(&revived.shown(&name), done, "after {change:?} {name:?} again");
            }
        }
    }
    revived.works();
    revived.stop();
}

/// Makes a change again, if a client can.
fn repeat(revived: &Revived, name: &str, change: &Change) -> bool {
    let answer = match change {
        Change::Create(spec) => revived.serve.ok("VolumeDriver.Create", &spec.body(name)),
        Change::Remove => {
            revived.serve.ok("VolumeDriver.Remove", &json!({"Name": name}).to_string())
        }
        Change::Set(mode) => {
            let opts = json!({"mode": format!("{mode:o}")});
            revived.serve.ok("Dirvol.Set", &json!({"Name": name, "Opts": opts}).to_string());
            return true;
        }
        Change::Restore => {
            // It may have been done.
            let body = json!({"Entry": name}).to_string();
            let answer = revived.serve.call("Dirvol.TrashRestore", &body);
            assert!([200, 404].contains(&answer.status), "{answer:?}");
            return true;
        }
        // Of one that was done it is said that there is such a volume.
        Change::Import(spec) => {
            let path = revived.root.with_file_name("again.tar");
            fs::write(&path, archived::archive(spec)).unwrap();
            let answer = archived::import(&revived.serve, name, &path);
            fs::remove_file(&path).unwrap();
            let exists = format!("dirvol: volume {name} exists and is left as it is: ");
            assert!(
                answer.is_ok() || answer.as_ref().unwrap_err().starts_with(&exists),
                "{answer:?}"
            );
            return true;
        }
        Change::Write(_) | Change::Purge | Change::Adopt | Change::Nothing => return false,
    };
    assert_eq!(answer, DONE);
    true
}
