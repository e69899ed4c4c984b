//! Random sequences of calls, restarts and crashes, each answer and the disk in
//! the end compared with those of a model that is a page long.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::expect::{
    TIME, done, entry, failed, listing, named, ok, root_with, swept_listing, volume_at, with_id,
    with_options,
};
use crate::harness::{Answer, Serve, Setup};

/// Few, so that calls meet. The last is one that an engine made up.
const NAMES: [&str; 4] =
    ["a", "b", "c.d", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"];

type Options = BTreeMap<&'static str, &'static str>;

/// What may happen.
#[derive(Debug, Clone)]
enum Event {
    Create(&'static str, Options),
    Remove(&'static str),
    Mount(&'static str, &'static str),
    Unmount(&'static str, &'static str),
    Get(&'static str),
    Path(&'static str),
    List,
    Counts,
    Restart,
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    // One more than the others, so that much happens to it.
    let name = || prop_oneof![3 => Just(NAMES[0]), 4 => prop::sample::select(&NAMES[..])];
    let id = || prop_oneof![3 => Just("x"), 1 => Just("a-mount-id-that-is-long")];
    // Each in its one spelling; how options are read is tested elsewhere.
    let option = |key, values: &'static [&'static str]| {
        prop::option::weighted(
            0.2,
            prop::sample::select(values).prop_map(move |value| (key, value)),
        )
    };
    let options = (
        option("uid", &["0", "5"]),
        option("gid", &["0", "7"]),
        option("mode", &["0755", "0700", "2770"]),
        option("retain", &["0s", "1day", "1h"]),
    )
        .prop_map(|(uid, gid, mode, retain)| {
            [uid, gid, mode, retain].into_iter().flatten().collect::<Options>()
        });
    prop_oneof![
        8 => (name(), options).prop_map(|(name, options)| Event::Create(name, options)),
        8 => name().prop_map(Event::Remove),
        4 => (name(), id()).prop_map(|(name, id)| Event::Mount(name, id)),
        6 => (name(), id()).prop_map(|(name, id)| Event::Unmount(name, id)),
        4 => name().prop_map(Event::Get),
        2 => name().prop_map(Event::Path),
        2 => Just(Event::List),
        1 => Just(Event::Counts),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
    ]
}

/// A mount ID: how often it was mounted more than unmounted, and whether the
/// last that was heard of it is a Mount.
struct Holder {
    id: &'static str,
    count: u32,
    mounted: bool,
}

/// What should be there.
struct Model {
    /// Where the root is.
    root: String,
    /// The stated options of each volume.
    volumes: BTreeMap<&'static str, Options>,
    holders: BTreeMap<&'static str, Vec<Holder>>,
    /// What was removed and is kept.
    trash: Vec<(&'static str, Options)>,
}

/// The options in force where `stated` are stated.
fn in_force(stated: &Options) -> Options {
    let mut options =
        Options::from([("gid", "0"), ("mode", "0755"), ("retain", "1day"), ("uid", "0")]);
    options.extend(stated);
    options
}

impl Model {
    fn new(root: &Path) -> Self {
        let root = root.display().to_string();
        Self { root, volumes: BTreeMap::new(), holders: BTreeMap::new(), trash: Vec::new() }
    }

    fn data(&self, name: &str) -> String {
        format!("{}/volumes/{name}/data", self.root)
    }

    fn mountpoint(&self, name: &str) -> Answer {
        if self.volumes.contains_key(name) {
            ok(format!(r#"{{"Mountpoint":"{}","Err":""}}"#, self.data(name)))
        } else {
            failed(404, &format!("no such volume: {name}"))
        }
    }

    fn create(&mut self, name: &'static str, asked: Options) -> Answer {
        let Some(stated) = self.volumes.get(name) else {
            self.volumes.insert(name, asked);
            return done();
        };
        let (has, asked) = (in_force(stated), in_force(&asked));
        match has.iter().zip(&asked).find(|(has, asked)| has != asked) {
            None => done(),
            Some(((key, has), (_, asked))) => failed(
                409,
                &format!(
                    "volume {name} exists with other options: its {key} is {has}, not {asked}; ask \
                     for the same, or remove the volume first"
                ),
            ),
        }
    }

    fn remove(&mut self, name: &'static str) -> Answer {
        let Some(stated) = self.volumes.get(name) else { return done() };
        let holders = self.holders.get(name).map_or(&[][..], Vec::as_slice);
        if let Some(holder) = holders.iter().find(|holder| holder.mounted) {
            let why = format!(
                "volume {name}: volume is in use by mount ID {:.12}, which asked for it at {TIME}; \
                 stop its containers first",
                holder.id
            );
            return failed(409, &why);
        }
        let anonymous = name.len() == 64;
        let kept = stated.get("retain").map_or(!anonymous, |retain| *retain != "0s");
        let stated = self.volumes.remove(name).unwrap();
        self.holders.remove(name);
        if kept {
            self.trash.push((name, stated));
        }
        done()
    }

    fn mount(&mut self, name: &'static str, id: &'static str) -> Answer {
        if self.volumes.contains_key(name) {
            let holders = self.holders.entry(name).or_default();
            match holders.iter_mut().find(|holder| holder.id == id) {
                Some(holder) => (holder.count, holder.mounted) = (holder.count + 1, true),
                None => holders.push(Holder { id, count: 1, mounted: true }),
            }
        }
        self.mountpoint(name)
    }

    fn unmount(&mut self, name: &'static str, id: &'static str) -> Answer {
        let holders = self.holders.entry(name).or_default();
        for holder in holders.iter_mut().filter(|holder| holder.id == id) {
            (holder.count, holder.mounted) = (holder.count - 1, false);
        }
        holders.retain(|holder| holder.count > 0);
        done()
    }

    fn get(&self, name: &str) -> Answer {
        let Some(stated) = self.volumes.get(name) else {
            return failed(404, &format!("no such volume: {name}"));
        };
        let holders = self.holders.get(name).map_or(&[][..], Vec::as_slice).iter();
        let holders: Vec<String> = holders
            .map(|holder| {
                format!(r#"{{"id":"{}","count":{},"since":"{TIME}"}}"#, holder.id, holder.count)
            })
            .collect();
        let (data, holders, options) =
            (self.data(name), holders.join(","), json!(in_force(stated)));
        ok([
            format!(r#"{{"Volume":{{"Name":"{name}","Mountpoint":"{data}","CreatedAt":"{TIME}","#),
            format!(r#""Status":{{"created":"{TIME}","health":"ok","holders":[{holders}],"#),
            format!(r#""options":{options}}}}},"Err":""}}"#),
        ]
        .concat())
    }

    fn list(&self) -> Answer {
        let one = |name| format!(r#"{{"Name":"{name}","Mountpoint":"{}"}}"#, self.data(name));
        let volumes: Vec<String> = self.volumes.keys().map(|name| one(*name)).collect();
        ok(format!(r#"{{"Volumes":[{}],"Err":""}}"#, volumes.join(",")))
    }

    /// The listing of the root.
    fn root(&self) -> Vec<String> {
        let lines = |path: String, name: &str, stated: &Options| {
            let options = in_force(stated);
            let data = format!("{} {}:{}", options["mode"], options["uid"], options["gid"]);
            volume_at(&path, name, &data, &json!(stated))
        };
        let volumes = self
            .volumes
            .iter()
            .flat_map(|(name, stated)| lines(format!("volumes/{name}"), name, stated));
        let trash = self.trash.iter().flat_map(|(name, stated)| lines(entry(name), name, stated));
        root_with(volumes.chain(trash))
    }

    /// The listing of the state directory.
    fn state(&self) -> Vec<String> {
        let id = "ffffffff-ffff-ffff-ffff-ffffffffffff\\n";
        let mut lines = vec![format!("root-id 0600 0:0 \"{id}\""), "seen/ 0700 0:0".to_owned()];
        lines.extend(self.volumes.keys().map(|name| format!("seen/{name} 0600 0:0 \"\"")));
        lines.sort();
        lines
    }
}

/// Lets `event` happen to the driver and to the model, and compares.
fn happen(
    setup: &Setup,
    serve: Serve,
    model: &mut Model,
    event: Event,
) -> Result<Serve, TestCaseError> {
    let what = format!("{event:?}");
    let (method, body, expected) = match event {
        Event::Create(name, options) => {
            let body = with_options(name, &json!(options));
            ("Create", body, model.create(name, options))
        }
        Event::Remove(name) => ("Remove", named(name), model.remove(name)),
        Event::Mount(name, id) => ("Mount", with_id(name, id), model.mount(name, id)),
        Event::Unmount(name, id) => ("Unmount", with_id(name, id), model.unmount(name, id)),
        Event::Get(name) => ("Get", named(name), model.get(name)),
        Event::Path(name) => ("Path", named(name), model.mountpoint(name)),
        Event::List => ("List", "{}\n".to_owned(), model.list()),
        Event::Counts => {
            let counts = ["dirvol_volumes", "dirvol_trash_entries"];
            let counted = counts.map(|name| serve.metric(name, ""));
            let expected = [model.volumes.len() as u64, model.trash.len() as u64];
            prop_assert_eq!(counted, expected);
            return Ok(serve);
        }
        Event::Restart | Event::Crash => {
            if matches!(event, Event::Restart) {
                serve.stop();
            } else {
                serve.kill();
            }
            model.holders.clear();
            return Ok(setup.serve());
        }
    };
    let answer = serve.call(&format!("VolumeDriver.{method}"), &body);
    prop_assert_eq!(answer.neutral(), expected, "{}", what);
    Ok(serve)
}

#[test]
fn whatever_happens_the_driver_answers_as_its_model() {
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let events = prop::collection::vec(event(), 1..60);
    let tried = TestRunner::new(config).run(&events, |events| {
        let setup = Setup::new();
        let mut model = Model::new(&setup.root());
        let mut serve = setup.serve();
        for event in events {
            serve = happen(&setup, serve, &mut model, event)?;
        }
        prop_assert_eq!(swept_listing(&setup.root()), model.root());
        prop_assert_eq!(listing(&setup.state()), model.state());
        serve.stop();
        Ok(())
    });
    tried.unwrap();
}
