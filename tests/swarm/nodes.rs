//! A swarm of three nodes on one machine, each with an engine, a name, a network and a
//! driver of its own. The drivers share one root.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, eventually, temporary};
use crate::network::{Host, Network};
use crate::program::{Ended, dirvol};

/// The first is the manager.
pub const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// One of the hosts. Its driver runs where its engine does: it sees that host's processes
/// and mounts, and no others.
pub struct Node {
    pub name: String,
    /// The swarm's name of it.
    pub id: String,
    pub daemon: Daemon,
    /// Waits outside of the node for the driver in it.
    _serve: Serve,
    setup: Setup,
}

/// All of them. What is left of a test ends with it.
pub struct Swarm {
    pub nodes: Vec<Node>,
    pub network: Network,
    root: TempDir,
}

impl Node {
    fn new(host: &Host, root: &Path) -> Self {
        let setup = Setup::new();
        let (daemon, serve) = host.within(|| {
            let daemon = Daemon::start(setup.dir.path());
            let mut command = daemon.inside(env!("CARGO_BIN_EXE_dirvol"));
            command
                .args(["serve", "--log-level", "debug", "--scope", "global"])
                .args(["--node", &host.name])
                .arg("--root")
                .arg(root)
                .arg("--state-dir")
                .arg(setup.state())
                .arg("--socket")
                .arg(setup.socket());
            let serve = setup.start_with(command);
            serve.wait_available();
            (daemon, serve)
        });
        // An engine tells the swarm which drivers it has used: when it joins, and then
        // every 20 s.
        daemon.ok("volume ls -q");
        Self { name: host.name.clone(), id: String::new(), daemon, _serve: serve, setup }
    }

    /// Asks the node's driver on the command line.
    pub fn dirvol(&self, line: &str) -> Ended {
        let socket = self.setup.socket();
        dirvol(["--socket", socket.to_str().unwrap()].into_iter().chain(line.split_whitespace()))
    }

    /// Returns the names of the volumes that the engine lists.
    pub fn volumes(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.daemon.ok("volume ls -q").lines().map(str::to_owned).collect();
        names.sort();
        names
    }
}

impl Swarm {
    pub fn new() -> Self {
        let root = temporary();
        let made = dirvol(["init", "--scope", "global", root.path().to_str().unwrap()]);
        assert_eq!(made.code, Some(0), "{made:?}");
        let network = Network::new(&NAMES);
        let mut swarm = Self { nodes: Vec::new(), network, root };
        for at in 0..NAMES.len() {
            let node = swarm.join(at);
            swarm.nodes.push(node);
        }
        for node in &swarm.nodes {
            let plugins =
                format!("node inspect --format {{{{.Description.Engine.Plugins}}}} {}", node.id);
            eventually("the swarm knows of a node's driver", || {
                swarm.manager().ok(&plugins).contains("dirvol").then_some(())
            });
        }
        swarm
    }

    /// Makes the node of a host, and has it join those that there are.
    fn join(&self, at: usize) -> Node {
        let host = &self.network.hosts[at];
        let mut node = Node::new(host, self.root.path());
        let address = &host.address;
        match self.nodes.first() {
            // A node that does not answer is given up after a few of these.
            None => node
                .daemon
                .ok(&format!("swarm init --advertise-addr {address} --dispatcher-heartbeat 1s")),
            Some(first) => {
                let token = first.daemon.ok("swarm join-token --quiet worker");
                let manager = &self.network.hosts[0].address;
                let token = token.trim();
                node.daemon.ok(&format!(
                    "swarm join --advertise-addr {address} --token {token} {manager}:2377"
                ))
            }
        };
        node.id = node.daemon.ok("info --format {{.Swarm.NodeID}}").trim().to_owned();
        node
    }

    pub fn manager(&self) -> &Daemon {
        &self.nodes[0].daemon
    }

    /// Takes a node's power away: its engine, its containers and its driver are killed.
    pub fn kill(&mut self, name: &str) {
        self.nodes.retain(|node| node.name != name);
    }

    /// Where the one task that `service` should have runs, as soon as it does, on a node
    /// that `wanted` takes.
    pub fn settled(&self, service: &str, wanted: impl Fn(&Node) -> bool) -> &Node {
        let line = format!(
            "service ps --filter desired-state=running --format {{{{.Node}}}}|{{{{.CurrentState}}}} \
             {service}"
        );
        eventually("the task runs", || {
            let said = self.manager().ok(&line);
            let (name, state) = said.trim().split_once('|')?;
            let node = self.nodes.iter().find(|node| node.name == name)?;
            (state.starts_with("Running") && wanted(node)).then_some(node)
        })
    }

    /// The nodes that are said to hold a volume.
    pub fn holders(&self, volume: &str) -> Vec<String> {
        let lock = self.volume(volume).join("lock");
        fs::read_to_string(lock).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// A volume's directory in the root that all share.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.root.path().join("volumes").join(name)
    }

    /// The lines that tasks have written to the file `log` of a volume.
    pub fn log(&self, volume: &str) -> Vec<String> {
        let log = self.volume(volume).join("data/log");
        fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
