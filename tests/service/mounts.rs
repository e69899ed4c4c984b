//! Mounts that nobody else sees, and that go with the test whatever it comes to.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Runs a test in a mount namespace of its own, which the processes that it
/// starts share. Its mounts are gone when it and those processes have ended.
/// Directories that hold mounts must outlive it, lest they be emptied as they
/// are deleted.
pub fn in_own_mounts(test: impl FnOnce() + Send) {
    let ran = thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            test();
        };
        scope.spawn(run).join()
    });
    if let Err(panic) = ran {
        resume_unwind(panic);
    }
}

/// Mounts an empty file system in memory at `dir`, which is made.
pub fn mount_memory(dir: &Path, options: &str) {
    fs::create_dir_all(dir).unwrap();
    mount(Some("memory"), dir, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

/// Mounts the directory `from` at `to` as well.
pub fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Makes what is mounted at `dir` read-only, or writable again.
pub fn set_read_only(dir: &Path, on: bool) {
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    flags.set(MsFlags::MS_RDONLY, on);
    mount(None::<&str>, dir, None::<&str>, flags, None::<&str>).unwrap();
}

/// Unmounts `dir` at once, and for those who hold it open when they let it go.
pub fn unmount_lazily(dir: &Path) {
    umount2(dir, MntFlags::MNT_DETACH).unwrap();
}

/// A process that has a directory mounted in a mount namespace of its own, as a
/// container has. It ends when this is dropped, or the test ends.
pub struct Container(Child);

impl Container {
    pub fn with(dir: &Path) -> Self {
        let mut child = Command::new("unshare")
            .args(["-m", "sh", "-c", r#"mount --bind "$0" /mnt && echo mounted && exec cat"#])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mounted\n");
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A disk that answers nothing, mounted at a directory: the kernel waits for a
/// file system server that never reads a request. Dropping it makes everybody
/// who waits for it fail.
pub struct HangingDisk(#[expect(dead_code, reason = "it is held open")] File);

impl HangingDisk {
    pub fn mount(dir: &Path) -> Self {
        let server = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        mount(Some("hanging"), dir, Some("fuse"), MsFlags::empty(), Some(options.as_str()))
            .unwrap();
        Self(server)
    }
}
