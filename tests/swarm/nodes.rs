//! A swarm of three nodes on one machine, each with an engine, a name, a network and a
//! driver of its own.

use std::fs;
use std::path::Path;

use crate::daemon::Daemon;
use crate::harness::{Serve, Setup, eventually};
use crate::network::Network;

/// The first is the manager.
pub const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// One of the hosts. Its driver runs where its engine does, and sees no processes but
/// that host's, as it would on a machine of its own.
pub struct Node {
    pub name: String,
    pub serve: Serve,
    /// The swarm's name of it.
    pub id: String,
    // First the processes end, then the directories go.
    pub daemon: Daemon,
    pub setup: Setup,
}

/// All of them.
pub struct Swarm {
    pub nodes: Vec<Node>,
    pub network: Network,
}

impl Swarm {
    /// Makes a swarm, whose drivers are started with the flags that `flags` gives for a
    /// node's name and its own directory.
    pub fn new(flags: impl Fn(&str, &Path) -> Vec<String> + Sync) -> Self {
        let network = Network::new(&NAMES);
        let mut nodes = Vec::new();
        for host in &network.hosts {
            let setup = Setup::new();
            let (daemon, serve) = host.within(|| {
                let daemon = Daemon::start(setup.dir.path());
                let mut command = daemon.inside(env!("CARGO_BIN_EXE_dirvol"));
                command.args(["serve", "--log-level", "debug", "--state-dir"]).arg(setup.state());
                command.arg("--socket").arg(setup.socket());
                command.args(flags(&host.name, setup.dir.path()));
                let serve = setup.start_with(command);
                serve.wait_available();
                (daemon, serve)
            });
            let address = &host.address;
            match nodes.first() {
                None => daemon.ok(&format!("swarm init --advertise-addr {address}")),
                Some(Node { daemon: manager, .. }) => {
                    let token = manager.ok("swarm join-token --quiet worker");
                    let manager = &network.hosts[0].address;
                    daemon.ok(&format!(
                        "swarm join --advertise-addr {address} --token {} {manager}:2377",
                        token.trim()
                    ))
                }
            };
            // The swarm hears of drivers that the engine has used.
            daemon.ok("volume ls -q");
            let id = daemon.ok("info --format {{.Swarm.NodeID}}").trim().to_owned();
            nodes.push(Node { name: host.name.clone(), serve, id, daemon, setup });
        }
        let swarm = Self { nodes, network };
        for node in &swarm.nodes {
            let plugins =
                format!("node inspect --format {{{{.Description.Engine.Plugins}}}} {}", node.id);
            eventually("the swarm knows of a node's driver", || {
                swarm.manager().ok(&plugins).contains("dirvol").then_some(())
            });
        }
        swarm
    }

    pub fn manager(&self) -> &Daemon {
        &self.nodes[0].daemon
    }

    /// The node that runs the one task of `service`, when one does.
    pub fn runs(&self, service: &str) -> Option<&Node> {
        let line = format!(
            "service ps --filter desired-state=running --format {{{{.Node}}}}|{{{{.CurrentState}}}} {service}"
        );
        let said = self.manager().ok(&line);
        let (name, state) = said.trim().split_once('|')?;
        let node = self.nodes.iter().find(|node| node.name == name)?;
        state.starts_with("Running").then_some(node)
    }

    /// Where the one task of `service` runs, as soon as it runs on a node that `wanted`
    /// takes.
    pub fn settled(&self, service: &str, wanted: impl Fn(&Node) -> bool) -> &Node {
        eventually("the task runs", || self.runs(service).filter(|node| wanted(node)))
    }
}

/// The flags of a driver that has a root of its own.
pub fn alone(_name: &str, dir: &Path) -> Vec<String> {
    let root = dir.join("root");
    fs::create_dir_all(&root).unwrap();
    vec!["--root".to_owned(), root.to_str().unwrap().to_owned()]
}
