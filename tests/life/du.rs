//! What `dirvol du` counts, beside what `du` does.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use serde_json::{Value, json};

use crate::disk::{Disk, FileSystem, run};
use crate::fifty::{self, documented, printed};
use crate::harness::{Answer, Client, Serve, Setup, eventually};

/// Serves a root on a disk, with as few descriptors as a deep tree must not exhaust.
fn serve_on(disk: &Disk) -> (Setup, Serve) {
    let setup = Setup::new();
    fs::create_dir(disk.path("root")).unwrap();
    symlink(disk.path("root"), setup.root()).unwrap();
    let mut command = Command::new("prlimit");
    let serve = setup.command();
    command.arg("--nofile=128:128").arg(serve.get_program()).args(serve.get_args());
    command.stdin(Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    (setup, serve)
}

fn usage(serve: &Serve, name: &str) -> [u64; 3] {
    let answer = serve.ok("Dirvol.Usage", &json!({"Name": name}).to_string());
    let usage: Value = serde_json::from_str(&answer).unwrap();
    ["Bytes", "Apparent", "Inodes"].map(|field| usage[field].as_u64().unwrap())
}

/// What `du` says of a tree: bytes that are allocated, and inodes.
fn du(tree: &Path, more: &[&str]) -> [u64; 2] {
    ["--block-size=1", "--inodes"].map(|count| {
        let printed = run(Command::new("du").args(["-sx", count]).args(more).arg(tree));
        printed.split_whitespace().next().unwrap().parse().unwrap()
    })
}

/// Makes `levels` directories, one in another, with a file in the last one.
fn deep(dir: &Path, levels: usize) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut at = OwnedFd::from(File::open(dir).unwrap());
    for _ in 0..levels {
        mkdirat(&at, "deeper", Mode::S_IRWXU).unwrap();
        at = openat(&at, "deeper", flags, Mode::empty()).unwrap();
    }
    let file = openat(&at, "file", OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRUSR).unwrap();
    nix::unistd::write(file.as_fd(), &[1; 5000]).unwrap();
}

/// Fills a directory with one of every kind, and returns how long its files are.
fn fill(data: &Path) -> u64 {
    fs::write(data.join("small"), "small").unwrap();
    fs::write(data.join("large"), vec![1; 3 << 20]).unwrap();
    fs::create_dir_all(data.join("a/b/c")).unwrap();
    fs::write(data.join("a/linked"), vec![2; 100_000]).unwrap();
    fs::hard_link(data.join("a/linked"), data.join("a/b/again")).unwrap();
    fs::hard_link(data.join("a/linked"), data.join("and again")).unwrap();
    let sparse = File::create(data.join("sparse")).unwrap();
    sparse.write_all_at(b"in the middle", 512 << 20).unwrap();
    sparse.set_len(1 << 30).unwrap();
    symlink("/usr", data.join("link")).unwrap();
    symlink(data, data.join("a/up")).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), Mode::S_IRWXU).unwrap();
    for n in 0..300 {
        fs::create_dir(data.join(format!("a/b/{n}"))).unwrap();
        fs::write(data.join(format!("a/b/{n}/\u{1b}[31m {n}")), vec![3; n]).unwrap();
    }
    5 + (3 << 20) + 100_000 + (1 << 30) + (0..300).sum::<u64>()
}

#[test]
fn a_walk_counts_what_du_counts() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let disk = Disk::new(fs);
        let (_setup, serve) = serve_on(&disk);
        serve.create("db");
        let data = disk.path("root/volumes/db/data");
        let length = fill(&data);
        disk.flush();
        let [bytes, inodes] = du(&data, &[]);
        assert_eq!(usage(&serve, "db"), [bytes, length, inodes], "{fs:?}");
        assert!(bytes < 16 << 20, "{fs:?}: a hole takes no space: {bytes}");

        deep(&data, 4000);
        disk.flush();
        let [bytes, inodes] = du(&data, &[]);
        assert_eq!(usage(&serve, "db"), [bytes, length + 5000, inodes], "{fs:?}");
        serve.stop();
    }
}

#[test]
fn what_is_mounted_below_a_volume_is_not_counted() {
    for fs in [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs] {
        let disk = Disk::new(fs);
        let (_setup, serve) = serve_on(&disk);
        serve.create("db");
        let data = disk.path("root/volumes/db/data");
        let length = fill(&data);
        let others = ["other", "same"].map(|name| data.join(name));
        for at in &others {
            fs::create_dir(at).unwrap();
        }
        // Of another file system, and of the same.
        let none = None::<&str>;
        mount(Some("tmpfs"), &others[0], Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::write(others[0].join("file"), vec![4; 1 << 20]).unwrap();
        mount(Some(&data.join("a")), &others[1], none, MsFlags::MS_BIND, none).unwrap();
        disk.flush();
        let [bytes, inodes] = du(&data, &["--exclude=same"]);
        let found = usage(&serve, "db");
        for at in &others {
            umount2(at, MntFlags::empty()).unwrap();
        }
        assert_eq!(found, [bytes, length, inodes], "{fs:?}");
        serve.stop();
    }
}

#[test]
fn fifty_volumes_are_told_as_the_document_shows_them() {
    let disk = Disk::new(FileSystem::Ext4);
    let (_setup, serve) = serve_on(&disk);
    fifty::make(&serve, false);
    assert_eq!(printed(&serve, "du"), documented("dirvol du"));
    let json: Value = serde_json::from_str(&printed(&serve, "du --format json")).unwrap();
    let volumes = json["Volumes"].as_array().unwrap();
    for (field, of) in [("Bytes", 0), ("Inodes", 1)] {
        let sum: u64 = volumes.iter().map(|volume| volume[field].as_u64().unwrap()).sum();
        assert_eq!(json["Total"][field], sum, "{field}");
        for volume in volumes {
            let name = volume["Name"].as_str().unwrap();
            let data = disk.path(&format!("root/volumes/{name}/data"));
            assert_eq!(volume[field], du(&data, &[])[of], "{name}");
        }
    }
    serve.stop();
}

/// Directories come, go and are moved from below the walk's feet.
#[test]
fn a_tree_that_changes_is_counted_or_said_to_have_changed() {
    let disk = Disk::new(FileSystem::Ext4);
    let (_setup, serve) = serve_on(&disk);
    serve.create("db");
    let data = disk.path("root/volumes/db/data");
    let chain = |at: &str| format!("{at}/1/2/3/4/5");
    fs::create_dir_all(data.join(chain("a"))).unwrap();
    fs::create_dir_all(data.join("b")).unwrap();
    let over = AtomicBool::new(false);
    let answers: Vec<Answer> = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs::rename(data.join("a/1/2"), data.join("b/2")).unwrap();
                fs::create_dir_all(data.join(chain("gone"))).unwrap();
                fs::rename(data.join("b/2"), data.join("a/1/2")).unwrap();
                fs::remove_dir_all(data.join("gone")).unwrap();
            }
        });
        let answers = (0..1000).map(|_| serve.call("Dirvol.Usage", r#"{"Name":"db"}"#));
        let answers = answers.collect();
        over.store(true, Ordering::Relaxed);
        answers
    });
    for answer in answers {
        let moved = answer.status == 500
            && answer.body.starts_with(r#"{"Err":"volume db: walk "#)
            && answer.body.ends_with(": it was moved while it was looked at; ask again\"}");
        assert!(answer.status == 200 || moved, "{answer:?}");
    }
    disk.flush();
    let [bytes, inodes] = du(&data, &[]);
    assert_eq!(usage(&serve, "db"), [bytes, 0, inodes]);
    serve.stop();
}

/// A walk takes as long as a volume is large; nothing else waits for it.
#[test]
fn a_long_walk_holds_up_neither_engines_nor_the_end_of_the_driver() {
    let disk = Disk::new(FileSystem::Xfs);
    let (_setup, serve) = serve_on(&disk);
    serve.create("large");
    serve.create("db");
    let data = disk.path("root/volumes/large/data");
    fs::write(data.join("file"), "one").unwrap();
    for n in 0..150_000 {
        fs::hard_link(data.join("file"), data.join(n.to_string())).unwrap();
    }
    // More walks are asked for than there may be operations on the disk, and another
    // one as soon as one is done.
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let socket = serve.socket.clone();
            thread::spawn(move || {
                let mut bodies = Vec::new();
                while let Ok(stream) = UnixStream::connect(&socket)
                    && let Some(answer) =
                        Client::from(stream).call("Dirvol.Usage", r#"{"Name":"large"}"#)
                {
                    bodies.push(answer.body);
                }
                bodies
            })
        })
        .collect();
    eventually("all of them wait", || {
        let waiting = serve.metric("dirvol_requests_in_flight", "");
        (waiting >= 40).then_some(())
    });
    for _ in 0..20 {
        serve.ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
        serve.ok("VolumeDriver.Unmount", r#"{"Name":"db","ID":"x"}"#);
    }
    serve.stop();
    let bodies: Vec<String> =
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    for body in bodies {
        assert!(body.contains(r#""Apparent":3,"Inodes":2"#), "{body}");
    }
}
