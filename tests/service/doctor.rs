//! `dirvol doctor`: a host that is well, and what is found of a disk that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::expect::neutral;
use crate::harness::{Setup, tree};
use crate::mounts::{bind, in_own_mounts, mount_memory, set_read_only};
use crate::program::{Ended, run};

/// The id of a root in its neutral form.
const ID: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// Runs it for what a test set up, on a host where nothing else is, and checks that
/// it changes nothing. What is the test's own is called DIR.
pub fn doctor(setup: &Setup, args: &[&str]) -> Ended {
    let trees = || [setup.root(), setup.state()].map(|dir| dir.exists().then(|| tree(&dir)));
    let before = trees();
    let ended = doctor_anywhere(setup, args);
    assert_eq!(trees(), before);
    ended
}

/// As [`doctor`], where the disk cannot be looked at.
pub fn doctor_anywhere(setup: &Setup, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.args(["doctor", "--root"]).arg(setup.root()).arg("--state-dir").arg(setup.state());
    command.arg("--socket").arg(setup.socket()).arg("--unit-dir").arg(setup.path("units"));
    for name in ["DOCKER_HOST", "DIRVOL_SOCKET", "DIRVOL_ROOT", "DIRVOL_STATE_DIR"] {
        command.env_remove(name);
    }
    let ended = run(command.args(args).stdin(Stdio::null()));
    let dir = setup.dir.path().to_str().unwrap();
    let plain = |text: &str| neutral(&text.replace(dir, "DIR"));
    Ended { stdout: plain(&ended.stdout), stderr: plain(&ended.stderr), ..ended }
}

/// What is said of a host that is well, where no driver runs and there is one volume.
const STOPPED: [(&str, &str); 10] = [
    ("root", "DIR/root is root ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ("lock", "nobody holds that of DIR/root"),
    ("permissions", "DIR/root and DIR/state"),
    ("space", "bytes and inodes of DIR/root"),
    ("health", "1 volume read"),
    ("leftovers", "volumes, trash, staging and the names in the state directory"),
    ("sockets", "DIR/dirvol.sock is not there"),
    ("units", "systemd has none of dirvol's"),
    ("engines", "none listens where engines do"),
    ("selinux", "it is off"),
];

/// What is said where there is `found`, and else what is said in `well`.
pub fn told(well: &[(&str, &str)], found: &[(&str, &str)]) -> Ended {
    let mut stdout = String::new();
    let width = if found.is_empty() { 5 } else { 7 };
    let mut row = |check: &str, state: &str, what: &str| {
        stdout += &format!("{check:11}  {state:width$}  {what}\n");
    };
    row("CHECK", "STATE", "WHAT");
    for (check, saw) in well {
        let mut there = found.iter().filter(|(name, _)| name == check).peekable();
        match (there.peek(), saw.is_empty()) {
            (None, true) => row(check, "-", "not looked at: there is no root to look at"),
            (None, false) => row(check, "ok", saw),
            (Some(_), _) => there.for_each(|(_, what)| row(check, "finding", what)),
        }
    }
    let (code, stderr) = match found.len() {
        0 => (0, String::new()),
        1 => (1, "dirvol: 1 finding\n".to_owned()),
        many => (1, format!("dirvol: {many} findings\n")),
    };
    Ended { code: Some(code), stdout, stderr }
}

/// As [`STOPPED`], with other words for some checks.
pub fn but(other: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let find = |name| other.iter().find(|(check, _)| *check == name).copied();
    STOPPED.iter().map(|well| find(well.0).unwrap_or(*well)).collect()
}

/// As [`STOPPED`], where the root cannot be looked at.
pub fn no_root() -> Vec<(&'static str, &'static str)> {
    let without = ["lock", "permissions", "space", "health", "leftovers", "selinux"];
    but(&without.map(|check| (check, "")))
}

/// Serves once, with one volume, and stops; then tests on a host of the test's own.
pub fn served_once(test: impl FnOnce(&Setup) + Send) {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(Path::new("/run"), "");
        let serve = setup.serve();
        serve.create("db");
        serve.stop();
        test(&setup);
    });
}

/// One damage to a root that no driver serves, and what is found of it.
fn assert_found(harm: impl FnOnce(&Setup) + Send, well: &[(&str, &str)], found: &[(&str, &str)]) {
    served_once(|setup| {
        harm(setup);
        assert_eq!(doctor(setup, &[]), told(well, found));
    });
}

#[test]
fn a_host_that_is_well_is_told_check_by_check() {
    served_once(|setup| {
        assert_eq!(doctor(setup, &[]), told(&STOPPED, &[]));
        let serve = setup.serve();
        let pid = serve.pid();
        // What is staged is being built or deleted.
        fs::create_dir(setup.root().join("staging/x")).unwrap();
        let expected = format!(
            "CHECK        STATE  WHAT\n\
             root         ok     DIR/root is root {ID}\n\
             lock         ok     process {pid} (dirvol) holds that of DIR/root\n\
             permissions  ok     DIR/root and DIR/state\n\
             space        ok     bytes and inodes of DIR/root\n\
             health       ok     1 volume read\n\
             leftovers    ok     volumes, trash, staging and the names in the state directory\n\
             sockets      ok     DIR/dirvol.sock is served by process {pid} (dirvol)\n\
             units        ok     systemd has none of dirvol's\n\
             engines      ok     none listens where engines do\n\
             selinux      ok     it is off\n"
        );
        let stderr = String::new();
        assert_eq!(doctor(setup, &[]), Ended { code: Some(0), stdout: expected, stderr });
        serve.stop();
    });
}

#[test]
fn a_program_is_told_the_same() {
    served_once(|setup| {
        fs::set_permissions(setup.root(), fs::Permissions::from_mode(0o750)).unwrap();
        let ended = doctor(setup, &["--format", "json"]);
        let order = [
            "sockets",
            "root",
            "permissions",
            "space",
            "selinux",
            "health",
            "leftovers",
            "lock",
            "units",
            "engines",
        ];
        let saw = |check| STOPPED.iter().find(|(name, _)| *name == check).unwrap().1;
        let looked = order.map(|check| format!(r#"{{"Check":"{check}","Saw":"{}"}}"#, saw(check)));
        let found = r#"{"Check":"permissions","Subject":"DIR/root","Finding":"others than its owner may enter it (mode 0750)","Cure":"chmod 0700 DIR/root"}"#;
        let stdout = format!("{{\"Looked\":[{}],\"Findings\":[{found}]}}\n", looked.join(","));
        let stderr = "dirvol: 1 finding\n".into();
        assert_eq!(ended, Ended { code: Some(1), stdout, stderr });
    });
}

#[test]
fn a_path_that_cannot_be_meant_is_a_wrong_usage() {
    served_once(|setup| {
        let ended = doctor(setup, &["--socket", "/a/../b"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
    });
}

#[test]
fn a_root_that_is_missing_is_found() {
    assert_found(
        |setup| fs::rename(setup.root(), setup.path("away")).unwrap(),
        &no_root(),
        &[(
            "root",
            "DIR/root: it does not exist; mount its disk, give --root, or make it with 'dirvol \
             init DIR/root'",
        )],
    );
}

#[test]
fn a_root_that_is_a_file_is_found() {
    let found = ("root", "DIR/root: it is not a directory; give another --root");
    served_once(|setup| {
        fs::rename(setup.root(), setup.path("away")).unwrap();
        fs::write(setup.root(), "").unwrap();
        assert_eq!(doctor_anywhere(setup, &[]), told(&no_root(), &[found]));
    });
}

#[test]
fn the_empty_mountpoint_of_a_disk_is_found() {
    let found = format!(
        "DIR/root: it is no root of dirvol, and root {ID} was served last; mount the disk of that \
         one"
    );
    assert_found(
        |setup| {
            fs::rename(setup.root(), setup.path("away")).unwrap();
            fs::create_dir(setup.root()).unwrap();
        },
        &no_root(),
        &[("root", &found)],
    );
}

#[test]
fn a_marker_that_cannot_be_used_is_found() {
    let cure = "restore dirvol.json from a copy, or run the version of dirvol that wrote it";
    for (text, why) in [
        (r#"{"format":2,"x":1}"#, "it has format 2; this dirvol knows format 1"),
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        let found = format!("DIR/root: its marker cannot be used: {why}; {cure}");
        assert_found(
            |setup| fs::write(setup.root().join("dirvol.json"), text).unwrap(),
            &no_root(),
            &[("root", &found)],
        );
    }
}

#[test]
fn another_root_than_before_is_found() {
    let found = format!(
        "DIR/root: it is root other, and {ID} was served last; mount the disk of that one, or \
         accept this one with DIRVOL_ACCEPT_ROOT=other"
    );
    assert_found(
        |setup| {
            let marker = json!({"format": 1, "id": "other", "scope": "local"}).to_string();
            fs::write(setup.root().join("dirvol.json"), marker).unwrap();
        },
        &STOPPED,
        &[("root", &found)],
    );
}

#[test]
fn a_root_in_memory_is_found_and_so_is_one_that_is_full() {
    let memory = "DIR/root: it lies on tmpfs: its volumes are gone at the next boot; move it to a \
                  disk, or mount the disk there";
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(Path::new("/run"), "");
        mount_memory(&setup.root(), "size=4m,nr_inodes=200");
        let serve = setup.serve();
        serve.create("db");
        serve.stop();
        assert_eq!(doctor(&setup, &[]), told(&STOPPED, &[("root", memory)]));
        let data = setup.root().join("volumes/db/data");
        fs::write(data.join("big"), vec![0; 7 << 19]).unwrap();
        let mut files = 0;
        while fs::write(data.join(files.to_string()), "").is_ok() {
            files += 1;
        }
        let found = [
            ("root", memory),
            (
                "space",
                "DIR/root: 0 MiB of 4 MiB are free; free space: below a tenth, or 20 GiB, the \
                 trash is emptied",
            ),
            (
                "space",
                "DIR/root: 0 of 200 inodes are free; delete files, or empty the trash: 'dirvol \
                 trash purge --all'",
            ),
        ];
        // What fills the disk to the last byte is in the volume.
        fs::write(data.join("0"), vec![0; 1 << 19]).unwrap_err();
        assert_eq!(doctor(&setup, &[]), told(&STOPPED, &found));
    });
}

#[test]
fn others_who_may_enter_and_a_state_that_cannot_be_written_are_found() {
    assert_found(
        |setup| {
            fs::set_permissions(setup.root(), fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(setup.root(), Some(7), None).unwrap();
            bind(&setup.state(), &setup.state());
            set_read_only(&setup.state(), true);
        },
        &STOPPED,
        &[
            (
                "permissions",
                "DIR/root: others than its owner may enter it (mode 0755); chmod 0700 DIR/root",
            ),
            (
                "permissions",
                "DIR/root: it belongs to user 7, and not to 0; chown 0 DIR/root, or run as its \
                 owner",
            ),
            (
                "permissions",
                "DIR/state: it cannot be written: Read-only file system (os error 30); make it \
                 writable for the driver, or give it another --state-dir",
            ),
        ],
    );
}

#[test]
fn volumes_that_cannot_be_read_are_found_each_with_its_reason() {
    assert_found(
        |setup| {
            let volumes = setup.root().join("volumes");
            fs::write(volumes.join("db/volume.json"), "torn").unwrap();
            fs::create_dir_all(volumes.join("none/data")).unwrap();
            fs::write(setup.state().join("seen/none"), "").unwrap();
            fs::write(volumes.join("file"), "").unwrap();
        },
        &but(&[("health", "3 volumes read")]),
        &[
            (
                "health",
                "volume db: its record cannot be used: expected ident at line 1 column 2; mend \
                 it or move it away, DIR/root/volumes/db",
            ),
            (
                "health",
                "volume file: it is not a directory; mend it or move it away, \
                 DIR/root/volumes/file",
            ),
            (
                "health",
                "volume none: it has no volume.json; mend it or move it away, \
                 DIR/root/volumes/none",
            ),
        ],
    );
    assert_found(
        |setup| fs::remove_dir(setup.root().join("volumes/db/data")).unwrap(),
        &STOPPED,
        &[(
            "health",
            "volume db: its data directory is missing; mend it or move it away, \
             DIR/root/volumes/db",
        )],
    );
    assert_found(
        |setup| {
            fs::rename(setup.root().join("volumes"), setup.path("away")).unwrap();
            fs::remove_file(setup.state().join("seen/db")).unwrap();
        },
        &STOPPED,
        &[("health", "DIR/root: it has lost the directory of its volumes; restore it from a copy")],
    );
}

#[test]
fn what_is_left_over_is_found() {
    assert_found(
        |setup| {
            for made in ["volumes/a name", "trash/something", "staging/abc", "staging/abd"] {
                fs::create_dir(setup.root().join(made)).unwrap();
            }
            fs::write(setup.root().join("trash/db~1~a"), "").unwrap();
            fs::write(setup.state().join("seen/gone"), "").unwrap();
        },
        &STOPPED,
        &[
            (
                "leftovers",
                "\"a name\" among the volumes: it is no volume; move it away: no volume may be \
                 called so, and the driver passes it over",
            ),
            ("leftovers", "\"db~1~a\" in the trash: it is no entry of the trash; move it away"),
            ("leftovers", "\"something\" in the trash: it is no entry of the trash; move it away"),
            (
                "leftovers",
                "DIR/root: 2 in the staging directory were left by a driver that was cut off; \
                 start the driver: it deletes them",
            ),
            (
                "leftovers",
                "volume gone: DIR/state knows it, and the root has it no more; start the driver \
                 anew: it forgets what was moved away on purpose",
            ),
        ],
    );
}
