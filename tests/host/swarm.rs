//! The example for Swarm, deployed on a swarm of one node.

use std::fs;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::daemon::Daemon;
use crate::harness::eventually;
use crate::storage::with_dockerd;

const STACK: &str = "examples/swarm/stack.yml";

/// Runs a test in a network of its own, which the processes that it starts share: a
/// swarm listens, and makes devices.
fn in_own_network(test: impl FnOnce() + Send) {
    let ran = thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success(), "{up}");
            test();
        };
        scope.spawn(run).join()
    });
    if let Err(panic) = ran {
        resume_unwind(panic);
    }
}

/// The one task that runs.
fn id(daemon: &Daemon) -> String {
    daemon.ok("service ps --filter desired-state=running --format {{.ID}} demo_db")
}

#[test]
fn a_stack_is_deployed_and_a_second_time_changes_nothing() {
    in_own_network(|| {
        let (_setup, serve, daemon) = with_dockerd();
        daemon.ok("swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:0");
        let deploy = format!("stack deploy --resolve-image never -c {STACK} demo");
        daemon.ok(&deploy);
        // The engine has not used the driver yet, so the swarm does not know of it.
        let error = "service ps --no-trunc --format {{.CurrentState}}|{{.Error}} demo_db";
        eventually("the task waits", || {
            let state = daemon.ok(error);
            (state.contains("Pending") && state.contains("missing plugin on 1 node")).then_some(())
        });
        assert_eq!(serve.names(), Vec::<String>::new());
        // Whoever looks for volumes makes it known. A node tells the swarm what it has
        // every 20 s.
        daemon.ok("volume ls -q");
        let plugins = "node inspect --format {{.Description.Engine.Plugins}} self";
        eventually("the swarm knows of it", || daemon.ok(plugins).contains("dirvol").then_some(()));
        let log = serve.root.join("volumes/demo_db/data/log");
        eventually("the task runs", || {
            (fs::read_to_string(&log).ok()? == "started\n" && !id(&daemon).is_empty()).then_some(())
        });
        let before = (daemon.inspect("demo_db"), id(&daemon));
        let in_force = json!({
            "gid": "1000", "mode": "0750", "protect": "false", "retain": "7days", "uid": "1000"
        });
        assert_eq!(before.0[0]["Status"]["options"], in_force);
        assert_eq!(before.0[0]["Labels"]["com.example.backup"], "daily");

        daemon.ok(&deploy);
        assert_eq!((daemon.inspect("demo_db"), id(&daemon)), before);
        daemon.ok("stack rm demo");
        // A stack leaves its volumes.
        assert_eq!(serve.names(), ["demo_db"]);
    });
}
