//! A place of its own for an engine: a mount namespace in which it finds the
//! test's directories where engines look for plugins, and a process namespace
//! that ends whatever it started.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, eventually};

/// What the first process of the namespaces does. Everything that an engine
/// writes outside of the directories it is given lies in memory: below `/run`,
/// where containerd puts sockets whatever it is told, and in `/etc`, where
/// dockerd keeps a key, and where it finds a user whose numbers it may give to its
/// containers. Then it reaps what is orphaned, until its standard input
/// ends; and with it end all the others.
const FIRST_PROCESS: &str = r#"
set -e
exec 3<&0
mount -n -t tmpfs tmpfs /run
mkdir -p /run/docker/plugins /run/engine /run/etc/upper /run/etc/work
mount -n --bind "$1" /run/docker/plugins
mount -n -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc
echo remapped:x:65000:65000::/:/bin/false >> /etc/passwd
echo remapped:x:65000: >> /etc/group
echo remapped:100000:65536 | tee -a /etc/subuid >> /etc/subgid
mkdir -p /etc/docker/plugins
mount -n --bind "$2" /etc/docker/plugins
[ ! -d /usr/lib/docker/plugins ] || mount -n -t tmpfs tmpfs /usr/lib/docker/plugins
: > "$3"
cat <&3 & wait
"#;

/// A running pair of namespaces. Dropping it ends every process in them, and
/// fails where one stays. They end with the test's process too, however it ends.
pub struct Namespace {
    /// Waits outside for the first process.
    outside: Child,
    /// As `/proc/PID/ns/pid` shows it, for every process in the namespace.
    processes: PathBuf,
    cgroup: String,
}

impl Namespace {
    /// Makes the namespaces, with `plugins` where engines look for sockets and
    /// `specs` where they look for `.spec` files. `dir` is for what is needed to
    /// make them.
    pub fn new(dir: &Path, plugins: &Path, specs: &Path) -> Self {
        let ready = dir.join("ready");
        let log = dir.join("namespace.log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .args(["sh", "-c", FIRST_PROCESS, "sh"])
            .args([plugins, specs, &ready])
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let mut outside = command.spawn().unwrap();
        eventually("the namespaces are made", || {
            if let Some(status) = outside.try_wait().unwrap() {
                panic!("no namespaces: {status}: {}", fs::read_to_string(&log).unwrap());
            }
            ready.exists().then_some(())
        });
        let processes = format!("/proc/{}/ns/pid_for_children", outside.id());
        let processes = fs::read_link(processes).unwrap();
        let cgroup = dir.file_name().unwrap().to_str().unwrap().to_owned();
        Self { outside, processes, cgroup }
    }

    /// Returns a command that runs `program` in the namespaces, with nothing of
    /// the test's environment. Its process is one outside that waits for it.
    pub fn command(&self, program: &str) -> Command {
        let at = format!("/proc/{}/ns", self.outside.id());
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount={at}/mnt"))
            .arg(format!("--pid={at}/pid_for_children"))
            .args(["--", program])
            .env_clear()
            .env("PATH", path())
            .env("TMPDIR", "/run/engine")
            .stdin(Stdio::null());
        command
    }

    /// Returns the name of the control group, at the top of each hierarchy, that
    /// is removed with the namespaces.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Lists the processes in the namespaces, as the machine sees them.
    fn list(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let inside = entries.filter(|process| {
            fs::read_link(process.join("ns/pid")).is_ok_and(|namespace| namespace == self.processes)
        });
        let shown = |process: PathBuf| {
            let line = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            format!("{} {}", process.display(), line.replace('\0', " "))
        };
        inside.map(shown).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.outside.stdin.take());
        let start = Instant::now();
        loop {
            let ended = self.outside.try_wait().is_ok_and(|status| status.is_some());
            let (processes, groups) = (self.list(), remove_cgroups(&self.cgroup));
            if ended && processes.is_empty() && groups.is_empty() {
                return;
            }
            if start.elapsed() > DEADLINE {
                let _ended = self.outside.kill();
                let complaint = format!("an engine left behind: {processes:?} {groups:?}");
                assert!(thread::panicking(), "{complaint}");
                eprintln!("{complaint}");
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns where programs are found: a daemon may be where a user's PATH is not.
pub fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Removes the control group `name` from every hierarchy, and returns what is left.
fn remove_cgroups(name: &str) -> Vec<String> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let groups = hierarchies.chain([top.to_path_buf()]).map(|hierarchy| hierarchy.join(name));
    let failed = groups.filter_map(|group| Some((remove_cgroup(&group).err()?, group)));
    failed.map(|(error, group)| format!("{}: {error}", group.display())).collect()
}

/// Removes a control group and those below it. Its files go with it.
fn remove_cgroup(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
