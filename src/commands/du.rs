//! `dirvol du [NAME]...`

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::output::{bar, harmless, show, table_with_numbers};
use super::{Failure, ask};
use crate::api;
use crate::cli::client::Du;
use crate::order;
use crate::volume::size;

/// What was counted.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counted {
    volumes: Vec<Volume>,
    total: api::Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    bytes: u64,
    apparent: u64,
    inodes: u64,
}

/// Counts what volumes hold, and what they hold together. A volume that cannot be
/// counted does not keep the others from it.
///
/// # Errors
/// The driver cannot be reached; or a volume could not be counted, which is told
/// after the others.
pub fn du(socket: Option<PathBuf>, args: Du) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let mut names = args.names;
    if names.is_empty() {
        let all: api::Volumes = client.ask("Dirvol.List", &api::Nothing {})?;
        names = all.volumes.into_iter().map(|volume| volume.name).collect();
    }
    let mut counted = Counted { volumes: Vec::new(), total: api::Usage::default() };
    let mut failures = Vec::new();
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    for (done, name) in names.iter().enumerate() {
        progress(done, names.len(), name);
        match client.ask::<api::Usage>("Dirvol.Usage", &api::Named { name: name.clone() }) {
            Ok(usage) => {
                let total = &mut counted.total;
                total.bytes += usage.bytes;
                total.apparent += usage.apparent;
                total.inodes += usage.inodes;
                let api::Usage { bytes, apparent, inodes } = usage;
                counted.volumes.push(Volume { name: name.clone(), bytes, apparent, inodes });
            }
            Err(error) => match Failure::from(error) {
                Failure::Failed(why) => failures.push(Failure::Failed(why)),
                gone => {
                    progress(names.len(), names.len(), "");
                    return Err(gone);
                }
            },
        }
    }
    progress(names.len(), names.len(), "");
    if counted.volumes.is_empty() && !failures.is_empty() {
        return Failure::of_many(failures);
    }
    order::sort(&mut counted.volumes, |a, b| b.bytes.cmp(&a.bytes));
    show(format, &counted, |counted| {
        let row = |name: &str, bytes, apparent, inodes: u64| {
            [name.to_owned(), size::about(bytes), size::about(apparent), inodes.to_string()]
        };
        let volumes = &counted.volumes;
        let mut rows: Vec<_> =
            volumes.iter().map(|one| row(&one.name, one.bytes, one.apparent, one.inodes)).collect();
        if volumes.len() != 1 {
            let (name, total) = (format!("{} volumes", volumes.len()), &counted.total);
            rows.push(row(&name, total.bytes, total.apparent, total.inodes));
        }
        let heads = ["NAME", "USED", "LENGTH", "INODES"];
        table_with_numbers(heads, &heads[1..], &rows)
    })?;
    Failure::of_many(failures)
}

/// Tells a person who waits at a terminal how far it is; at the end, nothing.
fn progress(done: usize, all: usize, name: &str) {
    let mut terminal = io::stderr().lock();
    if !terminal.is_terminal() || all == 0 {
        return;
    }
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    // The line before is longer, or is to go.
    let line = match done == all {
        true => "\r\x1b[K".to_owned(),
        false => {
            let bar = bar(count(done), count(all));
            format!("\r\x1b[K{bar} {done}/{all} volumes  {:.40}", harmless(name))
        }
    };
    // Ignoring: there is nowhere left to say that it could not be said.
    let _untold = terminal.write_all(line.as_bytes()).and_then(|()| terminal.flush());
}
