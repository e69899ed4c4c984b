//! What was asked for and what was acknowledged, and so what a cut may show.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::json;

use crate::disk::Cut;

/// What a volume was created with, and what its user wrote into it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spec {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
    /// `retain=0`: nothing of it goes to the trash.
    pub keeps_nothing: bool,
    /// The volume that it is a copy of: what else it has, it has from there.
    pub from: Option<String>,
    /// The mode that its record says was set later.
    pub set: Option<u32>,
    /// The mode of its data directory, where that is not the one it was created with.
    pub given: Option<u32>,
    /// The text of the one file in its data directory.
    pub payload: Option<String>,
}

/// A change of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create(Spec),
    /// It is made of an archive.
    Import(Spec),
    /// Its user puts a file with this text into it, in place of the last one.
    Write(String),
    Remove,
    /// The entries in the trash that have its name are purged.
    Purge,
    /// Somebody moves the one entry in the trash back, by hand, and a Create with
    /// its options takes it as it is.
    Adopt,
    /// The one entry in the trash is restored.
    Restore,
    /// The mode is set.
    Set(u32),
    /// A call that is refused, or has nothing to do.
    Nothing,
}

/// What there is of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub volume: Option<Spec>,
    /// In order of their contents.
    pub trash: Vec<Spec>,
}

/// All changes of a test, each with the moments at which it was asked for and
/// acknowledged.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    change: Change,
    asked: Instant,
    acknowledged: Option<Instant>,
}

/// What a cut may show of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// One of these: the first is what was acknowledged before the cut, and each
    /// further one has a change more, or half of one that may be found half done,
    /// of those that were asked for and not acknowledged.
    pub states: Vec<Known>,
    /// The changes that were not acknowledged.
    pub open: Vec<Change>,
}

impl Spec {
    pub fn plain() -> Self {
        Self::default()
    }

    pub fn owned(uid: u32, gid: u32, mode: u32) -> Self {
        Self { uid: Some(uid), gid: Some(gid), mode: Some(mode), ..Self::default() }
    }

    pub fn keeping_nothing() -> Self {
        Self { keeps_nothing: true, ..Self::default() }
    }

    /// The options as a client states them.
    pub fn stated(&self) -> BTreeMap<&'static str, String> {
        if let Some(from) = &self.from {
            return BTreeMap::from([("from", from.clone())]);
        }
        self.own()
    }

    /// The options that it was created with, or its original was.
    pub fn own(&self) -> BTreeMap<&'static str, String> {
        let stated = [
            ("uid", self.uid.map(|uid| uid.to_string())),
            ("gid", self.gid.map(|gid| gid.to_string())),
            ("mode", self.mode.map(|mode| format!("{mode:04o}"))),
            ("retain", self.keeps_nothing.then(|| "0s".to_owned())),
        ];
        stated.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The body of a Create.
    pub fn body(&self, name: &str) -> String {
        json!({"Name": name, "Opts": self.stated()}).to_string()
    }
}

impl Known {
    pub fn after(mut self, change: &Change) -> Self {
        match change {
            Change::Create(spec) | Change::Import(spec) => self.volume = Some(spec.clone()),
            Change::Write(text) => {
                let volume = self.volume.as_mut().expect("a volume that is there is written to");
                volume.payload = Some(text.clone());
            }
            Change::Remove => {
                self.trash.extend(self.volume.take().filter(|spec| !spec.keeps_nothing));
                self.trash.sort();
            }
            Change::Purge => self.trash.clear(),
            Change::Adopt | Change::Restore => {
                let [entry] = &self.trash[..] else { panic!("not one entry: {:?}", self.trash) };
                self.volume = Some(entry.clone());
                self.trash.clear();
            }
            Change::Set(mode) => {
                let volume = self.volume.as_mut().expect("a volume that is there is set");
                (volume.set, volume.given) = (Some(*mode), Some(*mode));
            }
            Change::Nothing => {}
        }
        self
    }

    /// What a cut may show in the middle of a change, beside what was before and
    /// what is after: the record says what was done, and not yet all of it.
    fn amid(mut self, change: &Change) -> Option<Self> {
        let Change::Set(mode) = change else { return None };
        self.volume.as_mut().expect("a volume that is there is set").given = Some(*mode);
        Some(self)
    }
}

impl Ledger {
    /// Makes a change: notes that it is asked for, and what it returns with is
    /// its acknowledgement. The changes of one name must follow each other.
    pub fn change<T>(&self, name: &str, change: Change, make: impl FnOnce() -> T) -> T {
        let entry =
            Entry { name: name.to_owned(), change, asked: Instant::now(), acknowledged: None };
        let index = {
            let mut entries = self.entries.lock().unwrap();
            entries.push(entry);
            entries.len() - 1
        };
        let made = make();
        let now = Instant::now();
        self.entries.lock().unwrap()[index].acknowledged = Some(now);
        made
    }

    /// What there is of `name` once all that was asked for is done.
    pub fn known(&self, name: &str) -> Known {
        let entries = self.entries.lock().unwrap();
        let own = entries.iter().filter(|entry| entry.name == name);
        own.fold(Known::default(), |known, entry| known.after(&entry.change))
    }

    /// What `cut` may show, by name. Whatever is not named must not be there.
    pub fn allowed(&self, cut: &Cut) -> BTreeMap<String, Allowed> {
        let mut names: BTreeMap<String, Allowed> = BTreeMap::new();
        for entry in self.entries.lock().unwrap().iter() {
            if entry.asked > cut.ended {
                continue;
            }
            let allowed = names
                .entry(entry.name.clone())
                .or_insert_with(|| Allowed { states: vec![Known::default()], open: Vec::new() });
            let last = allowed.states.last().expect("there is always a state").clone();
            let next = last.clone().after(&entry.change);
            if entry.acknowledged.is_some_and(|moment| moment < cut.began) {
                *allowed = Allowed { states: vec![next], open: Vec::new() };
            } else {
                allowed.states.extend(last.amid(&entry.change));
                allowed.states.push(next);
                allowed.open.push(entry.change.clone());
            }
        }
        names
    }
}
