//! `dirvol prune`

use std::path::PathBuf;

use super::output::{known, show, table};
use super::{Failure, ask, note};
use crate::api;
use crate::cli::client::Prune;
use crate::client::engine;

/// Removes the volumes that nobody has used for long, but for those that a
/// container needs.
///
/// # Errors
/// An engine cannot be asked what its containers need, the driver cannot be
/// reached, or it refuses.
pub fn prune(socket: Option<PathBuf>, args: Prune) -> Result<(), Failure> {
    crate::volume::options::duration(&args.unused_for)
        .map_err(|error| Failure::Usage(format!("--unused-for: {error}")))?;
    let (client, format) = ask(socket, args.ask)?;
    let needed = engine::needed()?;
    if needed.is_none() {
        note("no engine was found to ask: only what is mounted now counts as needed");
    }
    let (unused_for, dry_run) = (args.unused_for, args.dry_run);
    let request = api::Prune { unused_for, dry_run, needed };
    let answer: api::Pruned = client.ask("Dirvol.Prune", &request)?;
    show(format, &answer, |pruned| {
        let removed = pruned.removed.iter().map(|removed| {
            let fate = match (&removed.entry, &removed.retain) {
                (Some(entry), Some(retain)) => format!("in the trash for {retain} as {entry}"),
                _ if dry_run => "would be removed".into(),
                _ => "deleted for good".into(),
            };
            [removed.name.clone(), known(removed.last_used.as_ref()), fate]
        });
        let kept = pruned.kept.iter().map(|kept| {
            let fate = format!("stays: {}", kept.why);
            [kept.name.clone(), "-".into(), fate]
        });
        let rows: Vec<_> = removed.chain(kept).collect();
        table(["NAME", "LAST USED", "WHAT BECAME OF IT"], &rows)
    })
}
