//! A driver whose root is on a disk of the virtual machine.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dirvol::sys::quota::{self, Account, Amount};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use crate::harness::{DONE, Serve, Setup, eventually};

/// A file system, and how it is mounted.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    pub device: &'static str,
    pub fs: &'static str,
    pub options: &'static str,
}

/// The two that keep limits.
pub const LIMITING: [Disk; 2] = [
    Disk { device: "/dev/vda", fs: "xfs", options: "prjquota" },
    Disk { device: "/dev/vdb", fs: "ext4", options: "prjquota" },
];

/// The same, mounted so that they keep none, and one that never does.
pub const UNLIMITING: [Disk; 3] = [
    Disk { device: "/dev/vda", fs: "xfs", options: "noquota" },
    Disk { device: "/dev/vdb", fs: "ext4", options: "" },
    Disk { device: "/dev/vdc", fs: "ext4", options: "" },
];

pub const MIB: u64 = 1 << 20;

/// A mounted disk with a root on it, and a driver that serves it.
pub struct Served {
    pub serve: Option<Serve>,
    pub setup: Setup,
    disk: Disk,
    root: PathBuf,
}

impl Disk {
    /// Serves a root of this name on the disk.
    pub fn serve(self, root: &str) -> Served {
        let setup = Setup::new();
        let at = setup.path("disk");
        fs::create_dir(&at).unwrap();
        let root = at.join(root);
        symlink(&root, setup.root()).unwrap();
        let mut served = Served { serve: None, setup, disk: self, root };
        served.plug_in(self.options);
        served
    }
}

impl Served {
    /// Mounts the disk with `options` and starts a driver on it.
    pub fn plug_in(&mut self, options: &str) {
        let (device, fs) = (self.disk.device, self.disk.fs);
        let at = self.setup.path("disk");
        mount(Some(device), &at, Some(fs), MsFlags::empty(), Some(options))
            .unwrap_or_else(|errno| panic!("{device} {fs} {options}: {errno}"));
        fs::create_dir_all(&self.root).unwrap();
        self.serve = Some(self.setup.serve());
    }

    /// Serves another root on the same disk, with a driver of its own.
    pub fn beside(&self, root: &str) -> (Setup, Serve) {
        let setup = Setup::new();
        let root = self.setup.path("disk").join(root);
        fs::create_dir(&root).unwrap();
        symlink(&root, setup.root()).unwrap();
        let serve = setup.serve();
        (setup, serve)
    }

    /// Stops the driver and unmounts the disk.
    pub fn unplug(&mut self) {
        self.leave();
        self.serve.take().unwrap().stop();
        umount2(&self.setup.path("disk"), MntFlags::empty()).unwrap();
    }

    pub fn serve(&self) -> &Serve {
        self.serve.as_ref().unwrap()
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name).join("data")
    }

    /// A volume as a container sees it, which may be somebody whom the root's own
    /// permissions keep out.
    pub fn inside(&self, name: &str) -> PathBuf {
        let at = self.setup.path(&format!("container-{name}"));
        if !at.exists() {
            fs::create_dir(&at).unwrap();
            mount(Some(&self.data(name)), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .unwrap();
        }
        at
    }

    /// Ends the containers.
    pub fn leave(&self) {
        for entry in fs::read_dir(self.setup.dir.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with("container-") {
                umount2(&entry.path(), MntFlags::empty()).unwrap();
                fs::remove_dir(entry.path()).unwrap();
            }
        }
    }

    /// Creates a volume that anybody may write to.
    pub fn create(&self, name: &str, options: Value) {
        let mut options = options;
        options["mode"] = "0777".into();
        let body = serde_json::json!({"Name": name, "Opts": options}).to_string();
        assert_eq!(self.serve().ok("VolumeDriver.Create", &body), DONE);
    }

    pub fn set(&self, name: &str, options: Value) {
        let mut body = serde_json::json!({"Name": name});
        body["Opts"] = options;
        self.serve().ok("Dirvol.Set", &body.to_string());
    }

    pub fn status(&self, name: &str) -> Value {
        let body = format!("{{\"Name\":{name:?}}}");
        let got: Value = serde_json::from_str(&self.serve().ok("VolumeDriver.Get", &body)).unwrap();
        got["Volume"]["Status"].clone()
    }

    /// The project of a volume, which the kernel keeps.
    pub fn project(&self, name: &str) -> u32 {
        quota::project(open(&self.data(name)).as_fd()).unwrap()
    }

    pub fn account(&self, project: u32) -> Account {
        quota::account(open(&self.root).as_fd(), project).unwrap()
    }

    /// What a person sees.
    pub fn said(&self, line: &str) -> String {
        let socket = self.setup.socket();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        command.arg("--socket").arg(socket).args(line.split_whitespace());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Takes a limit away behind the driver's back.
    pub fn lose_limit(&self, project: u32) {
        quota::set_limit(open(&self.root).as_fd(), project, Amount::default()).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(serve) = self.serve.take() {
            serve.kill();
        }
        self.leave();
        let at = self.setup.path("disk");
        // The next test on this disk finds it as it was: bare.
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            let _left = fs::remove_dir_all(entry.path());
        }
        eventually("the disk is unmounted", || match umount2(&at, MntFlags::empty()) {
            Ok(()) | Err(nix::errno::Errno::EINVAL) => Some(()),
            Err(_) => None,
        });
    }
}

fn open(path: &Path) -> fs::File {
    fs::File::open(path).unwrap()
}

/// Writes `mib` MiB of zeros into a file, as somebody who is not root, and returns
/// how many bytes went in.
pub fn write(file: &Path, mib: u64) -> u64 {
    let output = writer(file, mib).output().unwrap();
    told(&output);
    fs::metadata(file).map_or(0, |file| file.len())
}

/// The command that writes so.
pub fn writer(file: &Path, mib: u64) -> Command {
    let mut dd = Command::new("/bin/dd");
    dd.args(["if=/dev/zero", "bs=64k", "conv=notrunc"]);
    dd.arg(format!("of={}", file.display())).arg(format!("count={}", mib * 16));
    dd.uid(1000).gid(1000).stdout(Stdio::null());
    dd
}

/// A writer either ends well or is refused by the kernel, and says so.
fn told(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = said.contains("No space left on device") || said.contains("Disk quota exceeded");
    assert!(output.status.success() != refused, "{said}");
}
