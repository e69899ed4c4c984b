//! Limits on btrfs: a volume's data is a subvolume, whose quota group has its limit.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use dirvol::sys::{btrfs, qgroup};
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};

use crate::disk::run;
use crate::harness::{eventually, tree};
use crate::loops::{Btrfs, OPTIONS, Quota};
use crate::served::{MIB, Served, write, writer};

/// A file's metadata counts too, and what is written but not placed is reserved
/// generously.
pub fn about(bytes: u64, limit: u64) {
    assert!(bytes <= limit && bytes + MIB > limit, "{bytes} bytes under a limit of {limit}");
}

/// Has everything counted.
pub fn commit(served: &Served) {
    nix::unistd::syncfs(File::open(served.setup.path("disk")).unwrap()).unwrap();
}

fn id(path: &Path) -> u64 {
    btrfs::subvolume_id(File::open(path).unwrap().as_fd()).unwrap()
}

/// What the file system's own tools say of a volume: bytes and limit.
pub fn told_by_the_tools(served: &Served, name: &str) -> (u64, Option<u64>) {
    let group = format!("0/{}", id(&served.data(name)));
    let groups = groups(served);
    let line = groups.iter().find(|line| line[0] == group).expect("the volume has a group");
    (line[1].parse().unwrap(), line[3].parse().ok())
}

/// All quota groups, as the tools list them: id, referenced, exclusive, limits, path.
pub fn groups(served: &Served) -> Vec<Vec<String>> {
    let mut show = Command::new("btrfs");
    show.args(["qgroup", "show", "--raw", "-re"]).arg(served.setup.path("disk"));
    let lines = run(&mut show);
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    lines.lines().filter(|line| line.starts_with("0/")).map(fields).collect()
}

/// What `dd` says to whoever runs it, and how it ends.
fn dd(file: &Path, mib: u64, uid: u32) -> Output {
    use std::os::unix::process::CommandExt;
    writer(file, mib).uid(uid).gid(uid).output().unwrap()
}

#[test]
fn a_limit_is_kept_and_changed_while_the_volume_is_written_to() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    served.create("free", json!({}));
    let file = served.inside("db").join("file");
    about(write(&file, 16), 8 * MIB);
    // The others have room.
    assert_eq!(write(&served.inside("free").join("file"), 16), 16 * MIB);

    // To another file: what is written anew lies beside what it replaces until the next
    // commit, and both count.
    served.set("db", json!({"size": "12M"}));
    let more = served.inside("db").join("more");
    about(write(&more, 16), 4 * MIB);
    // Below what is there already: nothing is lost, and nothing more goes in.
    served.set("db", json!({"size": "4M"}));
    about(fs::metadata(&file).unwrap().len(), 8 * MIB);
    about(fs::metadata(&more).unwrap().len(), 4 * MIB);
    assert_eq!(write(&served.inside("db").join("third"), 1), 0);
    served.set("db", json!({"size": "0"}));
    assert_eq!(told_by_the_tools(&served, "db").1, None);
    assert_eq!(write(&served.inside("db").join("third"), 16), 16 * MIB);
}

#[test]
fn whoever_writes_too_much_is_told_so_also_root() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "4M"}));
    for uid in [1000, 0] {
        let file = served.inside("db").join(uid.to_string());
        let output = dd(&file, 16, uid);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("Disk quota exceeded"), "{uid}: {said}");
        assert!(!output.status.success());
        about(fs::metadata(&file).unwrap().len(), 4 * MIB);
        // A full volume can be emptied, and has room again when that is committed.
        fs::remove_file(&file).unwrap();
        commit(&served);
    }
    assert_eq!(write(&served.inside("db").join("again"), 2), 2 * MIB);
}

/// `df` in a container asks the whole file system: btrfs has one number for all.
#[test]
fn df_shows_the_file_system_and_not_the_limit() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    let [inside, whole] = [served.inside("db"), served.setup.path("disk")].map(|path| {
        let stat = statvfs(&path).unwrap();
        stat.blocks() * stat.fragment_size()
    });
    assert_eq!(inside, whole);
    assert!(inside > 512 * MIB, "{inside}");
}

#[test]
fn what_a_volume_holds_is_told_without_a_walk_as_the_tools_tell_it() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    served.create("free", json!({}));
    write(&served.inside("db").join("file"), 4);
    write(&served.inside("free").join("file"), 3);
    commit(&served);
    let (used, limit) = told_by_the_tools(&served, "db");
    assert_eq!(limit, Some(8 * MIB));
    assert!((4 * MIB..5 * MIB).contains(&used), "{used}");
    let status = served.status("db");
    assert_eq!(status["used"], json!({"bytes": used}));
    assert_eq!(status["limit"], Value::Null);
    let table = served.said("ls");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    assert_eq!(rows[0][..3], ["NAME", "SIZE", "USED"]);
    assert_eq!(rows[1][..2], ["db", "8M"]);
    assert_eq!(rows[1][2..], ["4.0M", "[#####.....]"]);
    assert_eq!(rows[2][..3], ["free", "-", "3.0M"]);
}

#[test]
fn a_limit_outlasts_a_reboot_and_is_set_again_where_the_kernel_lost_it() {
    let disk = Btrfs::new(Quota::Full);
    let mut served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    served.unplug();
    served.plug_in(OPTIONS);
    about(write(&served.inside("db").join("file"), 16), 8 * MIB);
    let data = File::open(served.data("db")).unwrap();
    qgroup::set_limit(data.as_fd(), id(&served.data("db")), None).unwrap();
    drop(data);
    assert_eq!(write(&served.inside("db").join("file"), 16), 16 * MIB);
    served.serve().ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
    assert_eq!(told_by_the_tools(&served, "db").1, Some(8 * MIB));
    assert_eq!(write(&served.inside("db").join("more"), 1), 0);
}

#[test]
fn a_volume_from_the_trash_is_as_it_was_and_a_name_that_is_created_again_has_its_own_limit() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "8M", "uid": "1000", "gid": "1000", "protect": "false"}));
    let options = served.status("db")["options"].clone();
    let group = id(&served.data("db"));
    write(&served.inside("db").join("file"), 8);
    chown(served.data("db").join("file"), Some(7), Some(8)).unwrap();
    commit(&served);
    let before = (tree(&served.data("db")), told_by_the_tools(&served, "db"));
    served.leave();
    served.serve().remove("db");

    served.create("db", json!({"size": "4M"}));
    assert_ne!(id(&served.data("db")), group);
    about(write(&served.inside("db").join("file"), 16), 4 * MIB);
    served.leave();
    served.serve().remove("db");

    // Both may have been removed in the same second.
    let entries = fs::read_dir(served.setup.root().join("trash")).unwrap();
    let mut entries = entries.map(|entry| entry.unwrap().path());
    let first = entries.find(|entry| id(&entry.join("data")) == group).unwrap();
    served.said(&format!("trash restore {}", first.file_name().unwrap().display()));
    assert_eq!(id(&served.data("db")), group);
    assert_eq!((tree(&served.data("db")), told_by_the_tools(&served, "db")), before);
    let meta = fs::metadata(served.data("db")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (1000, 1000, 0o777));
    assert_eq!(served.status("db")["options"], options);
    // It is as full as it was.
    assert_eq!(write(&served.inside("db").join("more"), 1), 0);
}

#[test]
fn a_limit_that_would_not_be_kept_is_refused_with_the_cure_and_nothing_is_made() {
    let [off, on] = [Quota::None, Quota::Full].map(Btrfs::new);
    let bytes = json!({"size": "8M"});
    let inodes = json!({"inodes": "8"});
    let off_says = |root: &str| {
        format!(
            "the file system of {root} does not enforce limits: it is btrfs without quotas, which \
             'btrfs quota enable {root}' turns on; or leave size out"
        )
    };
    let inodes_say = |root: &str| {
        format!(
            "the file system of {root} does not enforce a limit of inodes: it is btrfs, whose \
             quota groups count bytes alone; leave inodes out, or set it to 0"
        )
    };
    for (disk, options) in [(&off, &bytes), (&off, &inodes), (&on, &inodes)] {
        let served = disk.serve();
        served.create("free", json!({}));
        let root = served.setup.root();
        let why = if *options == bytes { off_says } else { inodes_say };
        let why = why(&root.display().to_string());
        let before = tree(&root);
        for (call, name) in [("VolumeDriver.Create", "db"), ("Dirvol.Set", "free")] {
            let body = json!({"Name": name, "Opts": options}).to_string();
            let answer = served.serve().call(call, &body);
            let err = format!("volume {name}: {why}");
            assert_eq!(answer.status, 400);
            assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), json!({"Err": err}));
        }
        assert_eq!(tree(&root), before);
    }
}

/// A database is not kept from starting.
#[test]
fn a_volume_whose_limit_is_not_kept_any_more_is_mounted_and_says_so() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    run(Command::new("btrfs").args(["quota", "disable"]).arg(served.setup.path("disk")));
    let root = served.setup.root().display().to_string();
    let why = format!("the file system of {root} does not enforce limits: it is btrfs without");
    served.serve().ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
    let told = served.status("db")["limit"].as_str().unwrap().to_owned();
    assert!(told.starts_with(&format!("not kept: {why}")), "{told}");
    let log = served.serve().log();
    assert!(log.contains(&format!("its limit is not kept: {why}")), "{log}");
    // And it is kept again when there are quotas again.
    run(Command::new("btrfs").args(["quota", "enable"]).arg(served.setup.path("disk")));
    served.serve().ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"y"}"#);
    about(write(&served.inside("db").join("file"), 16), 8 * MIB);
    assert_eq!(served.status("db")["limit"], Value::Null);
}

/// It was made by an older version, or copied here with `cp -a`.
#[test]
fn a_volume_whose_data_is_a_plain_directory_works_and_says_why_it_cannot_be_limited() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({}));
    fs::remove_dir(served.data("db")).unwrap();
    fs::create_dir(served.data("db")).unwrap();
    fs::set_permissions(served.data("db"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(write(&served.inside("db").join("file"), 1), MIB);
    served.leave();
    let before = tree(&served.setup.root());
    let body = json!({"Name": "db", "Opts": {"size": "8M"}}).to_string();
    let answer = served.serve().call("Dirvol.Set", &body);
    let err = "volume db: its data directory is a plain one, and btrfs limits subvolumes alone: \
               'dirvol clone' makes a volume of it that can be limited; or leave size out";
    assert_eq!(answer.status, 400);
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), json!({"Err": err}));
    assert_eq!(tree(&served.setup.root()), before);
    // It has no account of its own: that of the subvolume it lies in is not its.
    assert_eq!(served.status("db")["used"], Value::Null);
    served.serve().ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
    served.serve().ok("VolumeDriver.Unmount", r#"{"Name":"db","ID":"x"}"#);
    served.serve().remove("db");
    served.said("trash restore db");
    assert_eq!(fs::metadata(served.data("db").join("file")).unwrap().len(), MIB);

    // What the message says to do.
    served.said("clone db new");
    assert_eq!(tree(&served.data("new")), tree(&served.data("db")));
    served.set("new", json!({"size": "4M"}));
    about(write(&served.inside("new").join("more"), 16), 3 * MIB);
}

/// As a directory would: people set this for databases.
#[test]
fn a_volume_inherits_that_files_are_written_in_place_and_how_they_are_compressed() {
    let disk = Btrfs::new(Quota::None);
    let served = disk.serve();
    let staging = served.setup.root().join("staging");
    let made = |name: &str| {
        served.create(name, json!({}));
        let file = served.data(name).join("file");
        fs::write(&file, "").unwrap();
        let flags = run(Command::new("lsattr").arg(&file));
        let mut property = Command::new("btrfs");
        let compression = run(property.args(["property", "get"]).arg(file).arg("compression"));
        (flags.split(' ').next().unwrap().replace('-', ""), compression.trim().to_owned())
    };
    assert_eq!(made("plain"), (String::new(), String::new()));
    let zstd = ["compression", "zstd"];
    run(Command::new("btrfs").args(["property", "set"]).arg(&staging).args(zstd));
    assert_eq!(made("small"), ("c".to_owned(), "compression=zstd".to_owned()));
    run(Command::new("btrfs").args(["property", "set"]).arg(&staging).args(["compression", ""]));
    run(Command::new("chattr").arg("+C").arg(&staging));
    assert_eq!(made("db"), ("C".to_owned(), String::new()));
}

/// Whoever may write to a volume may make a subvolume in it, which has a quota group of
/// its own: a limit stops accidents, and not attackers.
#[test]
fn what_is_in_a_subvolume_inside_of_a_volume_does_not_count() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "4M"}));
    let inside = served.inside("db").join("inside");
    let mut make = Command::new("setpriv");
    make.args(["--reuid=1000", "--regid=1000", "--clear-groups"]);
    run(make.args(["btrfs", "subvolume", "create"]).arg(&inside));
    assert_eq!(write(&inside.join("file"), 16), 16 * MIB);
}

#[test]
fn writers_at_once_do_not_pass_the_limit_together() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    served.create("db", json!({"size": "16M"}));
    let files: Vec<_> = (0..4).map(|n| served.inside("db").join(n.to_string())).collect();
    let writers: Vec<_> = files.iter().map(|file| writer(file, 8).spawn().unwrap()).collect();
    for mut writer in writers {
        writer.wait().unwrap();
    }
    let all: u64 = files.iter().map(|file| fs::metadata(file).map_or(0, |f| f.len())).sum();
    assert!(all <= 16 * MIB && all > 12 * MIB, "{all}");
    commit(&served);
    assert!(told_by_the_tools(&served, "db").0 <= 16 * MIB);
}

#[test]
fn a_hundred_volumes_have_a_limit_each() {
    let disk = Btrfs::new(Quota::Full);
    let served = disk.serve();
    for n in 0..100 {
        served.create(&format!("v{n}"), json!({"size": "1M"}));
    }
    let limits: Vec<String> = groups(&served).into_iter().map(|group| group[3].clone()).collect();
    let limited = limits.iter().filter(|limit| **limit == MIB.to_string()).count();
    assert_eq!(limited, 100);
    for n in [0, 50, 99] {
        let written = write(&served.inside(&format!("v{n}")).join("file"), 2);
        assert!(written <= MIB && written > 0, "v{n}: {written}");
    }
    assert_eq!(served.said("ls").lines().count(), 101);
}

/// With simple quotas, an extent counts for the subvolume that wrote it.
#[test]
fn simple_quotas_keep_limits_too() {
    let disk = Btrfs::new(Quota::Simple);
    let served = disk.serve();
    served.create("db", json!({"size": "8M"}));
    let file = served.inside("db").join("file");
    about(write(&file, 16), 8 * MIB);
    served.set("db", json!({"size": "12M"}));
    about(write(&served.inside("db").join("more"), 16), 4 * MIB);
    commit(&served);
    let (used, limit) = told_by_the_tools(&served, "db");
    assert_eq!(limit, Some(12 * MIB));
    assert_eq!(served.status("db")["used"], json!({"bytes": used}));
    served.leave();
    let body = json!({"Name": "db", "Opts": {"retain": "0"}}).to_string();
    served.serve().ok("Dirvol.Set", &body);
    let group = format!("0/{}", id(&served.data("db")));
    served.serve().remove("db");
    eventually("its quota group is gone", || {
        groups(&served).iter().all(|line| line[0] != group).then_some(())
    });
}
