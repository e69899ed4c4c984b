//! Copies of volumes: each equal to its original, and made in the best way that the file
//! system has.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use dirvol::sys::btrfs;
use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};

use crate::disk::{Disk, FileSystem, run};
use crate::harness::{DONE, Serve, Setup, eventually};
use crate::nodes::{self, seen};

const CREATE: &str = "VolumeDriver.Create";
const CLONE: &str = "Dirvol.Clone";

/// A driver whose root lies on a file system of its own.
struct Served {
    // Fields are dropped in this order, the driver before its disk.
    pub serve: Serve,
    pub setup: Setup,
    pub disk: Arc<Disk>,
}

impl Served {
    pub fn on(fs: FileSystem) -> Self {
        let disk = Disk::new(fs);
        let setup = Setup::new();
        fs::create_dir(disk.path("root")).unwrap();
        symlink(disk.path("root"), setup.root()).unwrap();
        let serve = setup.serve();
        Self { serve, setup, disk }
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.disk.path("root/volumes").join(name).join("data")
    }

    pub fn clone(&self, from: &str, name: &str) -> Value {
        let request = json!({"Name": name, "From": from}).to_string();
        serde_json::from_str(&self.serve.ok(CLONE, &request)).unwrap()
    }

    pub fn staged(&self) -> usize {
        fs::read_dir(self.disk.path("root/staging")).unwrap().count()
    }

    pub fn command(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        command.arg("--socket").arg(self.setup.socket()).args(line.split_whitespace());
        command.output().unwrap()
    }
}

/// How a file system copies a volume.
fn method(served: &Served, name: &str) -> &'static str {
    let data = File::open(served.data(name)).unwrap();
    match served.disk.fs {
        FileSystem::Ext4 => "copy",
        FileSystem::Btrfs if btrfs::is_subvolume(data.as_fd()).unwrap() => "snapshot",
        FileSystem::Xfs | FileSystem::Btrfs => "reflink",
    }
}

/// What is seen of a tree but for its sockets.
fn without_sockets(top: &Path) -> Vec<String> {
    seen(top).into_iter().filter(|line| !line.contains(") socket ")).collect()
}

#[test]
fn a_clone_equals_its_original_in_every_kind_of_node() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let served = Served::on(fs);
        served.serve.create("a");
        let (a, b) = (served.data("a"), served.data("b"));
        nodes::fill(&a);
        let outside = fs::hard_link(a.join("outside"), served.disk.path("elsewhere"));
        // No link leads out of a subvolume.
        assert_eq!(outside.is_err(), method(&served, "a") == "snapshot", "{fs:?}");
        let before = seen(&a);
        let cloned = served.clone("a", "b");
        assert_eq!(seen(&a), before, "{fs:?}: the original is left as it was");
        let how = method(&served, "a");
        assert_eq!(cloned["Method"], how, "{fs:?}");
        let one_name = |line: String| match line.contains("\"outside\"") {
            true => line.replace("(2: ", "(1: "),
            false => line,
        };
        let expected: Vec<String> = if how == "snapshot" {
            assert_eq!(cloned["Skipped"], json!([]));
            before
        } else {
            let why = "a socket, which means something to its program alone";
            assert_eq!(cloned["Skipped"], json!([format!("{}: {why}", nodes::SOCKET)]), "{fs:?}");
            // All but the top and the socket.
            assert_eq!(cloned["Files"], before.len() - 2, "{fs:?}");
            without_sockets(&a)
        };
        let expected: Vec<String> = expected.into_iter().map(one_name).collect();
        assert_eq!(seen(&b), expected, "{fs:?}");
        assert_eq!(served.staged(), 0, "{fs:?}");
        // And back, by the command that engines give.
        let body = json!({"Name": "c", "Opts": {"from": "b"}}).to_string();
        assert_eq!(served.serve.ok(CREATE, &body), DONE);
        assert_eq!(seen(&served.data("c")), expected, "{fs:?}");
        served.serve.stop();
    }
}

#[test]
fn a_clone_has_the_bytes_of_its_own_when_one_of_the_two_is_written_to() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let served = Served::on(fs);
        served.serve.create("a");
        fs::write(served.data("a").join("file"), "as it was").unwrap();
        served.clone("a", "b");
        fs::write(served.data("a").join("file"), "new in a").unwrap();
        fs::write(served.data("b").join("more"), "new in b").unwrap();
        let read = |name: &str, file: &str| fs::read_to_string(served.data(name).join(file)).ok();
        assert_eq!(read("b", "file").as_deref(), Some("as it was"));
        assert_eq!(read("a", "file").as_deref(), Some("new in a"));
        assert_eq!(read("a", "more"), None);
    }
}

/// The bytes that a file system has in use, when all of it is written.
fn used(served: &Served) -> u64 {
    served.disk.flush();
    let stat = statvfs(&served.disk.path("root")).unwrap();
    (stat.blocks() - stat.blocks_free()) * stat.fragment_size()
}

#[test]
fn a_clone_shares_its_bytes_where_the_file_system_can() {
    const BYTES: u64 = 64 << 20;
    for fs in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let served = Served::on(fs);
        served.serve.create("a");
        let text = "not zero".repeat(1 << 17);
        for n in 0..BYTES >> 20 {
            fs::write(served.data("a").join(n.to_string()), &text).unwrap();
        }
        let before = used(&served);
        served.clone("a", "b");
        let grown = used(&served).saturating_sub(before);
        let extents = run(Command::new("filefrag").arg("-v").arg(served.data("b").join("7")));
        let shared = extents.contains("shared");
        match method(&served, "a") {
            "copy" => assert!(grown >= BYTES && !shared, "{fs:?}: {grown}\n{extents}"),
            _ => assert!(grown < BYTES / 8 && shared, "{fs:?}: {grown}\n{extents}"),
        }
        assert_eq!(fs::read_to_string(served.data("b").join("7")).unwrap(), text);
    }
}

#[test]
fn a_tree_of_4000_levels_is_copied() {
    const LEVELS: usize = 4000;
    for fs in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let served = Served::on(fs);
        served.serve.create("a");
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = |path: &Path| Dir::open(path, flags, Mode::empty()).unwrap();
        let down = |dir: &Dir| Dir::openat(dir, "deeper", flags, Mode::empty()).unwrap();
        let mut dir = open(&served.data("a"));
        for _ in 0..LEVELS {
            mkdirat(&dir, "deeper", Mode::S_IRWXU).unwrap();
            dir = down(&dir);
        }
        let bottom = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        drop(nix::fcntl::openat(&dir, "bottom", bottom, Mode::S_IRUSR).unwrap());
        let cloned = served.clone("a", "b");
        if method(&served, "a") != "snapshot" {
            assert_eq!(cloned["Files"], LEVELS + 1, "{fs:?}");
        }
        let mut dir = open(&served.data("b"));
        for _ in 0..LEVELS {
            dir = down(&dir);
        }
        let names: Vec<String> = dir
            .iter()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
            .filter(|name| !name.starts_with('.'))
            .collect();
        assert_eq!(names, ["bottom"], "{fs:?}");
    }
}

#[test]
fn a_clone_that_does_not_fit_leaves_nothing() {
    let served = Served::on(FileSystem::Ext4);
    served.serve.create("a");
    let size = 600 << 20;
    let file = File::create(served.data("a").join("large")).unwrap();
    let bytes = vec![1; 1 << 20];
    for at in (0..size).step_by(1 << 20) {
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, at).unwrap();
    }
    let before = used(&served);
    let request = json!({"Name": "b", "From": "a"}).to_string();
    let refused = served.serve.call(CLONE, &request);
    assert_eq!(refused.status, 500);
    let path = served.setup.root().join("volumes/a/data/large");
    let why = format!(
        "volume b: copy {}: No space left on device (os error 28); free space or inodes on that \
         disk",
        path.display()
    );
    assert_eq!(refused.body, json!({"Err": why}).to_string());
    assert_eq!(served.serve.names(), ["a"]);
    eventually("what was copied is deleted", || (served.staged() == 0).then_some(()));
    eventually("its space is free", || (used(&served) < before + (8 << 20)).then_some(()));
    // With room, the same call is served.
    file.set_len(100 << 20).unwrap();
    assert_eq!(served.clone("a", "b")["Method"], "copy");
}

#[test]
fn what_another_file_system_is_mounted_over_is_not_copied_and_told() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs] {
        let served = Served::on(fs);
        served.serve.create("a");
        let at = served.data("a").join("mounted");
        fs::create_dir(&at).unwrap();
        fs::write(served.data("a").join("beside"), "it").unwrap();
        // The driver sees only what was mounted before it was started.
        let Served { serve, setup, disk } = served;
        serve.stop();
        run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at));
        fs::write(at.join("elsewhere"), "it").unwrap();
        let served = Served { serve: setup.serve(), setup, disk };
        let request = json!({"Name": "b", "From": "a"}).to_string();
        let body: Value = serde_json::from_str(&served.serve.ok(CLONE, &request)).unwrap();
        assert_eq!(body["Skipped"], json!(["mounted: another file system is mounted there"]));
        let names: Vec<_> = fs::read_dir(served.data("b"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names, ["beside"]);
        let told = served.command("clone a c");
        let (stdout, stderr) = (told.stdout, told.stderr);
        assert_eq!(
            String::from_utf8(stderr).unwrap(),
            "dirvol: not copied: mounted: another file system is mounted there\n"
        );
        let how = method(&served, "a");
        let expected = format!("c: a copy of a by {how}, 1 files, 2 bytes\n");
        assert_eq!(String::from_utf8(stdout).unwrap(), expected);
        run(Command::new("umount").arg(&at));
    }
}

#[test]
fn a_subvolume_is_copied_by_a_snapshot_unless_another_one_is_in_it() {
    let served = Served::on(FileSystem::Btrfs);
    served.serve.create("a");
    let data = served.data("a");
    if !btrfs::is_subvolume(File::open(&data).unwrap().as_fd()).unwrap() {
        fs::remove_dir(&data).unwrap();
        run(Command::new("btrfs").args(["subvolume", "create"]).arg(&data));
    }
    nodes::fill(&data);
    let expected = seen(&data);
    // Also where it is in use: it is as it was at one moment.
    let at = served.disk.path("held");
    fs::create_dir(&at).unwrap();
    run(Command::new("mount").arg("--bind").args([&data, &at]));
    let cloned = served.clone("a", "b");
    run(Command::new("umount").arg(&at));
    let answer = json!({"Name": "b", "From": "a", "Method": "snapshot", "Skipped": [], "Err": ""});
    assert_eq!(cloned, answer);
    assert_eq!(seen(&served.data("b")), expected);

    let nested = data.join("nested");
    run(Command::new("btrfs").args(["subvolume", "create"]).arg(&nested));
    fs::write(nested.join("inside"), "it").unwrap();
    assert_eq!(served.clone("a", "c")["Method"], "reflink");
    assert_eq!(fs::read_to_string(served.data("c").join("nested/inside")).unwrap(), "it");
    // They go as they came.
    for name in ["b", "c"] {
        served.serve.remove(name);
    }
    served.serve.ok("Dirvol.TrashPurge", r#"{"All":true}"#);
    eventually("all of it is deleted", || (served.staged() == 0).then_some(()));
}
