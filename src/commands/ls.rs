//! `dirvol ls`, `dirvol inspect NAME`, `dirvol holders NAME`

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::output::{known, show, table};
use super::{Failure, ask};
use crate::api;
use crate::cli::client::{List, One};
use crate::volume::size;

/// Lists the volumes.
///
/// # Errors
/// The driver cannot be reached, or refuses.
pub fn ls(socket: Option<PathBuf>, args: List) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let answer: api::Volumes = client.ask("Dirvol.List", &api::Nothing {})?;
    show(format, &answer.volumes, |volumes| {
        let heads = [
            "NAME",
            "SIZE",
            "USED",
            "CREATED",
            "LAST USED",
            "HOLDERS",
            "RETAIN",
            "PROTECT",
            "HEALTH",
        ];
        let rows: Vec<_> = volumes
            .iter()
            .map(|volume| {
                let option =
                    |key| known(volume.options.as_ref().and_then(|options| options.get(key)));
                [
                    volume.name.clone(),
                    option("size"),
                    used(volume),
                    known(volume.created_at.as_ref()),
                    known(volume.last_used.as_ref()),
                    volume.holders.to_string(),
                    option("retain"),
                    option("protect"),
                    volume.health.clone(),
                ]
            })
            .collect();
        table(heads, &rows)
    })
}

/// Shows a volume as the driver shows it to engines.
///
/// # Errors
/// The driver cannot be reached, or there is no such volume.
pub fn inspect(socket: Option<PathBuf>, args: One) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Got {
        volume: Option<Map<String, Value>>,
    }
    let (client, format) = ask(socket, args.ask)?;
    let request = api::Named { name: args.name };
    let got: Got = client.ask("VolumeDriver.Get", &request)?;
    let volume =
        got.volume.ok_or_else(|| Failure::Failed(format!("no such volume: {}", request.name)))?;
    show(format, &volume, |volume| {
        let mut rows = Vec::new();
        for (key, value) in volume {
            match value {
                Value::Object(status) => {
                    rows.extend(status.iter().map(|(key, value)| [key.clone(), plain(value)]));
                }
                value => rows.push([key.clone(), plain(value)]),
            }
        }
        table(["FIELD", "VALUE"], &rows)
    })
}

/// Shows who has a volume mounted, and who said so.
///
/// # Errors
/// The driver cannot be reached, or there is no such volume.
pub fn holders(socket: Option<PathBuf>, args: One) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let answer: api::Holders = client.ask("Dirvol.Holders", &api::Named { name: args.name })?;
    show(format, &answer, |holders| {
        let none = || "-".to_owned();
        let mounts = holders.mounts.iter().map(|mount| {
            let (pid, at) = (mount.pid.to_string(), mount.mountpoint.clone());
            let (container, since) = (known(mount.container.as_ref()), known(mount.since.as_ref()));
            let container = format!("{container:.12}");
            [pid, container, none(), since, at]
        });
        let ids = holders.mount_ids.iter().map(|holder| {
            let id = match holder.count {
                1 => format!("{:.12}", holder.id),
                count => format!("{:.12} ({count} times)", holder.id),
            };
            [none(), none(), id, holder.since.clone(), none()]
        });
        let rows: Vec<_> = mounts.chain(ids).collect();
        table(["PID", "CONTAINER", "MOUNT ID", "SINCE", "MOUNTED AT"], &rows)
    })
}

/// How wide a full bar is.
const BAR: u64 = 10;

/// What a volume holds, and a bar for how much of its limit that is.
fn used(volume: &api::Volume) -> String {
    let Some(bytes) = volume.used_bytes else { return "-".into() };
    let stated = volume.options.as_ref().and_then(|options| options.get("size"));
    match stated.and_then(|size| size::parse(size)).filter(|&size| size > 0) {
        None => size::about(bytes),
        Some(limit) => {
            let share = |of: u64| {
                u64::try_from(u128::from(bytes) * u128::from(of) / u128::from(limit)).unwrap_or(of)
            };
            let full = usize::try_from(share(BAR).min(BAR)).unwrap_or(0);
            let bar = format!("{:.<10}", "#".repeat(full));
            format!("{} [{bar}] {}%", size::about(bytes), share(100))
        }
    }
}

/// A value without the marks that JSON needs.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}={}", plain(value))).collect();
            pairs.join(" ")
        }
        Value::Array(values) if values.is_empty() => "none".into(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
