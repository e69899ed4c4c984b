//! A driver that sees nothing of the machine: what a request costs would otherwise
//! depend on its processes, its mounts and its file system.

use std::process::{Command, Stdio};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Pid;

use crate::binary;
use crate::harness::{Client, Serve, Setup};

/// As the first process of a namespace, in a root directory with `/proc` and a tmpfs
/// for the volumes and nothing else mounted. A copy of the binary is in it.
const SCRIPT: &str = r#"
cd "$1"
cp "$2" dirvol
mkdir proc disk
mount -t proc proc proc
mount -t tmpfs tmpfs disk
mkdir disk/root
exec chroot . /dirvol serve --log-level info --socket /dirvol.sock \
    --root /disk/root --state-dir /disk/state
"#;

/// Starts it; the process to kill is its parent.
pub fn serve(setup: &Setup) -> Serve {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", SCRIPT, "sh"])
        .arg(setup.dir.path())
        .arg(binary())
        .stdin(Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    serve
}

/// The driver at the other end of a connection.
pub fn pid(client: &Client) -> Pid {
    Pid::from_raw(getsockopt(&client.stream, PeerCredentials).unwrap().pid())
}
