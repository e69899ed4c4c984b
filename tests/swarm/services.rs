//! Services whose data goes where their task goes.

use crate::harness::eventually;
use crate::nodes::{Node, Swarm};
use crate::program::failure;

const STACK: &str = "examples/swarm-global/stack.yml";

/// Creates the service `writer`, whose task appends lines with its node's name and a
/// number to the volume `db`, on nodes of which `constraint` is true.
fn create_writer(swarm: &Swarm, constraint: &str) {
    let script = "n=0; while echo $NODE $n >> /data/log; do n=$((n+1)); sleep 0.1; done";
    let options = format!(
        "service create --detach --no-resolve-image --network host --name writer \
         --constraint {constraint} --env NODE={{{{.Node.Hostname}}}} --stop-grace-period 1s \
         --mount type=volume,source=db,target=/data,volume-driver=dirvol,volume-opt=mode=0750 \
         busybox:latest sh -c"
    );
    let args = options.split_whitespace().chain([script]);
    let made = swarm.manager().client("docker").args(args).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The numbers that a node has written.
fn written(log: &[String], node: &Node) -> Vec<usize> {
    let of_node = log.iter().filter_map(|line| line.strip_prefix(&node.name));
    of_node.map(|number| number.trim().parse().unwrap()).collect()
}

/// Waits until a node has written more than it had.
fn writes(swarm: &Swarm, node: &Node) {
    let before = written(&swarm.log("db"), node).len();
    eventually("the node writes", || {
        (written(&swarm.log("db"), node).len() > before + 3).then_some(())
    });
}

#[test]
fn a_service_that_is_drained_from_a_node_goes_on_with_its_data_on_another() {
    let swarm = Swarm::new();
    create_writer(&swarm, "node.id!=none");
    let first = swarm.settled("writer", |_| true);
    writes(&swarm, first);
    assert_eq!(swarm.holders("db"), std::slice::from_ref(&first.name));
    swarm.manager().ok(&format!("node update --availability drain {}", first.id));
    let second = swarm.settled("writer", |node| node.name != first.name);
    writes(&swarm, second);
    eventually("the first lets go", || {
        (swarm.holders("db") == [second.name.clone()]).then_some(())
    });
    // What a container reads there: all of the first's lines, then all of the second's.
    let container = second.daemon.ok("ps --quiet");
    let read = second.daemon.ok(&format!("exec {} cat /data/log", container.trim()));
    let read: Vec<String> = read.lines().map(str::to_owned).collect();
    let (by_first, by_second) = (written(&read, first), written(&read, second));
    assert_eq!(by_first, (0..by_first.len()).collect::<Vec<_>>());
    assert_eq!(by_second, (0..by_second.len()).collect::<Vec<_>>());
    assert!(read[..by_first.len()].iter().all(|line| line.starts_with(&first.name)), "{read:?}");
    assert_eq!(read.len(), by_first.len() + by_second.len());
    for node in &swarm.nodes {
        assert_eq!(node.daemon.inspect("db")[0]["Scope"], "global");
        assert_eq!(node.daemon.inspect("db")[0]["Status"]["options"]["mode"], "0750");
    }
}

#[test]
fn a_stack_goes_on_with_its_data_where_the_swarm_puts_it() {
    let swarm = Swarm::new();
    let deploy = format!("stack deploy --resolve-image never -c {STACK} demo");
    swarm.manager().ok(&deploy);
    let first = swarm.settled("demo_db", |_| true);
    let started = |node: &Node| format!("started on {}", node.name);
    eventually("it has started", || (swarm.log("demo_db") == [started(first)]).then_some(()));
    // A second time changes nothing.
    swarm.manager().ok(&deploy);
    swarm.manager().ok(&format!("node update --availability drain {}", first.id));
    let second = swarm.settled("demo_db", |node| node.name != first.name);
    eventually("it has started again", || {
        (swarm.log("demo_db") == [started(first), started(second)]).then_some(())
    });
    swarm.manager().ok("stack rm demo");
    eventually("nobody holds it", || swarm.holders("demo_db").is_empty().then_some(()));
    // A stack leaves its volumes, and each node sees the one.
    for node in &swarm.nodes {
        assert_eq!(node.volumes(), ["demo_db"]);
    }
}

#[test]
fn a_node_that_is_cut_off_holds_its_volume_beside_the_one_that_took_over_until_it_is_back() {
    let swarm = Swarm::new();
    create_writer(&swarm, "node.role==worker");
    let first = swarm.settled("writer", |_| true);
    writes(&swarm, first);
    swarm.network.cut(&first.name);
    let second = swarm.settled("writer", |node| node.name != first.name);
    writes(&swarm, second);
    // The swarm cannot stop the first's task, and the file system is not cut off.
    writes(&swarm, first);
    let mut both = [first.name.clone(), second.name.clone()];
    both.sort();
    let mut holders = swarm.holders("db");
    holders.sort();
    assert_eq!(holders, both);
    // To its driver the node is alive, as the root is where it was.
    let manager = &swarm.nodes[0];
    let refused = manager.dirvol("rm db");
    let by = |node: &str| {
        failure(&format!(
            "volume db: volume is in use by node {node}; stop its containers there first"
        ))
    };
    assert!(both.iter().any(|node| refused == by(node)), "{refused:?}");
    let alive = "it is alive, and says itself what it holds: stop its containers there";
    let refused = manager.dirvol(&format!("release --node {}", first.name));
    assert_eq!(refused, failure(&format!("node {}: {alive}", first.name)));
    swarm.network.mend(&first.name);
    eventually("the first lets go", || {
        (swarm.holders("db") == [second.name.clone()]).then_some(())
    });
    let last = written(&swarm.log("db"), first).len();
    writes(&swarm, second);
    assert_eq!(written(&swarm.log("db"), first).len(), last);
}
