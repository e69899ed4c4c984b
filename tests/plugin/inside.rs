//! What of a plugin only its engine's namespace shows: its process, its mounts,
//! and the socket as a person finds it.

use std::os::unix::net::UnixStream;

use crate::harness::{Answer, Client, eventually, get};
use crate::plugged::{PLUGIN, Plugged};

/// Prints the processes that are the driver. A plugin is in a process namespace
/// of its own below the engine's, so the engine's sees it.
const PROCESSES: &str = r#"
for process in /proc/[0-9]*; do
    case "$(tr '\0' ' ' < $process/cmdline)" in
    '/dirvol serve '*) echo ${process#/proc/} ;;
    esac
done 2> /dev/null
"#;

impl Plugged {
    /// Runs a script where dockerd runs, which must succeed.
    pub fn inside(&self, script: &str) -> String {
        let output = self.daemon.inside("sh").args(["-c", script]).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {}: {complaint}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The plugin's ID, which its directory is called after.
    pub fn id(&self) -> String {
        self.id_of(PLUGIN)
    }

    fn id_of(&self, name: &str) -> String {
        self.daemon.ok(&format!("plugin inspect --format {{{{.Id}}}} {name}")).trim().to_owned()
    }

    /// The plugin's processes, as its engine numbers them.
    pub fn processes(&self) -> Vec<String> {
        self.inside(PROCESSES).lines().map(str::to_owned).collect()
    }

    /// Kills the plugin's one process, and waits until dockerd has started another.
    /// It writes down what it knows of the plugin when it has reached it; one that
    /// ends before that, half a second after its start, it takes for one that
    /// cannot start, and leaves it as disabled.
    pub fn kill(&self) {
        let written = format!("stat -c %i:%y /run/engine/data/plugins/{}/config.json", self.id());
        let (before, of) = (self.inside(&written), self.processes());
        assert_eq!(of.len(), 1, "{of:?}");
        self.inside(&format!("kill -KILL {}", of[0]));
        eventually("dockerd starts the plugin again", || {
            let now = self.processes();
            (now.len() == 1 && now != of && self.inside(&written) != before).then_some(())
        });
        self.serves();
    }

    /// Waits until the plugin serves its root.
    pub fn serves(&self) {
        eventually("the plugin serves its root", || {
            let socket = self.find_socket()?;
            UnixStream::connect(&socket).ok()?;
            (get(&socket, "/healthz").status == 200).then_some(())
        });
    }

    /// How many mounts of the plugin the engine's namespace has.
    pub fn mounts(&self) -> usize {
        self.mounts_of(PLUGIN)
    }

    /// As [`Plugged::mounts`], for a plugin with another name.
    pub fn mounts_of(&self, name: &str) -> usize {
        let below = format!("/plugins/{}/", self.id_of(name));
        let table = self.inside("cat /proc/self/mountinfo");
        table.lines().filter(|line| line.contains(&below)).count()
    }

    /// Calls a method of the protocol, as dockerd does.
    pub fn call(&self, method: &str, body: &str) -> Answer {
        let mut client = Client::connect(&self.socket());
        client.call(&format!("VolumeDriver.{method}"), body).expect("the connection was closed")
    }

    /// Removes the plugin, whatever uses it, and installs it again on the same root.
    pub fn reinstall(&self) {
        self.remove();
        self.install();
        self.enable();
    }

    pub fn remove(&self) {
        self.disable();
        self.daemon.ok("plugin rm --force dirvol");
        assert_eq!(self.daemon.ok("plugin ls -q"), "");
    }

    /// Removes a volume as soon as nobody holds it: a mount may go a moment after
    /// its container.
    pub fn remove_volume(&self, name: &str) {
        eventually("the volume is removed", || {
            self.daemon.docker(&format!("volume rm {name}")).status.success().then_some(())
        });
        assert!(!self.root().join("volumes").join(name).exists());
    }
}
