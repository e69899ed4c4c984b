//! Users of the host who are not root: what they cannot reach of volumes, of the trash
//! and of the driver.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::asked::said;
use crate::expect::{done, with_options};
use crate::harness::{Serve, Setup, tree};

/// Nobody in particular.
const USER: &str = "65534";

/// Runs a shell's line as that user, with `$0` and further arguments; returns how it
/// ended and what it said.
fn as_user(script: &str, args: &[&Path]) -> (Option<i32>, String) {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "sh", "-c", script]);
    let output = command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Copies a program by another process: one that this process has open for writing, and
/// so has what it starts at that moment, cannot be run.
fn copy(program: &Path, to: &Path) {
    assert!(Command::new("cp").arg(program).arg(to).status().unwrap().success());
}

/// A volume that everybody may write to, with a program in it that runs as root.
fn open_volume(setup: &Setup) -> Serve {
    let serve = setup.serve();
    let create = with_options("a", &json!({"mode": "0777"}));
    assert_eq!(serve.call("VolumeDriver.Create", &create), done());
    let program = setup.root().join("volumes/a/data/id");
    copy(Path::new("/usr/bin/id"), &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    serve
}

#[test]
fn a_user_of_the_host_reaches_no_volume_whatever_its_mode() {
    let setup = Setup::new();
    let serve = open_volume(&setup);
    serve.create("b");
    serve.remove("b");
    // Even where somebody has opened the root for all.
    fs::set_permissions(setup.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let before = tree(&setup.root());
    let root = setup.root();
    for script in [
        r#"ls "$0/volumes""#,
        r#"ls "$0/trash""#,
        r#"ls "$0/staging""#,
        r#"ls "$0/volumes/a/data""#,
        r#"cat "$0/volumes/a/data/id""#,
        r#""$0/volumes/a/data/id" -u"#,
        r#"echo x > "$0/volumes/a/data/x""#,
        r#"mkdir "$0/volumes/c""#,
        r#"rm -r "$0/volumes/a""#,
        r#"mv "$0/volumes" "$0/v""#,
    ] {
        let (code, said) = as_user(script, &[&root]);
        assert!(code != Some(0) && said.is_empty(), "{script}: {code:?} {said}");
    }
    for script in [r#"ls "$0""#, r#"cat "$0"/root-id"#] {
        assert_ne!(as_user(script, &[&setup.state()]).0, Some(0), "{script}");
    }
    assert_eq!(tree(&setup.root()), before);
    serve.stop();
}

#[test]
fn a_user_of_the_host_is_not_answered_by_the_driver() {
    let setup = Setup::new();
    let serve = open_volume(&setup);
    let binary = Path::new(env!("CARGO_BIN_EXE_dirvol"));
    // The binary lies where that user may not go, so he gets a copy.
    let own = setup.path("dirvol");
    copy(binary, &own);
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = as_user(r#""$0" --socket "$1" ls"#, &[&own, &setup.socket()]);
    assert_eq!((code, said.as_str()), (Some(3), ""));
    serve.stop();
}

/// A container of his own user, with the volume at `/mnt`.
struct Container(Child);

impl Container {
    fn with(dir: &Path) -> Self {
        let script = r#"mount --bind "$0" /mnt && exec setpriv --reuid "$1" --regid "$1" \
             --clear-groups sh -c '/mnt/id -u; exec cat'"#;
        let child = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(dir)
            .arg(USER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A user whose id a container has may see the container's files by way of `/proc`,
/// as with any volume of any driver; what is setuid there makes nobody root.
#[test]
fn a_setuid_file_in_a_volume_makes_a_user_of_the_host_no_root() {
    let setup = Setup::new();
    let serve = open_volume(&setup);
    let mut container = Container::with(&setup.root().join("volumes/a/data"));
    let mut line = String::new();
    BufReader::new(container.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    // In the container it works, as its image's do.
    assert_eq!(line, "0\n");
    let there = format!("/proc/{}/root/mnt/id", container.0.id());
    let (code, said) = as_user(r#""$0" -u"#, &[Path::new(&there)]);
    assert_eq!((code, said.trim()), (Some(0), USER));
    drop(container);
    serve.stop();
}

/// What is setuid in an archive, or in the original of a copy, stays so; and no user of
/// the host gets there.
#[test]
fn what_is_setuid_in_an_archive_or_a_copy_is_kept_and_reached_by_no_user() {
    let setup = Setup::new();
    let serve = open_volume(&setup);
    // Even where somebody has opened the root for all.
    fs::set_permissions(setup.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = setup.path("a.tar");
    said(&serve, &format!("export a {}", file.display()));
    said(&serve, &format!("import unpacked {}", file.display()));
    serve.ok("Dirvol.Clone", r#"{"Name":"copy","From":"a"}"#);
    // Whoever reads an archive reads the volume, so that is its owner's alone.
    assert_eq!(as_user(r#"cat "$0""#, &[&file]), (Some(1), String::new()));
    for name in ["a", "unpacked", "copy"] {
        let program = setup.root().join("volumes").join(name).join("data/id");
        let mode = fs::metadata(&program).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o4755, "{name}");
        let (code, said) = as_user(r#""$0" -u"#, &[&program]);
        assert!(code != Some(0) && said.is_empty(), "{name}: {code:?} {said}");
    }
    serve.stop();
}

/// As `dirvol init` makes it, nobody else even enters the root.
#[test]
fn a_root_that_init_made_is_its_owners_alone() {
    let setup = Setup::new();
    let made = crate::program::dirvol(["init".as_ref(), setup.root().as_os_str()]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let (code, said) = as_user(r#"ls "$0""#, &[&setup.root()]);
    assert!(code != Some(0) && said.is_empty(), "{code:?} {said}");
    let modes = tree(&setup.root());
    assert!(
        modes.iter().all(|line| line.contains(" 0700 ") || line.contains(" 0600 ")),
        "{modes:?}"
    );
}
