//! `dirvol create NAME`, `dirvol rm NAME...`, `dirvol set NAME k=v...`

use std::path::PathBuf;

use serde_json::{Value, json};

use super::output::{show, table};
use super::{Failure, ask};
use crate::api;
use crate::cli::client::{Create, Release, Rm, Set};

/// Creates a volume.
///
/// # Errors
/// An option makes no sense, the driver cannot be reached, or it refuses.
pub fn create(socket: Option<PathBuf>, args: Create) -> Result<(), Failure> {
    let request = json!({"Name": args.name, "Opts": options("--opt", &args.opt)?});
    let (client, format) = ask(socket, args.ask)?;
    let _done: Value = client.ask("VolumeDriver.Create", &request)?;
    show(format, &json!({"Name": args.name}), |_| format!("{}\n", args.name))
}

/// Removes volumes, each whether or not the others could be.
///
/// # Errors
/// The driver cannot be reached, or one could not be removed.
pub fn rm(socket: Option<PathBuf>, args: Rm) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let mut removed: Vec<api::Removed> = Vec::new();
    let mut failures = Vec::new();
    for name in args.names {
        match client.ask("Dirvol.Remove", &api::Named { name }) {
            Ok(answer) => removed.push(answer),
            Err(error) => {
                failures.push(Failure::from(error));
                if let Some(Failure::Unreachable(_)) = failures.last() {
                    break;
                }
            }
        }
    }
    if failures.is_empty() || !removed.is_empty() {
        show(format, &removed, |removed| removed.iter().map(where_it_went).collect())?;
    }
    Failure::of_many(failures)
}

/// Changes options of a volume, and shows those in force.
///
/// # Errors
/// An option makes no sense, the driver cannot be reached, or it refuses.
pub fn set(socket: Option<PathBuf>, args: Set) -> Result<(), Failure> {
    let request = api::Set { name: args.name, opts: options("what to set", &args.opts)? };
    let (client, format) = ask(socket, args.ask)?;
    let answer: api::InForce = client.ask("Dirvol.Set", &request)?;
    show(format, &answer.options, |options| {
        let rows: Vec<_> =
            options.iter().map(|(key, value)| [key.clone(), value.clone()]).collect();
        table(["OPTION", "VALUE"], &rows)
    })
}

/// Frees what a dead node held, and shows which volumes that were.
///
/// # Errors
/// The driver cannot be reached, or it refuses.
pub fn release(socket: Option<PathBuf>, args: Release) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let answer: Value = client.ask("Dirvol.Release", &api::Named { name: args.node })?;
    show(format, &answer["Volumes"], |volumes| {
        let volumes = volumes.as_array().into_iter().flatten().filter_map(Value::as_str);
        volumes.flat_map(|volume| [volume, "\n"]).collect()
    })
}

/// Tells where a removed volume is.
fn where_it_went(removed: &api::Removed) -> String {
    let name = &removed.name;
    if let Some(path) = &removed.path {
        return format!("{name}: forgotten; {path} stays as it is\n");
    }
    match (&removed.entry, &removed.retain) {
        (Some(entry), _) if removed.space_is_low => format!(
            "{name}: in the trash, but space is low and it may be deleted at once; 'dirvol trash \
             restore {entry}' takes it back if you are quick\n"
        ),
        (Some(entry), Some(retain)) => format!(
            "{name}: in the trash for {retain}; 'dirvol trash restore {entry}' takes it back\n"
        ),
        _ => format!("{name}: deleted for good\n"),
    }
}

pub(super) fn options(what: &str, stated: &[String]) -> Result<api::Options, Failure> {
    let mut options = api::Options::new();
    for pair in stated {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("{what}: {pair:?}: give K=V")))?;
        if let Some(other) = options.insert(key.to_owned(), value.to_owned()) {
            return Err(Failure::Usage(format!(
                "{what}: {key} is given twice, as {other:?} and as {value:?}; give it once"
            )));
        }
    }
    Ok(options)
}
