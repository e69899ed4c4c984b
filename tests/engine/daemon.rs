//! A dockerd of a test's own.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Client, DEADLINE, eventually, temporary};
use crate::image;
use crate::namespace::{Namespace, path};

/// The engine's own directory: in the memory of its namespace.
const INSIDE: &str = "/run/engine";

/// A containerd that makes no directories outside of those it is given.
const CONTAINERD: &str = r#"version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
"#;

/// A dockerd with its own containerd, so that containers outlive a dockerd that
/// is killed. Dropping it ends both, the containers and their shims.
pub struct Daemon {
    // First: with it end the processes, and the others need only be waited for.
    namespace: Option<Namespace>,
    /// Each waits outside of the namespace for the process in it.
    dockerd: Option<Child>,
    containerd: Child,
    dir: TempDir,
}

impl Daemon {
    /// Starts an engine with the image `busybox`, which looks for the sockets of
    /// plugins in the directory `plugins`.
    pub fn start(plugins: &Path) -> Self {
        Self::start_with(plugins, "{}")
    }

    /// As [`Daemon::start`], with `settings` in its `daemon.json`.
    pub fn start_with(plugins: &Path, settings: &str) -> Self {
        let dir = temporary();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("specs")).unwrap();
        fs::write(at("daemon.json"), settings).unwrap();
        fs::write(at("containerd.toml"), CONTAINERD).unwrap();
        let namespace = Namespace::new(dir.path(), plugins, &at("specs"));
        let mut containerd = namespace.command("containerd");
        containerd
            .arg("--config")
            .arg(at("containerd.toml"))
            .args(["--root", &format!("{INSIDE}/containerd-root")])
            .args(["--state", &format!("{INSIDE}/containerd-state")])
            .arg("--address")
            .arg(at("containerd.sock"));
        let containerd = spawn(containerd, &at("containerd.log"));
        let mut daemon = Self { namespace: Some(namespace), dockerd: None, containerd, dir };
        eventually("containerd listens", || {
            UnixStream::connect(daemon.at("containerd.sock")).ok().map(drop)
        });
        daemon.boot();
        let mut import = daemon.outside("docker");
        import.args(["import", "--change", r#"CMD ["sh"]"#, "-", "busybox:latest"]);
        let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(image::busybox()).unwrap();
        assert!(import.wait().unwrap().success(), "no image");
        daemon
    }

    /// Starts dockerd, and returns how long it took until it answered.
    pub fn boot(&mut self) -> Duration {
        let start = Instant::now();
        let mut command = self.inside("dockerd");
        command
            .arg("--config-file")
            .arg(self.at("daemon.json"))
            .args(["--data-root", &format!("{INSIDE}/data")])
            .args(["--exec-root", &format!("{INSIDE}/exec")])
            .args(["--pidfile", &format!("{INSIDE}/pid")])
            .args(["--host", &format!("unix://{}", self.socket().display())])
            .args(["--containerd", self.at("containerd.sock").to_str().unwrap()])
            .args(["--cgroup-parent", &format!("/{}", self.namespace().cgroup())])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            // One layer of 2 MB is copied as fast as it is mounted, and that needs
            // nothing of the file system.
            .args(["--storage-driver", "vfs"])
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(["--ip-forward=false", "--ip-masq=false"]);
        self.dockerd = Some(spawn(command, &self.at("dockerd.log")));
        self.wait_until_it_answers();
        start.elapsed()
    }

    /// dockerd listens before it reads what it knows, and answers after. It is
    /// given longer than anything else: it may wait 15 s for a driver, and more
    /// than once.
    fn wait_until_it_answers(&mut self) {
        let socket = self.socket();
        let start = Instant::now();
        loop {
            let status = self.dockerd.as_mut().unwrap().try_wait().unwrap();
            assert!(status.is_none(), "dockerd ended with {status:?}:\n{}", self.log());
            if UnixStream::connect(&socket).is_ok() {
                let mut client = Client::connect(&socket);
                client.send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
                if client.answer().is_some_and(|answer| answer.status == 200) {
                    return;
                }
            }
            assert!(start.elapsed() < 4 * DEADLINE, "dockerd does not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops dockerd as a service manager does, and waits for its end.
    pub fn stop(&mut self) {
        self.signal("TERM");
    }

    /// Kills dockerd, and nothing else: its containers go on.
    pub fn kill(&mut self) {
        self.signal("KILL");
    }

    /// Stops dockerd and starts it again.
    pub fn restart(&mut self) -> Duration {
        self.stop();
        self.boot()
    }

    fn signal(&mut self, signal: &str) {
        let mut dockerd = self.dockerd.take().expect("dockerd runs");
        let pid = format!("{INSIDE}/pid");
        let script = format!("kill -{signal} $(cat {pid}) && rm -f {pid}");
        let status = self.inside("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "dockerd was not signalled: {status}");
        eventually("dockerd ends", || dockerd.try_wait().unwrap());
    }

    /// Returns the socket that it answers at.
    pub fn socket(&self) -> PathBuf {
        self.at("docker.sock")
    }

    /// Returns the directory for `.spec` files.
    pub fn specs(&self) -> PathBuf {
        self.at("specs")
    }

    /// Returns the directory that is gone with the daemon.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns dockerd's log, of all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.at("dockerd.log")).unwrap_or_default()
    }

    /// Runs a docker command, a line that is split at its blanks, to its end. One
    /// that would hang for ever is killed.
    pub fn docker(&self, line: &str) -> Output {
        self.to_end(line.split_whitespace())
    }

    /// Runs a docker command that must succeed, and returns what it printed.
    pub fn ok(&self, line: &str) -> String {
        succeeded(line, &self.docker(line))
    }

    /// Runs a docker command that must fail, and returns what it complained.
    pub fn fails(&self, line: &str) -> String {
        let output = self.docker(line);
        let printed = text(&output.stdout);
        assert!(!output.status.success(), "docker {line} did not fail: {printed}");
        text(&output.stderr)
    }

    /// As [`Daemon::ok`], for a container with `options` that runs `command`.
    pub fn run(&self, options: &str, command: &str) -> String {
        self.ok(&run(options, command))
    }

    /// As [`Daemon::fails`], for a container with `options` that runs `command`.
    pub fn run_fails(&self, options: &str, command: &str) -> String {
        self.fails(&run(options, command))
    }

    /// As [`Daemon::run`], for a script.
    pub fn shell(&self, options: &str, script: &str) -> String {
        let line = run(options, "sh -c");
        succeeded(&line, &self.to_end(line.split_whitespace().chain([script])))
    }

    /// Returns what `docker volume inspect` says of volumes, in their order.
    pub fn inspect(&self, names: &str) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.ok(&format!("volume inspect {names}"))).unwrap()
    }

    /// Starts a docker command, which is killed when it is dropped.
    pub fn spawn(&self, line: &str) -> Running {
        let mut command = self.outside("docker");
        command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().unwrap())
    }

    fn to_end<'a>(&self, args: impl Iterator<Item = &'a str>) -> Output {
        self.client("docker").args(args).output().unwrap()
    }

    /// Returns a command that talks to this engine, and knows of no other; one that
    /// would hang for ever is killed.
    pub fn client(&self, program: &str) -> Command {
        let limit = (5 * DEADLINE).as_secs().to_string();
        let mut command = self.outside("timeout");
        command.args(["--signal=KILL", &limit, program]);
        command
    }

    fn outside(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path())
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.at("config"))
            .stdin(Stdio::null());
        command
    }

    /// Returns a command that runs `program` where dockerd runs: it sees the mounts
    /// and the processes that dockerd sees.
    pub fn inside(&self, program: &str) -> Command {
        self.namespace().command(program)
    }

    fn namespace(&self) -> &Namespace {
        self.namespace.as_ref().expect("it ends with the daemon")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A docker command that runs.
pub struct Running(Child);

impl Running {
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("[core]")).collect();
            let last = lines.len().saturating_sub(60);
            eprintln!("--- dockerd's log\n{}\n---", lines[last..].join("\n"));
        }
        drop(self.namespace.take());
        for outside in self.dockerd.iter_mut().chain([&mut self.containerd]) {
            let _ended = outside.wait();
        }
    }
}

fn spawn(mut command: Command, log: &Path) -> Child {
    let output = File::options().create(true).append(true).open(log).unwrap();
    command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
}

/// The line that runs `command` in a container of the one image that there is.
/// Without an own network, for the machine's is none of its business.
pub fn run(options: &str, command: &str) -> String {
    format!("run --network none {options} busybox:latest {command}")
}

fn succeeded(line: &str, output: &Output) -> String {
    assert!(output.status.success(), "docker {line}: {}: {}", output.status, text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
