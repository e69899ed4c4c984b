//! What may happen to a driver: calls, restarts and crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::expect::{named, with_id, with_options};

/// Each in its one spelling; how options are read is tested elsewhere.
pub type Options = BTreeMap<&'static str, &'static str>;

/// What may happen.
#[derive(Debug, Clone)]
pub enum Event {
    Create(&'static str, Options),
    Remove(&'static str),
    Mount(&'static str, &'static str),
    Unmount(&'static str, &'static str),
    Get(&'static str),
    Path(&'static str),
    List,
    Counts,
    Set(&'static str, Options),
    Restore(&'static str),
    Purge(&'static str),
    Restart,
    Crash,
}

/// Anything, to one of `names`.
pub fn event(names: &'static [&'static str]) -> impl Strategy<Value = Event> {
    // One more than the others, so that much happens to it.
    let name = move || prop_oneof![3 => Just(names[0]), 4 => prop::sample::select(names)];
    let id = || prop_oneof![3 => Just("x"), 1 => Just("a-mount-id-that-is-long")];
    // Each in its one spelling; how options are read is tested elsewhere.
    let option = |key, values: &'static [&'static str]| {
        prop::option::weighted(
            0.2,
            prop::sample::select(values).prop_map(move |value| (key, value)),
        )
    };
    let options = || {
        (
            option("uid", &["0", "5"]),
            option("gid", &["0", "7"]),
            option("mode", &["0755", "0700", "2770"]),
            option("retain", &["0s", "1day", "1h"]),
            option("protect", &["false", "false", "true"]),
        )
            .prop_map(|(uid, gid, mode, retain, protect)| {
                [uid, gid, mode, retain, protect].into_iter().flatten().collect::<Options>()
            })
    };
    let some = |options: &Options| !options.is_empty();
    prop_oneof![
        8 => (name(), options()).prop_map(|(name, options)| Event::Create(name, options)),
        8 => name().prop_map(Event::Remove),
        4 => (name(), id()).prop_map(|(name, id)| Event::Mount(name, id)),
        6 => (name(), id()).prop_map(|(name, id)| Event::Unmount(name, id)),
        4 => name().prop_map(Event::Get),
        2 => name().prop_map(Event::Path),
        2 => Just(Event::List),
        1 => Just(Event::Counts),
        4 => (name(), options().prop_filter("nothing to set", some))
            .prop_map(|(name, options)| Event::Set(name, options)),
        4 => name().prop_map(Event::Restore),
        2 => name().prop_map(Event::Purge),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
    ]
}

impl Event {
    /// The call that this is: its method and its body. Restarts and counts are none.
    pub fn call(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Self::Create(name, options) => {
                ("VolumeDriver.Create", with_options(name, &json!(options)))
            }
            Self::Remove(name) => ("VolumeDriver.Remove", named(name)),
            Self::Mount(name, id) => ("VolumeDriver.Mount", with_id(name, id)),
            Self::Unmount(name, id) => ("VolumeDriver.Unmount", with_id(name, id)),
            Self::Get(name) => ("VolumeDriver.Get", named(name)),
            Self::Path(name) => ("VolumeDriver.Path", named(name)),
            Self::List => ("VolumeDriver.List", "{}\n".to_owned()),
            Self::Set(name, options) => ("Dirvol.Set", with_options(name, &json!(options))),
            Self::Restore(name) => ("Dirvol.TrashRestore", json!({"Entry": name}).to_string()),
            Self::Purge(name) => ("Dirvol.TrashPurge", json!({"Entry": name}).to_string()),
            Self::Counts | Self::Restart | Self::Crash => return None,
        })
    }
}
