//! One volume, as several engines see it.

use std::thread;

use serde_json::json;

use crate::harness::eventually;
use crate::nodes::{NAMES, Node, Swarm};
use crate::program::{failure, success};

/// What every node's engine does when all are asked at once: whether it succeeded, and
/// what it said.
fn at_once(swarm: &Swarm, ask: impl Fn(usize) -> String + Sync) -> Vec<(bool, String)> {
    let ask_one = |(at, node): (usize, &Node)| {
        let output = node.daemon.docker(&ask(at));
        let said = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
    };
    let ask_one = &ask_one;
    thread::scope(|scope| {
        let asked: Vec<_> =
            swarm.nodes.iter().enumerate().map(|one| scope.spawn(move || ask_one(one))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

#[test]
fn a_volume_that_is_removed_on_one_node_is_gone_on_all_and_its_name_is_free() {
    let swarm = Swarm::new();
    let [alpha, beta, gamma] = &swarm.nodes[..] else { panic!("there are three") };
    alpha.daemon.ok("volume create --driver dirvol --opt mode=0700 shared");
    beta.daemon.run("--rm -v shared:/x", "touch /x/file");
    for node in &swarm.nodes {
        assert_eq!(node.volumes(), ["shared"]);
        assert_eq!(node.daemon.run("--rm -v shared:/x", "ls /x"), "file\n");
    }
    gamma.daemon.ok("volume rm shared");
    for node in &swarm.nodes {
        assert_eq!(node.volumes(), Vec::<String>::new());
        let why = node.daemon.fails("volume inspect shared");
        assert!(why.contains("no such volume"), "{}: {why}", node.name);
    }
    alpha.daemon.ok("volume create --driver dirvol --opt mode=0711 shared");
    for node in &swarm.nodes {
        assert_eq!(node.daemon.inspect("shared")[0]["Status"]["options"]["mode"], "0711");
        assert_eq!(node.daemon.run("--rm -v shared:/x", "ls /x"), "");
    }
}

#[test]
fn a_volume_that_a_container_of_one_node_has_is_not_removed_on_another() {
    let swarm = Swarm::new();
    let [alpha, beta, _] = &swarm.nodes[..] else { panic!("there are three") };
    alpha.daemon.run("-d --name user --volume-driver dirvol -v held:/x", "top");
    let why = beta.daemon.fails("volume rm held");
    let expected = "volume held: volume is in use by node alpha; stop its containers there first";
    assert!(why.contains(expected), "{why}");
    assert_eq!(swarm.holders("held"), ["alpha"]);
    alpha.daemon.ok("rm --force user");
    beta.daemon.ok("volume rm held");
    assert_eq!(alpha.volumes(), Vec::<String>::new());
}

#[test]
fn what_a_dead_node_held_is_held_until_it_is_released() {
    let mut swarm = Swarm::new();
    let line = "service create --detach --no-resolve-image --network host --name user \
                --constraint node.role==worker \
                --mount type=volume,source=held,target=/x,volume-driver=dirvol busybox:latest top";
    swarm.manager().ok(line);
    let dead = swarm.settled("user", |_| true).name.clone();
    let alive = "it is alive, and says itself what it holds: stop its containers there";
    let release = format!("release --node {dead}");
    assert_eq!(swarm.nodes[0].dirvol(&release), failure(&format!("node {dead}: {alive}")));
    swarm.kill(&dead);
    swarm.settled("user", |node| node.name != dead);
    swarm.manager().ok("service rm user");
    eventually("only the dead node holds it", || {
        (swarm.holders("held") == [dead.clone()]).then_some(())
    });
    let why = eventually("the task is gone", || {
        let why = swarm.nodes[1].daemon.fails("volume rm held");
        (!why.contains("volume is in use - [")).then_some(why)
    });
    let expected = format!(
        "volume held: volume is in use by node {dead}; that node is not alive: start it; or, if \
         it is off for good, run 'dirvol release --node {dead}' first"
    );
    assert!(why.contains(&expected), "{why}");
    assert_eq!(swarm.nodes[0].dirvol(&release), success("held\n".into()));
    swarm.nodes[1].daemon.ok("volume rm held");
    assert_eq!(swarm.nodes[0].volumes(), Vec::<String>::new());
}

#[test]
fn of_engines_that_create_one_name_all_have_it_or_hear_what_differs() {
    let swarm = Swarm::new();
    for round in 0..10 {
        let answers =
            at_once(&swarm, |_| format!("volume create -d dirvol -o mode=0700 equal{round}"));
        assert_eq!(answers, vec![(true, format!("equal{round}")); NAMES.len()]);
    }
    let mut conflicts = 0;
    for round in 0..20 {
        let name = format!("other{round}");
        let answers =
            at_once(&swarm, |at| format!("volume create -d dirvol -o mode=070{at} {name}"));
        let modes: Vec<_> = swarm
            .nodes
            .iter()
            .map(|node| node.daemon.inspect(&name)[0]["Status"]["options"]["mode"].clone())
            .collect();
        let winner = (0..NAMES.len()).find(|at| modes[0] == json!(format!("070{at}"))).unwrap();
        assert_eq!(modes, vec![modes[0].clone(); NAMES.len()]);
        assert_eq!(answers[winner], (true, name.clone()));
        // An engine that was late enough to find the volume asks for nothing more.
        for (at, (created, said)) in answers.iter().enumerate().filter(|(_, one)| !one.0) {
            let expected = format!(
                "volume {name} exists with other options: its mode is 070{winner}, not 070{at}; \
                 ask for the same, or change it with 'dirvol set {name}'"
            );
            assert!(!created && said.contains(&expected), "{said}");
            conflicts += 1;
        }
    }
    assert!(conflicts > 0);
}
