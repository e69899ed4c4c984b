//! Random sequences of calls, restarts and crashes, each answer and the disk in
//! the end compared with those of a model that is a page long.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use crate::events::{Event, Options, event};
use crate::expect::{TIME, done, entry, failed, listing, ok, root_with, swept_listing, volume_set};
use crate::harness::{Answer, Serve, Setup};

/// Few, so that calls meet. The last is one that an engine made up.
const NAMES: [&str; 4] =
    ["a", "b", "c.d", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"];

/// A mount ID: how often it was mounted more than unmounted, and whether the
/// last that was heard of it is a Mount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holder {
    id: &'static str,
    count: u32,
    mounted: bool,
}

/// The options of a volume: those that were stated at its Create, and those that
/// were set since.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Volume {
    stated: Options,
    set: Options,
}

/// What should be there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    /// Where the root is.
    root: String,
    volumes: BTreeMap<&'static str, Volume>,
    holders: BTreeMap<&'static str, Vec<Holder>>,
    /// What was removed and is kept.
    trash: Vec<(&'static str, Volume)>,
}

/// The options in force where `stated` are stated.
fn in_force(stated: &Options) -> Options {
    let mut options = Options::from([
        ("gid", "0"),
        ("mode", "0755"),
        ("protect", "false"),
        ("retain", "1day"),
        ("uid", "0"),
    ]);
    options.extend(stated);
    options
}

impl Volume {
    fn in_force(&self) -> Options {
        let mut options = in_force(&self.stated);
        options.extend(&self.set);
        options
    }
}

impl Model {
    pub fn new(root: &Path) -> Self {
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
        let Some(volume) = self.volumes.get(name) else {
            self.volumes.insert(name, Volume { stated: asked, set: Options::new() });
            return done();
        };
        // What was asked for once may always be asked for.
        let (has, created, asked) = (volume.in_force(), in_force(&volume.stated), in_force(&asked));
        let both = has.iter().zip(&asked);
        let differs = both
            .into_iter()
            .find(|((key, has), (_, asked))| has != asked && created[*key] != **asked);
        match differs {
            None => done(),
            Some(((key, has), (_, asked))) => failed(
                409,
                &format!(
                    "volume {name} exists with other options: its {key} is {has}, not {asked}; ask \
                     for the same, or change it with 'dirvol set {name}'"
                ),
            ),
        }
    }

    fn remove(&mut self, name: &'static str) -> Answer {
        let Some(volume) = self.volumes.get(name) else { return done() };
        if volume.in_force()["protect"] == "true" {
            let why = format!(
                "volume {name} is protected; if it is to be removed, run 'dirvol set {name} \
                 protect=false' first"
            );
            return failed(409, &why);
        }
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
        let asked = volume.set.get("retain").or(volume.stated.get("retain"));
        let kept = asked.map_or(!anonymous, |retain| *retain != "0s");
        let volume = self.volumes.remove(name).unwrap();
        self.holders.remove(name);
        if kept {
            self.trash.push((name, volume));
        }
        done()
    }

    fn set(&mut self, name: &'static str, options: Options) -> Answer {
        let Some(volume) = self.volumes.get_mut(name) else {
            return failed(404, &format!("no such volume: {name}"));
        };
        volume.set.extend(options);
        ok(format!(r#"{{"Options":{},"Err":""}}"#, json!(volume.in_force())))
    }

    /// Returns where the one entry of `name` is.
    fn find(&self, name: &str) -> Result<usize, Answer> {
        let all: Vec<usize> =
            (0..self.trash.len()).filter(|at| self.trash[*at].0 == name).collect();
        let hint = match all[..] {
            [at] => return Ok(at),
            [] => "see 'dirvol trash ls'".to_owned(),
            _ => format!("{} are of that volume, {} is the latest", all.len(), file(name)),
        };
        Err(failed(404, &format!("no such entry in the trash: {name}; {hint}")))
    }

    fn restore(&mut self, name: &'static str) -> Answer {
        let at = match self.find(name) {
            Ok(at) => at,
            Err(answer) => return answer,
        };
        if self.volumes.contains_key(name) {
            let cure = "restore the entry with --as under another name";
            return failed(409, &format!("volume {name} exists: {cure}"));
        }
        let (name, volume) = self.trash.remove(at);
        let (data, stated) = (self.data(name), json!(volume.stated));
        self.volumes.insert(name, volume);
        ok(format!(
            r#"{{"Name":"{name}","Mountpoint":"{data}","Health":"ok","Options":{stated},"Err":""}}"#
        ))
    }

    fn purge(&mut self, name: &str) -> Answer {
        match self.find(name) {
            Ok(at) => drop(self.trash.remove(at)),
            Err(answer) => return answer,
        }
        ok(format!(r#"{{"Purged":["{}"],"Kept":[],"Err":""}}"#, file(name)))
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
        let Some(volume) = self.volumes.get(name) else {
            return failed(404, &format!("no such volume: {name}"));
        };
        let holders = self.holders.get(name).map_or(&[][..], Vec::as_slice).iter();
        let holders: Vec<String> = holders
            .map(|holder| {
                format!(r#"{{"id":"{}","count":{},"since":"{TIME}"}}"#, holder.id, holder.count)
            })
            .collect();
        let (data, holders, options) =
            (self.data(name), holders.join(","), json!(volume.in_force()));
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

    /// The names of the volumes.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.volumes.keys().copied()
    }

    /// Whether something of `name` is kept in the trash.
    pub fn keeps(&self, name: &str) -> bool {
        self.trash.iter().any(|(kept, _)| *kept == name)
    }

    /// What a Restore of `name` may do that found one entry a moment ago: whatever has
    /// become of the trash since, it restores that one.
    pub fn restored_late(&self, name: &'static str) -> Vec<(Self, Answer)> {
        let restored = |at: usize| {
            let mut model = self.clone();
            model.trash = vec![self.trash[at].clone()];
            let answer = model.restore(name);
            let others = self.trash.iter().enumerate().filter(|(other, _)| *other != at);
            model.trash.extend(others.map(|(_, entry)| entry.clone()));
            model.trash.sort();
            (model, answer)
        };
        let of_name = (0..self.trash.len()).filter(|at| self.trash[*at].0 == name);
        let mut all: Vec<_> = of_name.map(restored).collect();
        if self.volumes.contains_key(name) {
            let cure = "restore the entry with --as under another name";
            all.push((self.clone(), failed(409, &format!("volume {name} exists: {cure}"))));
        } else {
            let why = format!("no such entry in the trash: {}; see 'dirvol trash ls'", file(name));
            all.push((self.clone(), failed(404, &why)));
        }
        all
    }

    /// The listing of the root.
    fn root(&self) -> Vec<String> {
        root_with(self.lines())
    }

    /// What the root's listing has of its volumes and its trash.
    pub fn lines(&self) -> Vec<String> {
        let lines = |path: String, name: &str, volume: &Volume| {
            let options = volume.in_force();
            let data = format!("{} {}:{}", options["mode"], options["uid"], options["gid"]);
            volume_set(&path, name, &data, &json!(volume.stated), &json!(volume.set))
        };
        let volumes = self
            .volumes
            .iter()
            .flat_map(|(name, volume)| lines(format!("volumes/{name}"), name, volume));
        let trash = self.trash.iter().flat_map(|(name, volume)| lines(entry(name), name, volume));
        volumes.chain(trash).collect()
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

/// The name of an entry of the trash, in neutral form.
fn file(name: &str) -> String {
    entry(name)["trash/".len()..].to_owned()
}

impl Model {
    /// Lets the call `event` happen, and returns its answer.
    pub fn answer(&mut self, event: Event) -> Answer {
        match event {
            Event::Create(name, options) => self.create(name, options),
            Event::Remove(name) => self.remove(name),
            Event::Mount(name, id) => self.mount(name, id),
            Event::Unmount(name, id) => self.unmount(name, id),
            Event::Get(name) => self.get(name),
            Event::Path(name) => self.mountpoint(name),
            Event::List => self.list(),
            Event::Set(name, options) => self.set(name, options),
            Event::Restore(name) => self.restore(name),
            Event::Purge(name) => self.purge(name),
            Event::Counts | Event::Restart | Event::Crash => unreachable!("no call: {event:?}"),
        }
    }
}

/// Lets `event` happen to the driver and to the model, and compares.
fn happen(
    setup: &Setup,
    serve: Serve,
    model: &mut Model,
    event: Event,
) -> Result<Serve, TestCaseError> {
    if let Some((method, body)) = event.call() {
        let what = format!("{event:?}");
        let answer = serve.call(method, &body);
        prop_assert_eq!(answer.neutral(), model.answer(event), "{}", what);
        return Ok(serve);
    }
    if matches!(event, Event::Counts) {
        let counts = ["dirvol_volumes", "dirvol_trash_entries"];
        let counted = counts.map(|name| serve.metric(name, ""));
        let expected = [model.volumes.len() as u64, model.trash.len() as u64];
        prop_assert_eq!(counted, expected);
        return Ok(serve);
    }
    if matches!(event, Event::Restart) {
        serve.stop();
    } else {
        serve.kill();
    }
    model.holders.clear();
    Ok(setup.serve())
}

#[test]
fn whatever_happens_the_driver_answers_as_its_model() {
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let events = prop::collection::vec(event(&NAMES), 1..60);
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
