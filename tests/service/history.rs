//! Clients that call at the same time, on the same names: what they see is what somebody
//! could see who makes the same calls one after the other.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::events::{Event, Options, event};
use crate::harness::history::{Seen, Sequential, check};
use crate::harness::{Answer, Client, Serve, Setup};
use crate::model::Model;
use crate::nodes::two;

const CLIENTS: usize = 6;

/// How many calls each of them makes in a round.
const CALLS: usize = 80;

const NAMES: [&str; 2] = ["a", "b"];

/// A call about one volume, with its answer; or what a List told of that volume.
#[derive(Debug, Clone)]
enum Call {
    Asked(Event, Answer),
    Listed(bool),
}

/// A model of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct One(Model);

impl Sequential for One {
    type Call = Call;

    fn after(&self, call: &Call) -> Vec<Self> {
        match call {
            Call::Listed(there) => {
                let agrees = self.0.names().next().is_some() == *there;
                agrees.then(|| self.clone()).into_iter().collect()
            }
            Call::Asked(event, answer) => {
                let mut model = self.0.clone();
                let mut may = Vec::new();
                // The entry is found first, and restored then.
                if let Event::Restore(name) = event {
                    may = self.0.restored_late(name);
                }
                let expected = model.answer(event.clone());
                may.push((model, expected));
                let mut after: Vec<Self> = Vec::new();
                for (model, expected) in may {
                    if expected == *answer && !after.contains(&Self(model.clone())) {
                        after.push(Self(model));
                    }
                }
                after
            }
        }
    }

    fn only_looks(call: &Call) -> bool {
        matches!(call, Call::Listed(_) | Call::Asked(Event::Get(_) | Event::Path(_), _))
    }
}

/// The volume that a call is about, if it is about one.
fn name(event: &Event) -> Option<&'static str> {
    match event {
        Event::Create(name, _) | Event::Set(name, _) => Some(name),
        Event::Mount(name, _) | Event::Unmount(name, _) => Some(name),
        Event::Remove(name) | Event::Get(name) | Event::Path(name) | Event::Restore(name) => {
            Some(name)
        }
        Event::List | Event::Purge(_) | Event::Counts | Event::Restart | Event::Crash => None,
    }
}

/// Makes calls, and returns what was seen of each name. A Get tells of the record and of who
/// holds the volume, each as of its own moment; so where there are Gets, nobody mounts.
/// The first path of the root, in what is answered, is taken for the second.
fn calls(
    mut client: Client,
    number: usize,
    gets: bool,
    (from, to): &(String, String),
) -> Vec<(&'static str, Seen<Call>)> {
    let (mut runner, events) = (TestRunner::default(), event(&NAMES));
    let mut history = Vec::new();
    while history.len() < CALLS {
        let event = events.new_tree(&mut runner).unwrap().current();
        let of = name(&event);
        let is_left_out = match event {
            Event::Get(_) => !gets,
            Event::Mount(..) | Event::Unmount(..) => gets,
            _ => of.is_none() && !matches!(event, Event::List),
        };
        if is_left_out {
            continue;
        }
        let (method, body) = event.call().unwrap();
        let invoked = Instant::now();
        let answer = client.call(method, &body).expect("the connection was closed");
        let returned = Instant::now();
        let mut answer = answer.neutral();
        if from != to {
            answer.body = answer.body.replace(from, to);
            let length = format!("content-length: {}", answer.body.len());
            answer.headers.retain(|header| !header.starts_with("content-length"));
            answer.headers.push(length);
        }
        let client = number.to_string();
        let mut saw = |name, call| {
            history.push((name, Seen { client: client.clone(), call, invoked, returned }));
        };
        match of {
            Some(name) => saw(name, Call::Asked(event, answer)),
            None => {
                assert_eq!(answer.status, 200, "{answer:?}");
                for name in NAMES {
                    let there = answer.body.contains(&format!(r#"{{"Name":"{name}","#));
                    saw(name, Call::Listed(there));
                }
            }
        }
    }
    history
}

#[test]
fn a_volume_that_is_told_of_after_its_removal_was_answered_has_no_legal_order() {
    let root = Path::new("/root");
    let mut model = Model::new(root);
    let begin = Instant::now();
    let mut at = |event: Event, from, to| {
        let answer = model.answer(event.clone());
        let time = |ms| begin + Duration::from_millis(ms);
        let (invoked, returned) = (time(from), time(to));
        Seen { client: "0".to_owned(), call: Call::Asked(event, answer), invoked, returned }
    };
    let create = at(Event::Create("a", Options::new()), 0, 10);
    let get = at(Event::Get("a"), 15, 40);
    let look = at(Event::Path("a"), 12, 16);
    let remove = at(Event::Remove("a"), 20, 30);
    let history = vec![create, look, get, remove];
    check(One(Model::new(root)), history.clone()).unwrap();
    // The same Get, begun when the removal was answered.
    let mut late = history;
    late[2].invoked = begin + Duration::from_millis(31);
    let why = check(One(Model::new(root)), late).unwrap_err();
    assert!(why.contains("Get(") && !why.contains("Create("), "{why}");
}

/// How many rounds there are: `DIRVOL_TEST_ROUNDS=1000` is for who has a few minutes.
fn rounds() -> usize {
    std::env::var("DIRVOL_TEST_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap())
}

/// What clients see who call at once, each on the next of these drivers.
fn seen_on(drivers: &[&Serve], gets: bool) -> Vec<(&'static str, Seen<Call>)> {
    let root = |serve: &Serve| serve.root.display().to_string();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let serve = drivers[number % drivers.len()];
                let client = Client::connect(&serve.socket);
                let paths = (root(serve), root(drivers[0]));
                scope.spawn(move || calls(client, number, gets, &paths))
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// Fails where the calls about a volume have no legal order.
fn judge(round: usize, root: &Path, history: &[(&'static str, Seen<Call>)]) {
    for name in NAMES {
        let of_name = history.iter().filter(|(of, _)| *of == name);
        let seen = of_name.map(|(_, seen)| seen.clone()).collect();
        if let Err(why) = check(One(Model::new(root)), seen) {
            panic!("round {round}, volume {name}: {why}");
        }
    }
}

#[test]
fn what_clients_see_who_call_at_once_has_a_legal_order() {
    let mut checked = 0;
    for round in 0..rounds() {
        let setup = Setup::new().log_level("error");
        let serve = setup.serve();
        let history = seen_on(&[&serve], round % 2 == 0);
        checked += history.len();
        judge(round, &serve.root, &history);
        serve.stop();
    }
    println!("{checked} calls in {} rounds", rounds());
}

#[test]
fn what_clients_of_two_nodes_see_of_one_root_has_a_legal_order() {
    let mut checked = 0;
    for round in 0..rounds() {
        let (_a, on_a, _b, on_b) = two();
        let history = seen_on(&[&on_a, &on_b], true);
        checked += history.len();
        judge(round, &on_a.root, &history);
        on_a.stop();
        on_b.stop();
    }
    println!("{checked} calls in {} rounds", rounds());
}
