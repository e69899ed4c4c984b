//! `dirvol trash ls`, `dirvol trash restore ENTRY`, `dirvol trash purge`

use std::path::PathBuf;

use super::output::{known, show, table};
use super::{Failure, ask};
use crate::api;
use crate::cli::client::{List, Purge, Restore, TrashCommand};

/// Looks after removed volumes.
///
/// # Errors
/// The driver cannot be reached, or refuses.
pub fn trash(socket: Option<PathBuf>, command: TrashCommand) -> Result<(), Failure> {
    match command {
        TrashCommand::Ls(args) => ls(socket, args),
        TrashCommand::Restore(args) => restore(socket, args),
        TrashCommand::Purge(args) => purge(socket, args),
    }
}

fn ls(socket: Option<PathBuf>, args: List) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let answer: api::Trash = client.ask("Dirvol.TrashList", &api::Nothing {})?;
    show(format, &answer.entries, |entries| {
        let row = |entry: &api::Entry| {
            let expires = known(entry.expires_at.as_ref());
            let removed = known(entry.removed_at.as_ref());
            [entry.entry.clone(), removed, expires, entry.health.clone()]
        };
        let rows: Vec<_> = entries.iter().map(row).collect();
        table(["ENTRY", "REMOVED", "KEPT UNTIL", "HEALTH"], &rows)
    })
}

fn restore(socket: Option<PathBuf>, args: Restore) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let request = api::TrashRestore { entry: args.entry, name: args.name };
    let answer: api::Restored = client.ask("Dirvol.TrashRestore", &request)?;
    show(format, &answer, |restored| {
        // A duration such as "1day 12h" is one word for the shell, and the same.
        let options: String = restored
            .options
            .iter()
            .map(|(key, value)| format!(" -o {key}={}", value.replace(' ', "")))
            .collect();
        if restored.health != "ok" {
            return format!("{} is restored as it was: {}\n", restored.name, restored.health);
        }
        format!(
            "{name} is restored, with its bytes, owner and options.\n\
             Labels are Docker's own and are not kept in the trash. If it had some, bring them \
             back,\nbefore anything uses or inspects it, with\n  docker volume create -d {driver}{options} \
             --label KEY=VALUE {name}\n",
            name = restored.name,
            driver = client.driver(),
        )
    })
}

fn purge(socket: Option<PathBuf>, args: Purge) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    // What is due is what may go without a word.
    let expired = args.expired || (args.entry.is_none() && !args.all);
    let one = args.entry.is_some();
    let request = api::TrashPurge { entry: args.entry, expired, all: args.all };
    let answer: api::Purged = client.ask("Dirvol.TrashPurge", &request)?;
    show(format, &answer, |done| {
        let purged = done.purged.iter().map(|entry| [entry.clone(), "purged".to_owned()]);
        let kept = done.kept.iter().map(|kept| [kept.name.clone(), format!("stays: {}", kept.why)]);
        let rows: Vec<_> = purged.chain(kept).collect();
        table(["ENTRY", "WHAT BECAME OF IT"], &rows)
    })?;
    match answer.kept.first() {
        Some(kept) if one => Err(Failure::Failed(format!("{} stays: {}", kept.name, kept.why))),
        _ => Ok(()),
    }
}
