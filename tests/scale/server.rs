//! The server: the kernel's own, with the programs of nfs-utils that it asks. There is
//! one in the machine, which the tests share one after the other.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use nix::mount::{MsFlags, mount};
use tempfile::TempDir;

use crate::harness::eventually;

/// Where it is to be reached; node 1 is 10.9.0.11.
pub const ADDRESS: &str = "10.9.0.1";

/// The other ends of the nodes' wires are in it.
pub const BRIDGE: &str = "nodes";

/// How long a client that is not heard of keeps what it has. No kernel takes less.
pub const LEASE: u32 = 10;

/// What the kernel shows and takes.
const NFSD: &str = "/proc/fs/nfsd";

/// A file system that is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    Ext4,
    Xfs,
}

impl Disk {
    fn name(self) -> &'static str {
        match self {
            Disk::Ext4 => "ext4",
            Disk::Xfs => "xfs",
        }
    }

    fn device(self) -> &'static str {
        match self {
            Disk::Ext4 => "/dev/vda",
            Disk::Xfs => "/dev/vdb",
        }
    }

    fn at(self) -> PathBuf {
        Path::new("/export").join(self.name())
    }
}

/// The one server, while a test has it.
pub struct Server {
    _alone: MutexGuard<'static, ()>,
}

/// A directory of one test, in what is exported.
pub struct Share {
    dir: TempDir,
    disk: Disk,
}

impl Server {
    /// Waits for the tests before, and starts what they may have stopped.
    pub fn start() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        static SET_UP: Once = Once::new();
        let server = Self { _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) };
        SET_UP.call_once(set_up);
        server.export();
        server.up();
        server.end_grace();
        server
    }

    /// Makes a directory that nodes can mount.
    pub fn share(&self, disk: Disk) -> Share {
        let dir = tempfile::Builder::new().prefix("share-").tempdir_in(disk.at()).unwrap();
        Share { dir, disk }
    }

    /// Ends the server at once, as a crash does: it forgets all locks.
    pub fn down(&self) {
        fs::write(format!("{NFSD}/threads"), "0").unwrap();
    }

    /// Starts it again. It has a grace period, in which clients take back their locks;
    /// whoever wants to open a file meanwhile waits.
    pub fn up(&self) {
        if fs::read_to_string(format!("{NFSD}/threads")).unwrap().trim() == "0" {
            run(&["rpc.nfsd", "--no-nfs-version", "3", "4"]);
        }
    }

    /// Ends the grace period before its time.
    pub fn end_grace(&self) {
        let ended = fs::write(format!("{NFSD}/v4_end_grace"), "Y");
        // Where it is over already, the kernel says that it is busy.
        if let Err(error) = ended {
            assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
        }
    }

    /// How many locks clients hold in all.
    pub fn locks(&self) -> usize {
        let clients = fs::read_dir(format!("{NFSD}/clients")).unwrap();
        let states =
            clients.map(|client| fs::read_to_string(client.unwrap().path().join("states")));
        states.map(|states| states.unwrap_or_default().matches("type: lock").count()).sum()
    }

    /// Ends the server, starts it again, and waits until its clients have again the
    /// locks that they held. They notice only when they next ask for something.
    pub fn restart(&self, ask: impl Fn()) {
        let locks = self.locks();
        self.down();
        self.up();
        ask();
        eventually("the locks are taken back", || (self.locks() == locks).then_some(()));
        self.end_grace();
    }

    /// Takes back what is exported: clients get ESTALE.
    pub fn withdraw(&self) {
        for disk in [Disk::Ext4, Disk::Xfs] {
            run(&["exportfs", "-u", &format!("*:{}", disk.at().display())]);
        }
        run(&["exportfs", "-f"]);
    }

    /// Exports it again.
    pub fn export(&self) {
        run(&["exportfs", "-ra"]);
    }
}

impl Share {
    /// Where the server has it; what is done there is done behind the clients' backs.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What clients mount.
    pub fn source(&self) -> String {
        let name = self.path().file_name().unwrap().to_str().unwrap();
        format!("{ADDRESS}:/{}/{name}", self.disk.name())
    }
}

/// Runs a program of the disk of programs.
pub fn run(line: &[&str]) {
    input(line, "");
}

/// Runs it with something to read.
pub fn input(line: &[&str], text: &str) {
    let mut command = Command::new(Path::new("/programs/bin").join(line[0]));
    command.args(&line[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line:?}: {error}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line:?} {text}: {}: {said}", output.status);
}

/// What is done once in a machine.
fn set_up() {
    let none = None::<&str>;
    for dir in ["/etc", "/export", "/run/netns", "/var/lib/nfs/v4recovery"] {
        fs::create_dir_all(dir).unwrap();
    }
    // What is exported is found below the root of NFS, which is a file system too.
    mount(Some("export"), "/export", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let mut exports = "/export *(ro,fsid=0,no_subtree_check)\n".to_owned();
    for disk in [Disk::Ext4, Disk::Xfs] {
        fs::create_dir(disk.at()).unwrap();
        let device = Some(disk.device());
        mount(device, &disk.at(), Some(disk.name()), MsFlags::empty(), none).unwrap();
        let options = "*(rw,sync,no_root_squash,no_subtree_check)";
        exports += &format!("{} {options}\n", disk.at().display());
    }
    fs::write("/etc/exports", exports).unwrap();
    // The programs of nfs-utils read these, and ask no further.
    fs::write("/etc/services", "nfs 2049/tcp\n").unwrap();
    fs::write("/etc/protocols", "tcp 6 TCP\nudp 17 UDP\n").unwrap();
    fs::write("/etc/netconfig", "tcp tpi_cots_ord v inet tcp - -\n").unwrap();
    for list in ["etab", "rmtab"] {
        fs::write(Path::new("/var/lib/nfs").join(list), "").unwrap();
    }
    let links = format!(
        "link set lo up\nlink add {BRIDGE} type bridge\n\
         address add {ADDRESS}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n"
    );
    input(&["ip", "-batch", "-"], &links);
    mount(Some("nfsd"), NFSD, Some("nfsd"), MsFlags::empty(), none).unwrap();
    for time in ["nfsv4leasetime", "nfsv4gracetime"] {
        fs::write(Path::new(NFSD).join(time), LEASE.to_string()).unwrap();
    }
    run(&["exportfs", "-ra"]);
    // It answers the kernel's questions, in the background.
    run(&["rpc.mountd", "--no-nfs-version", "3"]);
}
