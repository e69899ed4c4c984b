//! The real binary at work on a disk that can be cut.

use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::disk::{Cut, Disk, FileSystem};
use crate::found;
use crate::harness::{Client, DONE, Serve, Setup};
use crate::ledger::{Change, Ledger, Spec};
use crate::revive::{examine, serve};
use crate::rig::make_root;

/// A driver on the root `root` of a disk, with its state beside it.
pub struct Live {
    // Fields are dropped in this order, the driver before its disk.
    pub serve: Serve,
    pub setup: Setup,
    pub disk: Arc<Disk>,
    pub ledger: Ledger,
}

impl Live {
    /// Serves a new root on a new disk.
    pub fn new(fs: FileSystem) -> Self {
        Self::on(Disk::new(fs))
    }

    /// Serves a new root on this disk.
    pub fn on(disk: Arc<Disk>) -> Self {
        make_root(&disk.path("root"));
        let setup = Setup::new();
        let serve = serve(&setup, &disk.path("root"), &disk.path("state"));
        Self { serve, setup, disk, ledger: Ledger::default() }
    }

    /// Ends the driver as an operator does.
    pub fn stop(&mut self) {
        self.serve.signal(Signal::SIGTERM);
        self.serve.wait();
    }

    /// Serves the same root once more; the driver before must have ended.
    pub fn serve_again(&mut self) {
        self.serve = serve(&self.setup, &self.disk.path("root"), &self.disk.path("state"));
    }

    pub fn create(&self, name: &str, spec: &Spec) {
        let mut client = Client::connect(&self.serve.socket);
        create(&mut client, &self.ledger, name, spec);
    }

    pub fn remove(&self, name: &str) {
        let mut client = Client::connect(&self.serve.socket);
        remove(&mut client, &self.ledger, name);
    }

    pub fn write(&self, name: &str, text: &str) {
        write(&self.disk.path("root"), &self.ledger, name, text);
    }

    pub fn cut(&self, when: &str) -> Cut {
        self.disk.cut(when)
    }

    /// Serves what each cut left, and checks it against all that was asked for.
    pub fn examine(&self, cuts: &[Cut]) {
        for cut in cuts {
            examine(cut, &self.ledger);
        }
    }
}

pub fn create(client: &mut Client, ledger: &Ledger, name: &str, spec: &Spec) {
    ledger.change(name, Change::Create(spec.clone()), || {
        done(client, "VolumeDriver.Create", &spec.body(name));
    });
}

pub fn remove(client: &mut Client, ledger: &Ledger, name: &str) {
    ledger.change(name, Change::Remove, || {
        done(client, "VolumeDriver.Remove", &json!({"Name": name}).to_string());
    });
}

/// Writes into a volume as its user would.
pub fn write(root: &Path, ledger: &Ledger, name: &str, text: &str) {
    let data = root.join("volumes").join(name).join("data");
    ledger.change(name, Change::Write(text.into()), || found::write(&data, text));
}

fn done(client: &mut Client, method: &str, body: &str) {
    let answer = client.call(method, body).expect("the connection was closed");
    assert_eq!((answer.status, answer.body.as_str()), (200, DONE), "{method} {body}");
}
