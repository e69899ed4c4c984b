//! What clients and containers do at the same time while every write is recorded.

use std::fs;

use serde_json::json;

use crate::archived;
use crate::chance::Chance;
use crate::harness::Client;
use crate::ledger::{Change, Known, Spec};
use crate::live::{self, Live};
use crate::mapper::Marks;

/// The names of one client.
const NAMES: usize = 4;

/// What one client does, to names of its own. After each change that is acknowledged it
/// puts a mark into the record.
pub fn work(number: usize, changes: usize, live: &Live, marks: &Marks, mut chance: Chance) {
    let mut client = Client::connect(&live.serve.socket);
    let root = live.disk.path("root");
    let name = |of: usize| format!("client-{number}-{of}");
    for round in 0..changes {
        let own = name(chance.below(NAMES));
        let Known { volume, trash } = live.ledger.known(&own);
        // What can be copied so that it is known what its record says then: it states its
        // owner and its mode, was not set, and is no copy.
        let original = (0..NAMES).map(name).find_map(|other| {
            let spec = live.ledger.known(&other).volume?;
            let plain = spec.uid.is_some() && spec.set.is_none() && spec.from.is_none();
            (plain && spec.payload.is_some()).then_some((other, spec))
        });
        // No mode has the set-group-ID bit, which gives a file its group when it is written.
        let text = format!("of round {round} ").repeat(1 + chance.below(600));
        match (volume, chance.below(4), original) {
            (None, 0, _) if trash.len() == 1 => call(
                (&mut client, live),
                &own,
                Change::Restore,
                ("Dirvol.TrashRestore", &json!({"Entry": own})),
            ),
            (None, 1, Some((from, spec))) => {
                let spec = Spec { from: Some(from), ..spec };
                live::create(&mut client, &live.ledger, &own, &spec);
            }
            (None, 2, _) => import(live, &own, text),
            (None, chosen, _) => {
                let spec = [
                    Spec::owned(0, 0, 0o750),
                    Spec::keeping_nothing(),
                    Spec::owned(1000, 2000, 0o770),
                    Spec::owned(1000, 2000, 0o700),
                ][chosen]
                    .clone();
                live::create(&mut client, &live.ledger, &own, &spec);
            }
            (Some(_), 0, _) => live::remove(&mut client, &live.ledger, &own),
            (Some(_), 1, _) => {
                let mode = [0o700, 0o750, 0o711][chance.below(3)];
                let opts = json!({"Name": own, "Opts": {"mode": format!("{mode:o}")}});
                let set = ("Dirvol.Set", &opts);
                call((&mut client, live), &own, Change::Set(mode), set);
            }
            (Some(_), _, _) => live::write(&root, &live.ledger, &own, &text),
        }
        marks.put();
    }
}

fn call(
    (client, live): (&mut Client, &Live),
    name: &str,
    change: Change,
    (method, body): (&str, &serde_json::Value),
) {
    let answer = live.ledger.change(name, change, || client.call(method, &body.to_string()));
    let answer = answer.expect("the connection was closed");
    assert_eq!(answer.status, 200, "{method} {body}: {answer:?}");
}

fn import(live: &Live, name: &str, text: String) {
    let spec = Spec { given: Some(0o750), payload: Some(text), ..Spec::plain() };
    let path = live.setup.path(&format!("{name}.tar"));
    fs::write(&path, archived::archive(&spec)).unwrap();
    live.ledger.change(name, Change::Import(spec), || {
        archived::import(&live.serve, name, &path).unwrap();
    });
}
