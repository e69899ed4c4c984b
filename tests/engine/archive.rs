//! What `docker cp` packs becomes a volume, and what a volume is exported as `docker cp`
//! unpacks: both ends of that are Go's.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, tree};

/// Runs `command` with `input`, and returns what it printed.
fn piped(mut command: Command, input: &[u8]) -> Vec<u8> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

fn dirvol(serve: &Serve, args: [&str; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).args(args);
    command
}

#[test]
fn a_copy_out_of_a_container_becomes_a_volume_and_back() {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    let made = "cd /here && busybox mkdir -p d/e && echo text > d/file && \
                busybox chmod 600 d/file && busybox ln -s /nowhere link";
    daemon.ok("volume create -d dirvol one");
    daemon.shell("--name filler -v one:/here", made);
    let mut copy = daemon.client("docker");
    copy.args(["cp", "filler:/here/.", "-"]);
    let archive = piped(copy, b"");
    assert_eq!(piped(dirvol(&serve, ["import", "two", "-"]), &archive), b"two: 5 files, 5 bytes\n");
    let data = |name: &str| tree(&serve.root.join("volumes").join(name).join("data"));
    assert_eq!(data("two"), data("one"));
    // Docker finds it as any other volume.
    assert_eq!(daemon.run("--rm -v two:/there", "cat /there/d/file"), "text\n");
    let archive = piped(dirvol(&serve, ["export", "two", "-"]), b"");
    daemon.ok("volume create -d dirvol three");
    daemon.run("-d --name empty -v three:/here", "top");
    let mut copy = daemon.client("docker");
    copy.args(["cp", "--archive", "-", "empty:/here"]);
    piped(copy, &archive);
    assert_eq!(data("three"), data("one"));
    daemon.ok("rm -f filler empty");
}
