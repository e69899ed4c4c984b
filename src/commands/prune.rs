//! `dirvol prune`

use std::path::PathBuf;

use super::output::{known, show, table};
use super::{Failure, ask};
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
    crate::volume::value::duration(&args.unused_for)
        .map_err(|error| Failure::Usage(format!("--unused-for: {error}")))?;
    let (client, format) = ask(socket, args.ask)?;
    let needed = if args.no_engine { None } else { engine::needed()? };
    if needed.is_none() && !args.no_engine {
        return Err(Failure::Failed(
            "there is no engine to ask which volumes its containers need: start it (Podman: \
             'systemctl start podman.socket'), or say --no-engine if there is none"
                .into(),
        ));
    }
    let (unused_for, dry_run) = (args.unused_for, args.dry_run);
    let request = api::Prune { unused_for, dry_run, needed };
    let answer: api::Pruned = client.ask("Dirvol.Prune", &request)?;
    show(format, &answer, |pruned| {
        let removed = pruned.removed.iter().map(|removed| {
            let fate = match (&removed.entry, &removed.retain) {
                _ if removed.path.is_some() => {
                    let what = if dry_run { "would be forgotten" } else { "forgotten" };
                    format!("{what}; {} stays", known(removed.path.as_ref()))
                }
                (Some(entry), Some(retain)) => format!("in the trash for {retain} as {entry}"),
                (None, Some(retain)) if retain == "0s" => "would be deleted for good".into(),
                (None, Some(retain)) => format!("would be in the trash for {retain}"),
                (_, None) => "deleted for good".into(),
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
