//! A btrfs on a loop device, which a driver is served on.

use std::cell::Cell;
use std::fs::{self, File};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::disk::run;
use crate::harness::{self, eventually};
use crate::served::{Disk, Served};

/// What the file system counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    None,
    /// `btrfs quota enable`
    Full,
    /// `btrfs quota enable --simple`, from Linux 6.7 on.
    Simple,
}

/// A loop device with a btrfs that is not mounted. Dropping it detaches the device.
pub struct Btrfs {
    device: &'static str,
    _dir: TempDir,
}

/// What is freed is counted so at a commit, and the kernel gives back what was deleted
/// after one.
pub const OPTIONS: &str = "commit=1";

const SIZE: u64 = 1 << 30;

impl Btrfs {
    pub fn new(quota: Quota) -> Self {
        keep_mounts_to_ourselves();
        let dir = harness::temporary();
        let image = dir.path().join("image");
        File::create_new(&image).unwrap().set_len(SIZE).unwrap();
        run(Command::new("mkfs.btrfs").arg("-q").arg(&image));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        let disk = Self { device: device.trim().to_owned().leak(), _dir: dir };
        if quota != Quota::None {
            disk.count(quota);
        }
        disk
    }

    /// Mounts it and serves a root on it.
    pub fn serve(&self) -> Served {
        Disk { device: self.device, fs: "btrfs", options: OPTIONS }.serve("root")
    }

    fn count(&self, quota: Quota) {
        let at = self._dir.path().join("at");
        fs::create_dir(&at).unwrap();
        run(Command::new("mount").arg(self.device).arg(&at));
        if quota == Quota::Full {
            run(Command::new("btrfs").args(["quota", "enable"]).arg(&at));
        } else {
            // The tools of Debian 12 are older than simple quotas: BTRFS_IOC_QUOTA_CTL
            // with BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA.
            let enable = "open(my $d, '<', $ARGV[0]) or die $!; my $args = pack('QQ', 4, 0); \
                          ioctl($d, 0xc0109428, $args) or die $!";
            run(Command::new("perl").args(["-e", enable]).arg(&at));
        }
        run(Command::new("umount").arg(&at));
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let detach = || {
            let mut losetup = Command::new("losetup");
            losetup.args(["--detach", self.device]).stderr(Stdio::null());
            losetup.status().is_ok_and(|status| status.success()).then_some(())
        };
        eventually("the loop device is detached", detach);
    }
}

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Gives this thread, and the processes it starts, a mount table of their own.
fn keep_mounts_to_ourselves() {
    if OURS.replace(true) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("the tests need root, to mount their disks");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
}
