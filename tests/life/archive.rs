//! Volumes from archives and archives of volumes: nothing is lost on the way, whoever
//! packed it and whoever unpacks it.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::disk::{Disk, FileSystem, run};
use crate::harness::{DONE, Serve, Setup};
use crate::samples::{described, dirvol, left, make, names, said};

/// A driver whose root lies on `disk`.
fn serve_on(disk: &Disk) -> (Setup, Serve) {
    let mut setup = Setup::new();
    setup.dir = disk.directory();
    let serve = setup.serve();
    (setup, serve)
}

fn data(serve: &Serve, name: &str) -> std::path::PathBuf {
    serve.root.join("volumes").join(name).join("data")
}

#[test]
fn a_round_trip_keeps_everything_on_ext4() {
    keeps_everything(FileSystem::Ext4);
}

#[test]
fn a_round_trip_keeps_everything_on_xfs() {
    keeps_everything(FileSystem::Xfs);
}

#[test]
fn a_round_trip_keeps_everything_on_btrfs() {
    keeps_everything(FileSystem::Btrfs);
}

fn keeps_everything(fs: FileSystem) {
    let disk = Disk::new(fs);
    let (setup, serve) = serve_on(&disk);
    serve.create("one");
    make(&data(&serve, "one"));
    let file = setup.path("one.tar").display().to_string();
    assert_eq!(said(&serve, &["export", "one", &file]), (String::new(), String::new()));
    assert_eq!(
        said(&serve, &["import", "two", &file]),
        ("two: 19 files, 1.1M bytes\n".to_owned(), String::new())
    );
    let before = described(&data(&serve, "one"));
    assert!(before.iter().any(|line| line.contains("holes: true")), "{before:#?}");
    assert!(before.iter().any(|line| line.contains("system.posix_acl_default")));
    assert_eq!(described(&data(&serve, "two")), before);
    // The directory itself, packed by the command line.
    let dir = data(&serve, "one").display().to_string();
    said(&serve, &["import", "three", &dir]);
    assert_eq!(described(&data(&serve, "three")), before);
    // It makes no difference whether it comes from a volume or is stated.
    said(&serve, &["import", "four", &dir, "-o", "uid=9", "-o", "mode=0700", "-o", "retain=7d"]);
    let top = |line: &String| line.starts_with("\"\" ");
    let four = described(&data(&serve, "four"));
    assert_eq!(
        four.iter().filter(|line| !top(line)).collect::<Vec<_>>(),
        before.iter().filter(|line| !top(line)).collect::<Vec<_>>()
    );
    let four = four.iter().find(|line| top(line)).unwrap();
    assert!(four.starts_with("\"\" 40700 9:0 "), "{four}");
    let record = fs::read_to_string(serve.root.join("volumes/four/volume.json")).unwrap();
    assert!(record.contains(r#""options":{"mode":"0700","retain":"7days","uid":"9"}"#), "{record}");
    assert_eq!(names(setup.dir.path()), ["dirvol.sock", "log", "one.tar", "root", "state"]);
    let four = ["four", "one", "three", "two"].map(str::to_owned).to_vec();
    assert_eq!(left(&serve.root), (four, Vec::new()));
    serve.stop();
}

#[test]
fn gnu_tar_reads_what_is_exported_and_writes_what_is_imported() {
    let disk = Disk::new(FileSystem::Ext4);
    let (setup, serve) = serve_on(&disk);
    serve.create("one");
    let one = data(&serve, "one");
    make(&one);
    let before = described(&one);
    let file = setup.path("one.tar").display().to_string();
    said(&serve, &["export", "one", &file]);
    let attributes = ["--xattrs", "--xattrs-include=*", "--numeric-owner"];
    let out = disk.path("out");
    fs::create_dir(&out).unwrap();
    let tar = |args: &[&str], dir: &Path| {
        let mut tar = Command::new("tar");
        run(tar.args(attributes).arg("-C").arg(dir).args(args));
    };
    tar(&["-xpSf", &file], &out);
    assert_eq!(described(&out), before);
    // Whole seconds, and no attributes: the formats that have none.
    let plain = |lines: Vec<String>| -> Vec<String> {
        let plain = |line: &String| {
            let (start, _) = line.split_once(" [").unwrap();
            let (start, rest) = start.split_once('.').unwrap();
            let (_, names) = line.rsplit_once("] ").unwrap();
            format!("{start} {} {names}", &rest[9..])
        };
        lines.iter().map(plain).collect()
    };
    let formats: [(&str, &[&str]); 5] = [
        ("pax", &["--format=pax", "-S"]),
        ("old-sparse", &["--format=pax", "-S", "--sparse-version=0.1"]),
        ("gnu", &["--format=gnu", "-S"]),
        ("oldgnu", &["--format=oldgnu", "-S"]),
        ("labelled", &["--format=gnu", "-S", "-V", "a label", "-b", "1"]),
    ];
    for (name, format) in formats {
        let file = setup.path(name);
        let mut tar = Command::new("tar");
        if name == "pax" || name == "old-sparse" {
            tar.args(&attributes[..2]);
        }
        run(tar.args(format).arg("-cf").arg(&file).arg("-C").arg(&one).arg("."));
        said(&serve, &["import", name, &file.display().to_string()]);
        let after = described(&data(&serve, name));
        if name == "pax" || name == "old-sparse" {
            assert_eq!(after, before, "{name}");
        } else {
            // Its ACL has a part in a mode, which the mask then is.
            assert_eq!(plain(after), plain(before.clone()), "{name}");
        }
    }
    serve.stop();
}

#[test]
fn a_socket_and_what_is_mounted_below_are_left_out_and_told() {
    let disk = Disk::new(FileSystem::Ext4);
    let (setup, serve) = serve_on(&disk);
    serve.create("one");
    let one = data(&serve, "one");
    fs::write(one.join("kept"), "kept").unwrap();
    let _socket = UnixListener::bind(one.join("socket")).unwrap();
    fs::create_dir(one.join("mounted")).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(one.join("mounted")));
    let file = setup.path("one.tar").display().to_string();
    let exported = dirvol(&serve, None, &["export", "one", &file, "--live"]);
    let imported = dirvol(&serve, None, &["import", "two", &one.display().to_string()]);
    run(Command::new("umount").arg(one.join("mounted")));
    let told = "left out: ./socket (a socket), ./mounted (something is mounted there)\n";
    let stderr = |output: &std::process::Output| String::from_utf8(output.stderr.clone()).unwrap();
    // The mount is in the driver's own namespace, and the driver may not see it.
    let exported = stderr(&exported);
    assert!(
        exported.starts_with("dirvol: volume one: left out: ./socket (a socket)"),
        "{exported}"
    );
    assert_eq!(stderr(&imported), format!("dirvol: {}: {told}", one.display()));
    assert_eq!(names(&data(&serve, "two")), ["kept"]);
    serve.stop();
}

#[test]
fn a_volume_that_is_used_is_exported_only_live() {
    let disk = Disk::new(FileSystem::Ext4);
    let (setup, serve) = serve_on(&disk);
    serve.create("one");
    let one = data(&serve, "one");
    fs::write(one.join("file"), "text").unwrap();
    let file = setup.path("one.tar").display().to_string();
    let stderr = |output: &std::process::Output| String::from_utf8(output.stderr.clone()).unwrap();
    let mounted = disk.path("mounted");
    fs::create_dir(&mounted).unwrap();
    run(Command::new("mount").arg("--bind").arg(&one).arg(&mounted));
    let refused = dirvol(&serve, None, &["export", "one", &file]);
    let live = dirvol(&serve, None, &["export", "one", &file, "--live"]);
    run(Command::new("umount").arg(&mounted));
    assert_eq!(refused.status.code(), Some(1));
    let why = stderr(&refused);
    let start = "dirvol: volume one: volume is in use by process ";
    let end = format!(
        ", which has it mounted at {}; stop its containers first, or take with --live what may be \
         torn\n",
        mounted.display()
    );
    assert!(why.starts_with(start) && why.ends_with(&end), "{why}");
    assert_eq!((live.status.code(), stderr(&live).as_str()), (Some(0), ""));
    fs::remove_file(&file).unwrap();
    let id = r#"{"Name":"one","ID":"x"}"#;
    serve.ok("VolumeDriver.Mount", id);
    let refused = stderr(&dirvol(&serve, None, &["export", "one", &file]));
    assert!(
        refused.contains("volume is in use by mount ID x, which asked for it at "),
        "{refused}"
    );
    assert_eq!(serve.ok("VolumeDriver.Unmount", id), DONE);
    assert_eq!(names(setup.dir.path()), ["dirvol.sock", "log", "root", "state"]);
    serve.stop();
}
