//! Directories that become volumes by a rename: nothing of them is changed, and they are
//! never lost, whoever ends in the middle of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::disk::{Disk, FileSystem, run};
use crate::harness::{Serve, Setup, eventually};
use crate::samples::{described, dirvol, left, make, names};

/// A driver whose root lies on `disk`, and a directory beside it.
fn serve_on(disk: &Disk) -> (Setup, Serve, PathBuf) {
    let mut setup = Setup::new();
    setup.dir = disk.directory();
    let serve = setup.serve();
    let dir = setup.path("www");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("sentinel"), "precious").unwrap();
    (setup, serve, dir)
}

fn data(serve: &Serve, name: &str) -> PathBuf {
    serve.root.join("volumes").join(name).join("data")
}

/// Runs `dirvol import NAME DIR --move`, and returns its exit code and what it says.
fn import(serve: &Serve, name: &str, dir: &Path, more: &[&str]) -> (i32, String) {
    let dir = dir.display().to_string();
    let args = [&["import", name, &dir, "--move"], more].concat();
    let output = dirvol(serve, None, &args);
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn adopt(serve: &Serve, request: &Value) -> Value {
    serde_json::from_str(&serve.ok("Dirvol.Adopt", &request.to_string())).unwrap()
}

/// Does what the command line does first, and returns where the directory is to be moved.
fn prepare(serve: &Serve, name: &str) -> (String, PathBuf) {
    let answer = adopt(serve, &json!({"Phase": "prepare", "Name": name}));
    let token = answer["Token"].as_str().unwrap().to_owned();
    let path = serve.root.join("adopting").join(&token);
    assert_eq!(answer["Path"], path.to_str().unwrap());
    (token, path.join("data"))
}

fn sentinel(at: &Path) -> String {
    fs::read_to_string(at.join("sentinel")).unwrap()
}

fn adopting(serve: &Serve) -> Vec<String> {
    names(&serve.root.join("adopting"))
}

#[test]
fn a_directory_that_is_moved_in_stays_as_it_is_on_ext4() {
    stays_as_it_is(FileSystem::Ext4);
}

#[test]
fn a_directory_that_is_moved_in_stays_as_it_is_on_xfs() {
    stays_as_it_is(FileSystem::Xfs);
}

#[test]
fn a_directory_that_is_moved_in_stays_as_it_is_on_btrfs() {
    stays_as_it_is(FileSystem::Btrfs);
}

fn stays_as_it_is(fs: FileSystem) {
    let disk = Disk::new(fs);
    let (setup, serve, dir) = serve_on(&disk);
    make(&dir);
    run(Command::new("chown").arg("70:80").arg(&dir));
    run(Command::new("chmod").arg("2750").arg(&dir));
    let (before, inode) = (described(&dir), fs::metadata(&dir).unwrap().ino());
    let told = (0, format!("web: {} is its data now\n", dir.display()));
    assert_eq!(import(&serve, "web", &dir, &["-o", "retain=7d"]), told);
    let now = data(&serve, "web");
    assert_eq!(described(&now), before);
    assert_eq!(fs::metadata(&now).unwrap().ino(), inode);
    let record = fs::read_to_string(serve.root.join("volumes/web/volume.json")).unwrap();
    assert!(record.contains(r#""options":{"retain":"7days"}"#), "{record}");
    assert_eq!(names(setup.dir.path()), ["dirvol.sock", "log", "root", "state"]);
    assert_eq!(left(&serve.root), (vec!["web".to_owned()], Vec::new()));
    assert_eq!(adopting(&serve), [""; 0]);
    // The same again says what became of it.
    let (code, said) = import(&serve, "web", &dir, &[]);
    let start = format!("dirvol: {} is missing; volume web exists since 20", dir.display());
    assert!(code == 1 && said.starts_with(&start), "{said}");
    // What is stated is set.
    fs::create_dir(&dir).unwrap();
    let stated = ["-o", "uid=9", "-o", "mode=0700"];
    assert_eq!(import(&serve, "two", &dir, &stated).0, 0);
    let meta = fs::metadata(data(&serve, "two")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (9, 0, 0o700));
    serve.stop();
}

#[test]
fn what_cannot_be_moved_stays_where_it_is() {
    let disk = Disk::new(FileSystem::Ext4);
    let (setup, serve, dir) = serve_on(&disk);
    let at = |name: &str| setup.path(name);
    let other = Setup::new();
    fs::write(other.path("sentinel"), "precious").unwrap();
    symlink(&dir, at("link")).unwrap();
    fs::write(at("file"), "precious").unwrap();
    fs::create_dir_all(at("mounts/inner")).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(at("mounts/inner")));
    fs::create_dir(at("used")).unwrap();
    fs::create_dir(at("target")).unwrap();
    run(Command::new("mount").arg("--bind").args([at("used"), at("target")]));
    serve.create("taken");
    let root = serve.root.display();
    let copy = "import without --move, which copies";
    let (shown, outside) = (|name: &str| at(name).display().to_string(), other.dir.path());
    let used = format!("has it mounted at {}: stop its container first\n", shown("target"));
    let cases: [(&str, PathBuf, i32, String); 11] = [
        (
            "x",
            outside.to_path_buf(),
            1,
            format!(
                "{} lies on another file system or mount than the root, or in another subvolume \
                 or project: {copy}\n",
                outside.display()
            ),
        ),
        (
            "x",
            at("link/"),
            1,
            format!("{}/: it is a symbolic link: give the path that it leads to\n", shown("link")),
        ),
        ("x", at("file"), 2, format!("--move moves a directory, and {} is none\n", shown("file"))),
        ("x", "-".into(), 2, "--move moves a directory, not what is piped in\n".into()),
        (
            "x",
            at("mounts/inner"),
            1,
            format!(
                "{}: it is the top of a mount, which cannot be moved: {copy}\n",
                shown("mounts/inner")
            ),
        ),
        (
            "x",
            at("mounts"),
            1,
            format!("{}: something is mounted below it: unmount that first\n", shown("mounts")),
        ),
        (
            "x",
            setup.dir.path().join("root/volumes/taken/data"),
            1,
            format!("{root}/volumes/taken/data and the driver's root {root} lie in one another\n"),
        ),
        (
            "x",
            at("state"),
            1,
            format!(
                "{0} and the driver's state directory {0} lie in one another\n",
                shown("state")
            ),
        ),
        (
            "taken",
            dir.clone(),
            1,
            "volume taken exists and is left as it is: give another name, or remove it first\n"
                .into(),
        ),
        (
            "no/name",
            dir.clone(),
            1,
            "volume name \"no/name\" is not allowed: use letters, digits, '_', '.' and '-', \
             beginning with a letter or digit, at most 200 characters\n"
                .into(),
        ),
        ("x", at("none"), 1, format!("{} is missing; no such volume: x\n", shown("none"))),
    ];
    let before = (names(setup.dir.path()), described(&dir), left(&serve.root));
    for (name, from, code, why) in cases {
        let said = import(&serve, name, &from, &[]);
        assert_eq!(said, (code, format!("dirvol: {why}")));
    }
    let (code, said) = import(&serve, "x", &at("used"), &[]);
    let mounted = said.starts_with(&format!("dirvol: {}: process ", shown("used")));
    assert!(code == 1 && mounted && said.ends_with(&used), "{said}");
    for option in ["from=taken", "path=/srv"] {
        let key = option.split('=').next().unwrap();
        let why = format!(
            "dirvol: volume x was not made: option \"{key}\" says that its data is not the \
             directory's: leave it out\n"
        );
        assert_eq!(import(&serve, "x", &dir, &["-o", option]), (1, why));
    }
    run(Command::new("umount").args([at("target"), at("mounts/inner")]));
    assert_eq!((names(setup.dir.path()), described(&dir), left(&serve.root)), before);
    assert_eq!(adopting(&serve), [""; 0]);
    assert_eq!(sentinel(outside), "precious");
    serve.stop();
}

#[test]
fn on_btrfs_a_limit_is_refused_before_anything_is_moved() {
    let disk = Disk::new(FileSystem::Btrfs);
    let (_setup, serve, dir) = serve_on(&disk);
    run(Command::new("btrfs").args(["quota", "enable"]).arg(disk.path("")));
    let why = "dirvol: volume x: its data directory is a plain one, and btrfs limits subvolumes \
               alone: 'dirvol clone' makes a volume of it that can be limited; or leave size out\n";
    assert_eq!(import(&serve, "x", &dir, &["-o", "size=1G"]), (1, why.to_owned()));
    assert_eq!(sentinel(&dir), "precious");
    serve.stop();
}

/// Kills the driver and starts it anew.
fn again(setup: &Setup, serve: Serve) -> Serve {
    serve.kill();
    setup.serve()
}

#[test]
fn whoever_is_killed_in_between_the_directory_is_where_it_was_or_a_volume() {
    let disk = Disk::new(FileSystem::Ext4);
    let (setup, serve, dir) = serve_on(&disk);
    // The client ended before its rename, and then the driver.
    let (token, to) = prepare(&serve, "one");
    assert_eq!(adopting(&serve), [token.as_str()]);
    let serve = again(&setup, serve);
    eventually("the empty place goes", || adopting(&serve).is_empty().then_some(()));
    assert_eq!(sentinel(&dir), "precious");
    // A client that lives on is told.
    assert!(fs::rename(&dir, &to).is_err());
    // The client ended after its rename, and then the driver: it is finished.
    let (token, to) = prepare(&serve, "one");
    fs::rename(&dir, &to).unwrap();
    let inode = fs::metadata(&to).unwrap().ino();
    let serve = again(&setup, serve);
    eventually("the volume is made", || data(&serve, "one").exists().then_some(()));
    assert_eq!(sentinel(&data(&serve, "one")), "precious");
    eventually("the place goes", || adopting(&serve).is_empty().then_some(()));
    // A client that lives on, or asks again, is told that it is done.
    let commit = json!({"Phase": "commit", "Name": "one", "Token": token, "Inode": inode});
    adopt(&serve, &commit);
    let serve = again(&setup, serve);
    adopt(&serve, &commit);
    // Another directory is another matter.
    let other = json!({"Phase": "commit", "Name": "one", "Token": token, "Inode": inode + 1});
    let why = r#"{"Err":"volume one was not made: no directory was moved to where it was asked for: begin anew"}"#;
    assert_eq!(serve.call("Dirvol.Adopt", &other.to_string()).body, why);
    assert_eq!(left(&serve.root), (vec!["one".to_owned()], Vec::new()));
    serve.stop();
}

#[test]
fn a_name_that_is_taken_meanwhile_leaves_the_directory_and_says_how_to_go_on() {
    let disk = Disk::new(FileSystem::Ext4);
    let (setup, serve, dir) = serve_on(&disk);
    let (token, to) = prepare(&serve, "one");
    fs::rename(&dir, &to).unwrap();
    serve.create("one");
    let commit = json!({"Phase": "commit", "Name": "one", "Token": token, "Inode": 1});
    let why = r#"{"Err":"volume one exists and is left as it is: give another name, or remove it first"}"#;
    assert_eq!(serve.call("Dirvol.Adopt", &commit.to_string()).body, why);
    let cancel = json!({"Phase": "cancel", "Name": "one", "Token": token});
    assert_eq!(adopt(&serve, &cancel)["HoldsData"], true);
    // Nobody takes it back: it waits for a person, and so does its line in the log.
    let serve = again(&setup, serve);
    let told = format!(
        "{0} waits to be a volume: volume one exists; move it away with 'mv {0} ELSEWHERE'",
        to.display()
    );
    eventually("it is told", || serve.log().contains(&told).then_some(()));
    assert_eq!(sentinel(&to), "precious");
    fs::rename(&to, &dir).unwrap();
    assert_eq!(adopt(&serve, &cancel).get("HoldsData"), None);
    assert_eq!(adopting(&serve), [""; 0]);
    assert_eq!(sentinel(&dir), "precious");
    assert_eq!(names(&data(&serve, "one")), [""; 0]);
    serve.stop();
}
