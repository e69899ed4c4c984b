//! What the tests of every tier share: the real binary in a directory of its
//! own, and raw bytes to its socket.

// Each tier is a crate of its own and uses its part of this.
#![allow(dead_code, unused_imports)]

mod client;
pub mod history;
pub mod hostile;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use client::{Answer, Client, get, metric, request, try_get};

/// How long anything may take that is not a matter of speed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How the driver is started: a directory that holds everything, and flags.
pub struct Setup {
    pub dir: TempDir,
    log_level: &'static str,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

/// A running driver. Dropping it kills the process.
pub struct Serve {
    pub socket: PathBuf,
    pub root: PathBuf,
    pub state: PathBuf,
    pub log: PathBuf,
    child: Child,
}

impl Setup {
    pub fn new() -> Self {
        Self { dir: temporary(), log_level: "debug", args: Vec::new(), envs: Vec::new() }
    }

    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("dirvol.sock")
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The command that serves, with everything in this directory. The root is
    /// made where it is missing: `--init auto` makes no directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        command
            .arg("serve")
            .args(["--log-level", self.log_level])
            .arg("--root")
            .arg(self.root())
            .arg("--state-dir")
            .arg(self.state())
            .arg("--socket")
            .arg(self.socket())
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts the driver on an empty root or on the one that is there, and waits
    /// until it serves it.
    pub fn serve(&self) -> Serve {
        fs::create_dir_all(self.root()).unwrap();
        let serve = self.start();
        serve.wait_available();
        serve
    }

    /// Starts the driver on whatever is there, and waits until it answers.
    pub fn start(&self) -> Serve {
        self.start_with(self.command())
    }

    /// Has `command` write to the log of this directory.
    pub fn log_to(&self, command: &mut Command) {
        let output = File::options().create(true).append(true).open(self.path("log")).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
    }

    /// As [`Setup::start`], with a command of the test's own making.
    pub fn start_with(&self, mut command: Command) -> Serve {
        self.log_to(&mut command);
        let log = self.path("log");
        let child = command.spawn().unwrap();
        let mut serve =
            Serve { socket: self.socket(), root: self.root(), state: self.state(), log, child };
        eventually("the driver answers", || {
            if let Some(status) = serve.child.try_wait().unwrap() {
                panic!("the driver ended with {status}:\n{}", serve.log());
            }
            UnixStream::connect(&serve.socket).ok()?;
            try_get(&serve.socket, "/healthz")
        });
        serve
    }
}

impl Serve {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn wait_available(&self) {
        eventually("the root is served", || {
            (get(&self.socket, "/healthz").status == 200).then_some(())
        });
    }

    pub fn wait_unavailable(&self) {
        eventually("the root is not served", || {
            (get(&self.socket, "/healthz").status == 503).then_some(())
        });
    }

    /// Calls a method of the protocol on a connection of its own.
    pub fn call(&self, method: &str, body: &str) -> Answer {
        Client::connect(&self.socket).call(method, body).expect("the connection was closed")
    }

    /// Calls a method and expects success; returns the body.
    pub fn ok(&self, method: &str, body: &str) -> String {
        let answer = self.call(method, body);
        assert_eq!(answer.status, 200, "{method} {body}: {}", answer.body);
        answer.body
    }

    pub fn create(&self, name: &str) {
        assert_eq!(self.ok("VolumeDriver.Create", &format!("{{\"Name\":{name:?}}}")), DONE);
    }

    pub fn remove(&self, name: &str) {
        assert_eq!(self.ok("VolumeDriver.Remove", &format!("{{\"Name\":{name:?}}}")), DONE);
    }

    /// The names that List answers.
    pub fn names(&self) -> Vec<String> {
        let list: serde_json::Value =
            serde_json::from_str(&self.ok("VolumeDriver.List", "{}")).unwrap();
        let volumes = list["Volumes"].as_array().unwrap();
        volumes.iter().map(|volume| volume["Name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the driver ends", || child.try_wait().unwrap())
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// The log, with all that was logged before. A thread of its own writes it,
    /// line by line, so a call that only the log sees shows how far it has come.
    pub fn log(&self) -> String {
        let read = || fs::read_to_string(&self.log).unwrap_or_default();
        let Ok(stream) = UnixStream::connect(&self.socket) else { return read() };
        let call = format!("log-{}", read().len());
        let limit = Some(Duration::from_secs(1));
        if stream.set_read_timeout(limit).is_err() || !client::is_answered(stream, &call) {
            return read();
        }
        let start = Instant::now();
        while !read().contains(&call) && Some(start.elapsed()) < limit {
            thread::sleep(Duration::from_millis(1));
        }
        read()
    }

    /// The sum of the samples of a metric whose labels contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        metric(&self.socket, name, labels)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the driver's log\n{}---", self.log());
        }
    }
}

/// What a call without a result answers.
pub const DONE: &str = r#"{"Err":""}"#;

/// Polls until `look` finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything below a directory, in order: type and permissions, owner, path,
/// and what is in a file.
pub fn tree(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    list(dir, dir, &mut lines);
    lines.sort();
    lines
}

fn list(top: &Path, dir: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let shown = path.strip_prefix(top).unwrap().display();
        let mode = meta.permissions().mode() & 0o7777;
        let owner = format!("{}:{}", meta.uid(), meta.gid());
        if meta.is_dir() {
            lines.push(format!("{shown}/ {mode:04o} {owner}"));
            list(top, &path, lines);
        } else if meta.is_file() {
            let bytes = fs::read(&path).unwrap();
            lines.push(format!("{shown} {mode:04o} {owner} {:?}", String::from_utf8_lossy(&bytes)));
        } else {
            lines.push(format!("{shown} {:o} {owner}", meta.mode()));
        }
    }
}

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A command that `scripts/setup` unpacks where the machine has none.
pub fn tool(name: &str) -> Command {
    let unpacked = project("target/tools/usr/bin").join(name);
    Command::new(if unpacked.exists() { unpacked } else { name.into() })
}

/// A directory for one test, gone when it is dropped. Where free space is so low
/// that the driver would empty its trash, it lies in memory.
pub fn temporary() -> TempDir {
    let prefix = "dirvol-test-";
    let low = |dir: &Path| {
        let stat = nix::sys::statvfs::statvfs(dir).unwrap();
        stat.blocks_available() * stat.fragment_size()
            < (20 << 30).min(stat.blocks() * stat.fragment_size() / 10)
    };
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).permissions(fs::Permissions::from_mode(0o755));
        builder
    };
    if low(&std::env::temp_dir()) {
        builder().tempdir_in("/dev/shm").unwrap()
    } else {
        builder().tempdir().unwrap()
    }
}

impl Serve {
    /// Stops the process where it is, until it gets a SIGCONT.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("the process stands still", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        });
    }
}
