//! That the swarm of these tests is one.

use std::time::Instant;

use crate::nodes::{NAMES, Swarm, alone};

#[test]
fn three_nodes_form_a_swarm_and_a_drained_one_gives_its_task_away() {
    let start = Instant::now();
    let swarm = Swarm::new(alone);
    println!("the swarm is there after {:?}", start.elapsed());
    let listed = swarm.manager().ok("node ls --format {{.Hostname}}|{{.Status}}");
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, NAMES.map(|name| format!("{name}|Ready")));

    swarm.manager().ok(
        "service create --detach --no-resolve-image --network host --name plain busybox:latest top",
    );
    let first = swarm.settled("plain", |_| true);
    println!("a task runs after {:?}", start.elapsed());
    swarm.manager().ok(&format!("node update --availability drain {}", first.id));
    let second = swarm.settled("plain", |node| node.name != first.name);
    println!("it moved after {:?}", start.elapsed());
    assert_ne!(second.id, first.id);
}
