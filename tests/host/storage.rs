//! A Podman of a test's own. Podman has no daemon: it is its storage, and where it
//! runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::rc::Rc;

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::harness::{DEADLINE, Serve, Setup, temporary};
use crate::image;
use crate::namespace::Namespace;

/// Where the storage lies: in the memory of the namespace.
const INSIDE: &str = "/run/engine";

/// The settings of every Podman here: the runtime that Docker brings too, limits that
/// any process may set, and no network, for the machine's is none of its business.
/// Control groups are the runtime's alone: Podman's own way to make one complains of
/// directories where no hierarchy is mounted. Plugins follow.
const SETTINGS: &str = r#"[containers]
default_ulimits = ["nofile=4096:4096", "nproc=9000:9000"]
netns = "none"
cgroups = "no-conmon"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
TIMEOUT
[engine.volume_plugins]
"#;

/// Podman remembers what it has imported in `/var/lib`, whatever it is told: here it
/// does in memory.
const COVER: &str = "mkdir -p /run/var/upper /run/var/work && mount -n -t overlay overlay \
                     -o lowerdir=/var/lib,upperdir=/run/var/upper,workdir=/run/var/work /var/lib";

/// Podman with one storage. Its containers end when the last that shares its
/// namespace is dropped.
pub struct Podman {
    // First: with it end the processes.
    host: Rc<Host>,
    storage: &'static str,
}

struct Host {
    namespace: Namespace,
    dir: TempDir,
}

/// The driver, and a dockerd that finds it.
pub fn with_dockerd() -> (Setup, Serve, Daemon) {
    let setup = Setup::new();
    let serve = setup.serve();
    let daemon = Daemon::start(setup.dir.path());
    (setup, serve, daemon)
}

/// The driver, and a Podman that knows it as `dirvol`.
pub fn start() -> (Setup, Serve, Podman) {
    let setup = Setup::new();
    let serve = setup.serve();
    let podman = Podman::new(setup.dir.path(), &["dirvol"]);
    (setup, serve, podman)
}

impl Podman {
    /// Makes an empty storage with the image `busybox`. Each of `drivers` is a
    /// plugin whose socket has its name, in the directory `plugins`; a name may be
    /// followed by `=` and that of another socket.
    pub fn new(plugins: &Path, drivers: &[&str]) -> Self {
        Self::with_timeout(plugins, drivers, None)
    }

    /// As [`Podman::new`], and plugins are given so many seconds for an answer.
    pub fn with_timeout(plugins: &Path, drivers: &[&str], seconds: Option<u32>) -> Self {
        let dir = temporary();
        fs::create_dir(dir.path().join("specs")).unwrap();
        let namespace = Namespace::new(dir.path(), plugins, &dir.path().join("specs"));
        let podman = Self { host: Rc::new(Host { namespace, dir }), storage: "first" };
        let timeout = seconds.map(|seconds| format!("volume_plugin_timeout = {seconds}"));
        let mut settings = SETTINGS.replace("TIMEOUT", &timeout.unwrap_or_default());
        for driver in drivers {
            let (name, socket) = driver.split_once('=').unwrap_or((driver, driver));
            settings += &format!("{name} = \"/run/docker/plugins/{socket}.sock\"\n");
        }
        fs::write(podman.settings(), settings).unwrap();
        fs::write(podman.at("image.tar"), image::busybox()).unwrap();
        podman.inside("sh", &["-c", COVER]);
        podman.import();
        podman
    }

    /// Returns another Podman that runs in the same place and has its own storage,
    /// as two hosts have that share a file system.
    pub fn beside(&self) -> Self {
        let other = Self { host: Rc::clone(&self.host), storage: "second" };
        other.import();
        other
    }

    fn import(&self) {
        let archive = self.at("image.tar");
        let output = self.run_to_end(["import", "--quiet", archive.to_str().unwrap(), "busybox"]);
        assert!(output.status.success(), "no image: {}", text(&output.stderr));
    }

    /// Returns the file with the settings, which is read by every command.
    pub fn settings(&self) -> PathBuf {
        self.at("containers.conf")
    }

    /// Returns a path in a directory that is gone with the last that uses it, and
    /// that is seen inside of the namespace too.
    pub fn at(&self, name: &str) -> PathBuf {
        self.host.dir.path().join(name)
    }

    /// Runs a command, a line that is split at its blanks, to its end.
    pub fn podman(&self, line: &str) -> Output {
        self.run_to_end(line.split_whitespace())
    }

    /// Runs a command that must succeed without a complaint, and returns what it
    /// printed.
    pub fn ok(&self, line: &str) -> String {
        clean(line, &self.podman(line))
    }

    /// Runs a command that must fail, and returns its exit code and what it
    /// complained.
    pub fn fails(&self, line: &str) -> (i32, String) {
        let output = self.podman(line);
        assert!(!output.status.success(), "podman {line} did not fail: {}", text(&output.stdout));
        (output.status.code().unwrap(), text(&output.stderr))
    }

    /// As [`Podman::ok`], for a container with `options` that runs `command`.
    pub fn run(&self, options: &str, command: &str) -> String {
        self.ok(&self.container(options, command))
    }

    /// As [`Podman::fails`], for a container with `options` that runs `command`.
    pub fn run_fails(&self, options: &str, command: &str) -> (i32, String) {
        self.fails(&self.container(options, command))
    }

    /// As [`Podman::run`], for a script.
    pub fn shell(&self, options: &str, script: &str) -> String {
        let line = self.container(options, "sh -c");
        clean(&line, &self.run_to_end(line.split_whitespace().chain([script])))
    }

    /// Returns what `podman volume inspect` says of a volume.
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let all: serde_json::Value =
            serde_json::from_str(&self.ok(&format!("volume inspect {name}"))).unwrap();
        all[0].clone()
    }

    /// Runs a program where Podman runs, which must succeed; returns what it printed.
    pub fn inside(&self, program: &str, args: &[&str]) -> String {
        let output = self.host.namespace.command(program).args(args).output().unwrap();
        clean(program, &output)
    }

    /// Runs a command with the machine's own settings files instead of the test's.
    pub fn as_installed(&self, line: &str) -> Output {
        self.command(line.split_whitespace(), None)
    }

    /// The line that runs `command` in a container, below the control group that
    /// goes with the namespace.
    pub fn container(&self, options: &str, command: &str) -> String {
        let group = self.host.namespace.cgroup();
        format!("run --cgroup-parent /{group} {options} busybox {command}")
    }

    fn run_to_end<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        self.command(args, Some(self.settings()))
    }

    /// A command that would hang for ever is killed.
    fn command<'a>(
        &self,
        args: impl IntoIterator<Item = &'a str>,
        settings: Option<PathBuf>,
    ) -> Output {
        let at = format!("{INSIDE}/{}", self.storage);
        let limit = (2 * DEADLINE).as_secs().to_string();
        let mut command = self.host.namespace.command("timeout");
        command
            .args(["--signal=KILL", &limit, "podman", "--storage-driver", "vfs"])
            .args(["--root", &format!("{at}/root"), "--runroot", &format!("{at}/run")])
            .args(["--tmpdir", &format!("{at}/tmp")])
            .args(args)
            .env("HOME", INSIDE);
        if let Some(settings) = settings {
            command.env("CONTAINERS_CONF", settings);
        }
        command.output().unwrap()
    }
}

fn clean(line: &str, output: &Output) -> String {
    let complaint = text(&output.stderr);
    assert!(output.status.success(), "{line}: {}: {complaint}", output.status);
    assert_eq!(complaint, "", "{line}");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
