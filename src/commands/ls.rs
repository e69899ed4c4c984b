//! `dirvol ls`, `dirvol inspect NAME`, `dirvol holders NAME`

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::output::{bar, known, show, table, table_with_numbers};
use super::{Failure, ask};
use crate::api;
use crate::cli::client::{Ls, One, Sort};
use crate::order;
use crate::volume::size;

/// Lists the volumes.
///
/// # Errors
/// The driver cannot be reached, or refuses.
pub fn ls(socket: Option<PathBuf>, args: Ls) -> Result<(), Failure> {
    let (client, format) = ask(socket, args.ask)?;
    let mut answer: api::Volumes = client.ask("Dirvol.List", &api::Nothing {})?;
    match args.sort {
        Sort::Name => {}
        // What is not known comes last.
        Sort::Used => order::sort(&mut answer.volumes, |a, b| b.used_bytes.cmp(&a.used_bytes)),
        Sort::Age => order::sort(&mut answer.volumes, |a, b| {
            let times = (a.created_at.as_ref(), b.created_at.as_ref());
            times.0.is_none().cmp(&times.1.is_none()).then(times.0.cmp(&times.1))
        }),
    }
    show(format, &answer.volumes, |volumes| {
        let heads =
            ["NAME", "SIZE", "USED", "HOLDERS", "AGE", "LAST USED", "RETAIN", "PROTECT", "HEALTH"];
        let now = SystemTime::now();
        let widest = volumes.iter().map(|volume| held(volume).len()).max().unwrap_or(0);
        let rows: Vec<_> = volumes
            .iter()
            .map(|volume| {
                let option =
                    |key| known(volume.options.as_ref().and_then(|options| options.get(key)));
                [
                    volume.name.clone(),
                    // No limit is no limit, whether it was stated or not.
                    Some(option("size")).filter(|size| size != "0").unwrap_or_else(|| "-".into()),
                    format!("{:>widest$}{}", held(volume), share(volume)),
                    volume.holders.to_string(),
                    since(volume.created_at.as_ref(), now),
                    since(volume.last_used.as_ref(), now),
                    option("retain"),
                    option("protect"),
                    volume.health.clone(),
                ]
            })
            .collect();
        table_with_numbers(heads, &["SIZE", "HOLDERS", "AGE", "LAST USED"], &rows)
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
        let nodes = holders
            .nodes
            .iter()
            .map(|node| [none(), none(), none(), none(), format!("node {node}")]);
        let rows: Vec<_> = mounts.chain(ids).chain(nodes).collect();
        table(["PID", "CONTAINER", "MOUNT ID", "SINCE", "MOUNTED AT"], &rows)
    })
}

/// What a volume holds.
fn held(volume: &api::Volume) -> String {
    volume.used_bytes.map_or_else(|| "-".into(), size::about)
}

/// How much of its limit a volume holds, where it has one.
fn share(volume: &api::Volume) -> String {
    let stated = volume.options.as_ref().and_then(|options| options.get("size"));
    let limit = stated.and_then(|size| size::parse(size)).filter(|&size| size > 0);
    let (Some(used), Some(limit)) = (volume.used_bytes, limit) else { return String::new() };
    let percent = u128::from(used) * 100 / u128::from(limit);
    format!(" {} {percent:>3}%", bar(used, limit))
}

/// The units in which people count how long ago something was, in seconds.
const UNITS: [(u64, char); 4] = [(365 * 86400, 'y'), (86400, 'd'), (3600, 'h'), (60, 'm')];

/// How long ago a time was, in the largest unit of which two have passed; of what
/// is still to come, 0.
fn since(time: Option<&String>, now: SystemTime) -> String {
    let Some(time) = time else { return "-".into() };
    let Ok(then) = humantime::parse_rfc3339(time) else { return time.clone() };
    let seconds = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    let unit = UNITS.iter().find(|(unit, _)| seconds >= 2 * unit);
    let (unit, letter) = unit.unwrap_or(&(1, 's'));
    format!("{}{letter}", seconds / unit)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_largest_unit_of_which_two_have_passed() {
        let then = "2026-11-24T10:00:00Z".to_owned();
        let start = humantime::parse_rfc3339(&then).unwrap();
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (2 * 86400 - 1, "47h"),
            (3 * 86400, "3d"),
            (729 * 86400, "729d"),
            (730 * 86400, "2y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(since(Some(&then), start + Duration::from_secs(seconds)), text);
        }
        assert_eq!(since(Some(&then), start - Duration::from_secs(5)), "0s", "a clock was set");
        assert_eq!(since(None, start), "-");
        assert_eq!(since(Some(&"soon".to_owned()), start), "soon");
    }
}
