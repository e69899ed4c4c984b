//! The driver under a real systemd, beside a real dockerd and Podman: a container that
//! boots Debian, of a dockerd of the test's own. Run by hand, with `make test-host-long`.

#[path = "../harness/mod.rs"]
mod harness;

// The engine tier, whose parts these are, may use more of them.
#[path = "../engine/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "../engine/image.rs"]
mod image;
#[path = "../engine/namespace.rs"]
#[allow(dead_code)]
mod namespace;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::harness::{Client, DEADLINE, eventually, temporary};

/// A Debian with systemd, docker.io and podman; `scripts/clean-root` makes it.
const SYSTEM: &str = "target/systemd-root";

/// What systemd needs of a container: its own `/run`, and to make control groups.
const OPTIONS: &str = "--network none --cap-add SYS_ADMIN --cap-add NET_ADMIN \
    --cap-add SYS_PTRACE --cap-add MKNOD --security-opt seccomp=unconfined --tmpfs /run \
    --tmpfs /run/lock --tmpfs /tmp -v /sys/fs/cgroup:/sys/fs/cgroup:rw --cgroupns=host";

const CLIENTS: usize = 16;
const RESTARTS: usize = 20;

/// How much is answered before the next restart.
const BETWEEN: usize = 500;

#[test]
fn after_a_reboot_the_driver_is_there_before_docker_and_containers_have_their_volumes() {
    let machine = Machine::boot();
    machine.install("1");
    machine.ok("systemctl enable --now dirvol-announce.service");
    machine.ok("docker volume create -d dirvol --label a=b db");
    machine.ok("podman volume create --driver dirvol pods");
    machine.run_container(
        "--restart always -v db:/data",
        "while :; do echo x >> /data/lives; sleep 600; done",
    );
    let lives = || machine.ok("cat /var/lib/dirvol/volumes/db/data/lives").len() / 2;
    eventually("the container writes", || (lives() == 1).then_some(()));

    machine.reboot();
    eventually("the container is started again", || (lives() == 2).then_some(()));
    let began = |unit: &str, event: &str| -> u64 {
        let shown =
            machine.ok(&format!("systemctl show --value -p {event}TimestampMonotonic {unit}"));
        shown.trim().parse().unwrap()
    };
    let docker = began("docker.service", "InactiveExit");
    assert!(began("dirvol.socket", "ActiveEnter") < docker);
    assert!(began("dirvol.service", "ActiveEnter") < docker);
    assert_eq!(machine.ok("docker volume inspect --format '{{.Labels.a}}' db"), "b\n");
    assert_eq!(machine.retries(), "");
    assert_eq!(machine.ok("podman volume ls --quiet --filter driver=dirvol"), "pods\n");
    // Swarm asks what Docker has used already.
    eventually("the driver is announced", || {
        machine.ok("docker info --format '{{.Plugins.Volume}}'").contains("dirvol").then_some(())
    });
}

#[test]
fn twenty_restarts_under_load_lose_no_request() {
    let machine = Machine::boot();
    machine.install("1");
    machine.ok("docker volume create -d dirvol --label a=b shared");
    let (over, answered, lost) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let pids = thread::scope(|scope| {
        let _end = OnDrop(|| over.store(true, Ordering::Relaxed));
        for client in 0..CLIENTS {
            let (machine, over, answered, lost) = (&machine, &over, &answered, &lost);
            scope.spawn(move || load(machine, client, over, answered, lost));
        }
        let (docker, over) = (&machine, &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                docker.ok(
                    "docker volume create -d dirvol --label of=load mine && docker volume rm mine",
                );
            }
        });
        let mut pids = Vec::new();
        for _ in 0..RESTARTS {
            let before = answered.load(Ordering::Relaxed);
            eventually("calls are answered", || {
                (answered.load(Ordering::Relaxed) >= before + BETWEEN).then_some(())
            });
            // A person does not restart it so often that systemd gives up.
            machine.ok("systemctl reset-failed dirvol.service; systemctl restart dirvol.service");
            pids.push(machine.main_pid());
        }
        pids
    });
    pids.windows(2).for_each(|two| assert_ne!(two[0], two[1], "it was started anew"));
    assert_eq!(lost.into_inner(), 0, "of {} answered", answered.into_inner());
    assert_eq!(machine.retries(), "");
    assert_eq!(machine.ok("docker volume inspect --format '{{.Labels.a}}' shared"), "b\n");
}

#[test]
fn an_upgrade_is_not_noticed_by_a_container_and_the_new_driver_sees_who_uses_a_volume() {
    let machine = Machine::boot();
    machine.install("1");
    machine.ok("docker volume create -d dirvol -o mode=2770 -o uid=999 -o gid=33 db");
    let id = machine
        .run_container("-v db:/data:nocopy", "while :; do echo x >> /data/runs; sleep 0.1; done");
    let listens = || machine.ok("systemctl show -p ActiveEnterTimestampMonotonic dirvol.socket");
    let (before, since) = (machine.main_pid(), listens());
    let printed = machine.install("2~test");
    let version = env!("CARGO_PKG_VERSION");
    let unpacked = format!("Unpacking dirvol ({version}-2~test) over ({version}-1)");
    assert!(printed.contains(&unpacked), "{printed}");
    assert_ne!(machine.main_pid(), before);
    assert_eq!(listens(), since, "the socket is the one that it was");
    let size = || machine.ok("cat /var/lib/dirvol/volumes/db/data/runs").len();
    let then = size();
    eventually("the container goes on", || (size() > then).then_some(()));
    assert_eq!(
        machine.ok(&format!(
            "docker inspect --format '{{{{.RestartCount}}}} {{{{.State.Running}}}}' {id}"
        )),
        "0 true\n"
    );

    // All of this needs what the service has left of root's powers.
    let holders = machine.ok("dirvol holders --format json db");
    assert!(holders.contains(&id[..12]), "{holders}");
    let refused = machine.fails("dirvol rm db");
    assert!(refused.contains("volume db: volume is in use by process"), "{refused}");
    assert_eq!(machine.ok("stat -c '%a %u:%g' /var/lib/dirvol/volumes/db/data"), "2770 999:33\n");
    machine.ok("dirvol set db mode=0700 gid=34");
    assert_eq!(machine.ok("stat -c '%a %u:%g' /var/lib/dirvol/volumes/db/data"), "700 999:34\n");
    machine.ok(&format!("docker rm -f {id}"));
    machine.ok("docker volume rm db && dirvol trash restore db && docker volume rm db");
    machine.ok("dirvol trash purge db");
    eventually("its bytes are gone", || {
        machine
            .ok("find /var/lib/dirvol/trash /var/lib/dirvol/staging -mindepth 1")
            .is_empty()
            .then_some(())
    });
    assert_eq!(machine.retries(), "");
    assert_eq!(machine.ok("journalctl --no-pager -q -u dirvol -p warning"), "");
}

#[test]
fn a_driver_that_cannot_start_does_not_keep_docker_from_booting() {
    let machine = Machine::boot();
    machine.install("1");
    machine.ok("docker volume create -d dirvol --label a=b db");
    let drop_in = "/etc/systemd/system/dirvol.service.d";
    machine.ok(&format!(
        "mkdir -p {drop_in} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {drop_in}/broken.conf"
    ));
    machine.reboot();
    assert_eq!(machine.ok("docker ps --quiet"), "");
    assert_eq!(machine.fails("systemctl is-active dirvol.socket"), "failed\n");
    // As the document says.
    machine.ok(&format!("rm -r {drop_in} && systemctl daemon-reload"));
    machine.ok("systemctl reset-failed dirvol.service dirvol.socket");
    machine.ok("systemctl start dirvol.socket dirvol.service");
    assert_eq!(machine.ok("docker volume inspect --format '{{.Labels.a}}' db"), "b\n");
    machine.run_container("-v db:/data", "echo x > /data/file");
}

/// A mount that is made later reaches a service that has a mount namespace of its own.
#[test]
fn a_second_driver_serves_its_disk_as_soon_as_it_is_mounted() {
    let machine = Machine::boot();
    // As systemd does it where it is not in a container.
    machine.ok("mount --make-rshared /");
    machine.install("1");
    machine.ok("mkdir -p /disk /var/lib/dirvol-ssd && dirvol init /disk");
    machine.ok("systemctl enable --now dirvol@ssd.socket dirvol@ssd.service");
    let socket = "--socket /run/docker/plugins/dirvol-ssd.sock";
    let refused = machine.fails(&format!("dirvol {socket} create cache"));
    assert!(refused.contains("root /var/lib/dirvol-ssd has no dirvol.json"), "{refused}");
    machine.ok("mount --bind /disk /var/lib/dirvol-ssd");
    eventually("the disk is served", || {
        machine
            .run(&format!("dirvol {socket} create -o uid=999 cache"))
            .status
            .success()
            .then_some(())
    });
    assert_eq!(machine.ok("stat -c %u /disk/volumes/cache/data"), "999\n");
    machine.ok("docker volume create -d dirvol-ssd more");
    assert_eq!(
        machine.ok("ls /disk/volumes /var/lib/dirvol/volumes"),
        "/disk/volumes:\ncache\nmore\n\n/var/lib/dirvol/volumes:\n"
    );
}

/// Calls on one keep-alive connection after the other. A call that was handed over whole
/// and has no answer is lost.
fn load(
    machine: &Machine,
    client: usize,
    over: &AtomicBool,
    answered: &AtomicUsize,
    lost: &AtomicUsize,
) {
    let name = format!("{{\"Name\":\"load{client}\"}}");
    let calls = [
        ("VolumeDriver.Create", &name),
        ("VolumeDriver.Get", &name),
        ("VolumeDriver.Remove", &name),
    ];
    while !over.load(Ordering::Relaxed) {
        // systemd listens always.
        let mut connection = Client::connect(&machine.socket());
        for (method, body) in calls.iter().cycle() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            if connection.stream.write_all(harness::request(method, body).as_bytes()).is_err() {
                break;
            }
            let Some(answer) = connection.answer() else {
                lost.fetch_add(1, Ordering::Relaxed);
                break;
            };
            // After a reconnection a Get may come first.
            assert!(answer.status == 200 || *method != "VolumeDriver.Create", "{answer:?}");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A machine that has booted: a container, gone with the engine that runs it.
struct Machine {
    daemon: Daemon,
    /// Where its sockets of plugins are, for the test's own connections.
    plugins: TempDir,
    _no_plugins: TempDir,
}

impl Machine {
    fn boot() -> Self {
        let no_plugins = temporary();
        let daemon = Daemon::start(no_plugins.path());
        let mut tar = Command::new("tar");
        tar.args(["-C", SYSTEM, "-c", "."]).stdout(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        let mut import = Command::new("docker");
        import.env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()));
        import.args(["import", "-", "system:latest"]).stdin(tar.stdout.take().unwrap());
        assert!(import.stdout(Stdio::null()).status().unwrap().success(), "is there {SYSTEM}?");
        assert!(tar.wait().unwrap().success());
        let plugins = temporary();
        let volume = format!("-v {}:/run/docker/plugins", plugins.path().display());
        daemon.ok(&format!(
            "create --name machine --stop-signal SIGRTMIN+3 {OPTIONS} {volume} system /sbin/init"
        ));
        let machine = Self { daemon, plugins, _no_plugins: no_plugins };
        machine.daemon.ok("start machine");
        machine.wait_until_up();
        let mut import = machine.inside(&["docker", "import", "-", "busybox:latest"]);
        let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(image::busybox()).unwrap();
        assert!(import.wait().unwrap().success(), "no image");
        machine
    }

    /// Its init ends and starts again, on the same root.
    fn reboot(&self) {
        self.daemon.ok("restart --time 60 machine");
        self.wait_until_up();
    }

    /// Waits until the boot is over, well or not, and Docker runs. Docker may wait 15 s
    /// for a driver, and more than once.
    fn wait_until_up(&self) {
        let start = Instant::now();
        while self.run("systemctl is-active docker.service").stdout != b"active\n" {
            let journal = || text(&self.run("journalctl --no-pager -n 60").stdout);
            assert!(start.elapsed() < 4 * DEADLINE, "Docker does not start:\n{}", journal());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn socket(&self) -> PathBuf {
        self.plugins.path().join("dirvol.sock")
    }

    /// Installs a revision of the package, and returns what was printed.
    fn install(&self, revision: &str) -> String {
        let version = format!("dirvol_{}-{revision}_", env!("CARGO_PKG_VERSION"));
        let packages = fs::read_dir("target/packages").unwrap().map(|file| file.unwrap().path());
        let named =
            |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&version);
        let package = packages.into_iter().find(named).expect("run make deb");
        let mut copy = self.inside(&["sh", "-c", "cat > /new.deb"]);
        assert!(copy.stdin(fs::File::open(package).unwrap()).status().unwrap().success());
        self.ok("dpkg -i /new.deb 2>&1")
    }

    /// Starts a container that runs a script, and returns its id.
    fn run_container(&self, options: &str, script: &str) -> String {
        let line =
            format!("docker run -d --network none {options} busybox:latest sh -c '{script}'");
        self.ok(&line).trim().to_owned()
    }

    fn main_pid(&self) -> String {
        self.ok("systemctl show --value -p MainPID dirvol.service")
    }

    /// What dockerd says of calls that it had to repeat.
    fn retries(&self) -> String {
        self.ok("journalctl --no-pager -q -b -u docker | grep 'retrying in' || true")
    }

    fn ok(&self, script: &str) -> String {
        let output = self.run(script);
        let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| text(bytes));
        assert!(output.status.success(), "{script}: {}: {said}{complained}", output.status);
        said
    }

    fn fails(&self, script: &str) -> String {
        let output = self.run(script);
        assert!(!output.status.success(), "{script} did not fail: {}", text(&output.stdout));
        text(&output.stdout) + &text(&output.stderr)
    }

    fn run(&self, script: &str) -> Output {
        self.inside(&["sh", "-c", script]).stdin(Stdio::null()).output().unwrap()
    }

    /// A command in the machine, which is killed where it would hang for ever.
    fn inside(&self, command: &[&str]) -> Command {
        let mut docker = Command::new("timeout");
        docker.args(["--signal=KILL", "150", "docker", "exec", "-i", "machine"]).args(command);
        docker.env("DOCKER_HOST", format!("unix://{}", self.daemon.socket().display()));
        docker
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal =
                self.run("journalctl --no-pager -n 80 -u dirvol -u docker -u dirvol.socket");
            eprintln!("--- the machine's journal\n{}\n---", text(&journal.stdout));
        }
        // Its control groups go with it.
        self.daemon.docker("rm --force machine");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
