//! Devices that the kernel makes of others, and the marks in a record of writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use crate::disk::run;
use crate::harness::eventually;

/// A mapped device. Dropping it takes it away.
pub struct Mapped {
    name: &'static str,
}

/// The moments between which each mark was put, by its number.
pub struct Marks {
    device: &'static str,
    put: Mutex<Vec<(Instant, Instant)>>,
}

impl Mapped {
    /// A device of which each write is recorded on the device `log`.
    pub fn recorded(name: &'static str, origin: &Path, log: &Path) -> Self {
        let (size, origin, log) = (sectors(origin), origin.display(), log.display());
        Self::new(name, &format!("0 {size} log-writes {origin} {log}"))
    }

    /// What `origin` is now; what is written to it goes to the device `changes`.
    pub fn snapshot(name: &'static str, origin: &Path, changes: &Path) -> Self {
        let (size, origin, changes) = (sectors(origin), origin.display(), changes.display());
        Self::new(name, &format!("0 {size} snapshot {origin} {changes} N 8"))
    }

    fn new(name: &'static str, table: &str) -> Self {
        run(dmsetup().args(["create", name, "--table", table]));
        Self { name }
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev/mapper").join(self.name)
    }

    pub fn marks(&self) -> Marks {
        Marks { device: self.name, put: Mutex::default() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // What is just being unmounted holds it for a moment.
        eventually("the mapped device can be removed", || {
            let removed = dmsetup().args(["remove", self.name]).output().unwrap();
            removed.status.success().then_some(())
        });
    }
}

impl Marks {
    /// Puts the next mark: what was acknowledged before is in the record before it.
    pub fn put(&self) {
        let mut put = self.put.lock().unwrap();
        let before = Instant::now();
        let number = put.len().to_string();
        run(dmsetup().args(["message", self.device, "0", "mark", &number]));
        put.push((before, Instant::now()));
    }

    /// All that were put, in the order of the record.
    pub fn all(self) -> Vec<(Instant, Instant)> {
        self.put.into_inner().unwrap()
    }
}

fn dmsetup() -> Command {
    let mut dmsetup = Command::new("dmsetup");
    // There is no udev, which would make the devices' files.
    dmsetup.env("DM_DISABLE_UDEV", "1");
    dmsetup
}

fn sectors(device: &Path) -> u64 {
    let name = device.file_name().unwrap().to_str().unwrap();
    let size = fs::read_to_string(format!("/sys/class/block/{name}/size")).unwrap();
    size.trim().parse().unwrap()
}
