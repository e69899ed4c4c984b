//! Several nodes, and one root that all of them serve.

use std::process::{Command, Output};

use serde_json::json;

use crate::harness::{Answer, Serve, Setup, eventually};
use crate::node::{HARD, Node};
use crate::server::{Disk, Server, Share};

/// A driver on one of the nodes.
struct Served {
    serve: Serve,
    setup: Setup,
    node: Node,
}

impl Served {
    fn new(share: &Share, number: u8) -> Self {
        let node = Node::new(number);
        let setup = node.driver(share, HARD).arg("--scope").arg("global");
        let setup = setup.arg("--node").arg(&node.name);
        let serve = node.serve(&setup);
        Self { serve, setup, node }
    }

    fn call(&self, verb: &str, name: &str) -> Answer {
        let body = json!({"Name": name, "ID": "container"}).to_string();
        self.serve.call(&format!("VolumeDriver.{verb}"), &body)
    }

    fn ok(&self, verb: &str, name: &str) {
        let answer = self.call(verb, name);
        assert_eq!(answer.status, 200, "{verb} {name}: {}", answer.body);
    }

    fn command(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        command.arg("--socket").arg(self.setup.socket()).args(line.split_whitespace());
        self.node.run(|| command.output().unwrap())
    }
}

/// What is said to whoever removes what another node holds.
fn held_by(name: &str, node: &str) -> String {
    let why = format!("volume is in use by node {node}; stop its containers there first");
    json!({"Err": format!("volume {name}: {why}")}).to_string()
}

#[test]
fn what_one_node_does_another_sees_at_once() {
    let server = Server::start();
    let share = server.share(Disk::Ext4);
    let [one, other] = [1, 2].map(|number| Served::new(&share, number));
    assert_eq!(other.serve.names(), Vec::<String>::new());
    for name in ["a", "b", "c"] {
        // What was looked for in vain is found when it is there,
        assert_eq!(other.call("Get", name).status, 404);
        one.serve.create(name);
        other.ok("Get", name);
        assert_eq!(other.serve.names(), [name]);
        other.ok("Mount", name);
        let refused = one.call("Remove", name);
        assert_eq!((refused.status, refused.body), (409, held_by(name, "node-2")));
        other.ok("Unmount", name);
        one.serve.remove(name);
        // and what was found is not, when it is gone.
        assert_eq!(other.call("Get", name).status, 404);
        assert_eq!(other.call("Mount", name).status, 404);
        assert_eq!(other.serve.names(), Vec::<String>::new());
        // Another one of that name is another one.
        other.serve.create(name);
        one.ok("Mount", name);
        one.ok("Unmount", name);
        other.serve.remove(name);
    }
}

#[test]
fn what_a_node_holds_that_is_cut_off_is_released_when_its_lease_is_over_and_it_learns_of_it() {
    let server = Server::start();
    let share = server.share(Disk::Ext4);
    let [one, other] = [1, 2].map(|number| Served::new(&share, number));
    one.serve.create("db");
    other.ok("Mount", "db");
    let cut = other.node.cut();
    assert!(!one.command("release --node node-2").status.success());
    eventually("the lease is over", || {
        one.command("release --node node-2").status.success().then_some(())
    });
    one.serve.remove("db");
    drop(cut);
    let lost = "this node has lost its lock";
    eventually("the node learns of it", || other.serve.log().contains(lost).then_some(()));
    other.serve.wait_available();
    assert_eq!(other.call("Mount", "db").status, 404);
    one.serve.create("db");
    other.ok("Mount", "db");
    let refused = one.call("Remove", "db");
    assert_eq!((refused.status, refused.body), (409, held_by("db", "node-2")));
}
