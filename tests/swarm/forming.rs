//! That the swarm of these tests is one.

use crate::nodes::{NAMES, Swarm};

#[test]
fn three_nodes_with_addresses_of_their_own_form_a_swarm() {
    let swarm = Swarm::new();
    let said = |format: &str| {
        let lines = swarm
            .nodes
            .iter()
            .map(|node| swarm.manager().ok(&format!("node inspect --format {format} {}", node.id)));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        said("{{.Description.Hostname}}|{{.Status.State}}"),
        ["alpha|ready", "beta|ready", "gamma|ready"]
    );
    assert_eq!(said("{{.Status.Addr}}"), ["10.99.0.1", "10.99.0.2", "10.99.0.3"]);
    assert_eq!(swarm.manager().ok("node ls -q").lines().count(), NAMES.len());
}
