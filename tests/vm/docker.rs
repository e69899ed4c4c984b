//! Docker's own `local` driver beside ours: it limits its volumes by project quota
//! too, numbers its projects from that of its directory on, and knows nothing of
//! ours. A real dockerd, which `scripts/vm` brings on a disk of its own.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dirvol::sys::quota;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::disk::{LIMITING, MIB, Served, write};
use crate::harness::eventually;

/// Where the disk with Docker is mounted.
const DOCKER: &str = "/programs";

/// A dockerd whose data lies on the disk of a test.
struct Daemon {
    dockerd: Child,
    socket: String,
    data: PathBuf,
    dir: PathBuf,
}

impl Daemon {
    fn start(served: &Served) -> Self {
        let dir = served.setup.path("docker");
        fs::create_dir(&dir).unwrap();
        let data = served.setup.path("disk").join("docker");
        let socket = format!("unix://{}", dir.join("docker.sock").display());
        // Engines look there for plugins that say where their sockets are.
        fs::create_dir_all("/etc/docker/plugins").unwrap();
        let spec = format!("unix://{}", served.setup.socket().display());
        fs::write("/etc/docker/plugins/dirvol.spec", spec).unwrap();
        let log = File::create(dir.join("log")).unwrap();
        let dockerd = command("dockerd")
            .args(["--bridge=none", "--iptables=false", "--storage-driver=vfs"])
            .args(["--data-root".as_ref(), data.as_os_str()])
            .args(["--exec-root".as_ref(), dir.join("exec").as_os_str()])
            .args(["--pidfile".as_ref(), dir.join("pid").as_os_str()])
            .args(["-H", &socket])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self { dockerd, socket, data, dir };
        let start = std::time::Instant::now();
        while daemon.run(&["version"]).is_err() {
            if let Some(ended) = daemon.dockerd.try_wait().unwrap() {
                panic!("dockerd ended with {ended}:\n{}", daemon.log());
            }
            assert!(start.elapsed().as_secs() < 120, "no dockerd:\n{}", daemon.log());
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        daemon
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = command("docker").args(["-H", &self.socket]).args(args).output().unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        if output.status.success() { Ok(stdout) } else { Err(stderr) }
    }

    fn docker(&self, line: &str) -> String {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.run(&args).unwrap_or_else(|why| panic!("docker {line}: {why}\n{}", self.log()))
    }

    /// Makes an image with a directory `/data`.
    fn import(&self) {
        let image = self.dir.join("image");
        fs::create_dir_all(image.join("data")).unwrap();
        fs::set_permissions(image.join("data"), fs::Permissions::from_mode(0o777)).unwrap();
        let archive = self.dir.join("image.tar");
        let tar = Command::new("/bin/busybox")
            .args(["tar".as_ref(), "-cf".as_ref(), archive.as_os_str()])
            .args(["-C".as_ref(), image.as_os_str(), ".".as_ref()])
            .status();
        assert!(tar.unwrap().success());
        self.docker(&format!("import {} image", archive.display()));
    }

    /// Creates a volume of Docker's own driver, and a container for it: its limit is
    /// set when it is mounted first, and it gets the image's content then.
    fn local(&self, name: &str, size: &str) -> PathBuf {
        self.docker(&format!("volume create -o size={size} {name}"));
        self.docker(&format!("create --name of-{name} -v {name}:/data image none"));
        self.data.join("volumes").join(name).join("_data")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A dockerd that ends well ends its containerd, too.
        let containerd = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid"));
        let pid = Pid::from_raw(self.dockerd.id().try_into().unwrap());
        let _gone = kill(pid, Signal::SIGTERM);
        let _ended = self.dockerd.wait();
        if let Some(pid) = containerd.ok().and_then(|pid| pid.trim().parse().ok()) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// A program of Docker's.
fn command(program: &str) -> Command {
    let mut command = Command::new(format!("{DOCKER}/bin/{program}"));
    command.env("PATH", format!("{DOCKER}/bin:/bin")).env("HOME", "/tmp").stdin(Stdio::null());
    command
}

fn project(path: &Path) -> u32 {
    quota::project(File::open(path).unwrap().as_fd()).unwrap()
}

/// Writes as a container does that has the volume at `data`: the directories above
/// keep others out.
fn fill(served: &Served, data: &Path, name: &str, mib: u64) -> u64 {
    let at = served.setup.path(&format!("container-{name}"));
    if !at.exists() {
        fs::create_dir(&at).unwrap();
        mount(Some(data), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }
    write(&at.join("file"), mib)
}

fn about(bytes: u64, limit: u64) {
    assert!(bytes <= limit && bytes + MIB > limit, "{bytes} bytes under a limit of {limit}");
}

#[test]
fn the_local_driver_of_docker_and_ours_keep_their_limits_side_by_side() {
    for disk in LIMITING {
        let served = disk.serve("root");
        let daemon = Daemon::start(&served);
        daemon.import();
        // Ours first and last, so that each meets projects of the other's.
        daemon.docker("volume create -d dirvol -o size=8M -o mode=0777 ours");
        let local = daemon.local("theirs", "4M");
        daemon.docker("volume create -d dirvol -o size=6M -o mode=0777 more");
        let second = daemon.local("others", "5M");

        let projects = ["ours", "more"].map(|name| served.project(name));
        assert!(projects.iter().all(|&project| project >= 1 << 30), "{disk:?}: {projects:?}");
        // Docker has tried with 1 whether there are projects.
        assert_eq!([project(&local), project(&second)], [2, 3], "{disk:?}");

        about(fill(&served, &local, "theirs", 16), 4 * MIB);
        about(fill(&served, &served.data("ours"), "ours", 16), 8 * MIB);
        about(fill(&served, &second, "others", 16), 5 * MIB);
        about(fill(&served, &served.data("more"), "more", 16), 6 * MIB);

        // Neither goes when a volume of the other driver does, or changes.
        served.set("ours", serde_json::json!({"size": "10M"}));
        served.leave();
        daemon.docker("rm of-others");
        daemon.docker("volume rm others");
        daemon.docker("volume rm more");
        served.said("trash purge --all");
        eventually("ours is deleted", || {
            (served.account(projects[1]) == Default::default()).then_some(())
        });
        about(fill(&served, &local, "theirs", 16), 4 * MIB);
        about(fill(&served, &served.data("ours"), "ours", 16), 10 * MIB);
    }
}
