//! The calls that are not Docker's, `/Dirvol.<Verb>`: what a person asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::body::{Object, bad};
use super::reply::{Failure, Reply};
use super::routes::{Call, SHORT_LIMIT};
use crate::api;
use crate::metrics::{Endpoint, Purge};
use crate::volume::change::Removed;
use crate::volume::overview::Overview;
use crate::volume::prune::{Fate, Prune};
use crate::volume::trash::{Entry, Which};
use crate::volume::value::duration;
use crate::volume::{Driver, Error, Fixture, Options, VolumeName};

impl Call<'_> {
    /// Answers a call of ours.
    pub(super) async fn verb(&mut self, body: Incoming) -> Result<Reply, Failure> {
        let body = Object::read(body).await?;
        match self.endpoint {
            Endpoint::DirvolList => {
                let api::Nothing {} = body.parse()?;
                self.list_all().await
            }
            Endpoint::DirvolAdopt => self.adopt(body.parse()?).await,
            Endpoint::DirvolClone => self.clone_volume(body.parse()?).await,
            Endpoint::DirvolProgress => {
                let request: api::Named = body.parse()?;
                self.progress(request.name)
            }
            Endpoint::DirvolHolders => {
                let request: api::Named = body.parse()?;
                self.holders(request.name).await
            }
            Endpoint::DirvolRemove => {
                let request: api::Named = body.parse()?;
                self.remove_and_tell(request.name).await
            }
            Endpoint::DirvolSet => self.set(body.parse()?).await,
            Endpoint::DirvolPrune => self.prune(body.parse()?).await,
            Endpoint::DirvolExport => self.export(body.parse()?).await,
            Endpoint::DirvolTrashList => {
                let api::Nothing {} = body.parse()?;
                self.trash().await
            }
            Endpoint::DirvolTrashRestore => self.restore(body.parse()?).await,
            Endpoint::DirvolTrashPurge => self.purge(body.parse()?).await,
            Endpoint::DirvolRelease => {
                let request: api::Named = body.parse()?;
                self.release(request.name).await
            }
            Endpoint::DirvolUsage => self.usage(body.parse()?).await,
            _ => unreachable!("the others are Docker's"),
        }
    }

    async fn list_all(&self) -> Result<Reply, Failure> {
        let all = self.app.read_from_disk(SHORT_LIMIT, Driver::overview).await?;
        let volume = |one: Overview| api::Volume {
            mountpoint: one.mountpoint.display().to_string(),
            name: one.name.to_string(),
            created_at: one.created.and_then(time),
            last_used: one.used.and_then(time),
            holders: one.holders,
            health: one.health.to_string(),
            options: one.options.map(|options| options.to_map()),
            used_bytes: one.holds.map(|holds| holds.bytes),
            used_inodes: one.holds.and_then(|holds| holds.inodes),
        };
        success(&api::Volumes { volumes: all.into_iter().map(volume).collect() })
    }

    async fn holders(&mut self, name: String) -> Result<Reply, Failure> {
        let name = self.named(name)?;
        let wanted = name.clone();
        let who = move |driver: &Driver| Ok((driver.who_has(&wanted)?, driver.nodes_of(&wanted)?));
        let (mounts, nodes) = self.app.read_from_disk(SHORT_LIMIT, who).await?;
        let mounts = mounts.into_iter().map(|mount| api::Mount {
            pid: mount.pid,
            container: mount.container,
            mountpoint: mount.mountpoint.display().to_string(),
            since: mount.since.and_then(time),
        });
        let ids = self.app.driver.holders_of(&name).into_iter().map(|holder| api::MountId {
            id: holder.id,
            count: holder.count,
            since: humantime::format_rfc3339_seconds(holder.since).to_string(),
        });
        let nodes = nodes.iter().map(ToString::to_string).collect();
        success(&api::Holders { mounts: mounts.collect(), mount_ids: ids.collect(), nodes })
    }

    async fn release(&mut self, node: String) -> Result<Reply, Failure> {
        self.note = Some(format!("node {}", node.escape_debug()));
        let released = move |driver: &Driver| driver.release(&node);
        let volumes = self.app.on_disk(SHORT_LIMIT, released).await?;
        success(&json!({"Volumes": volumes}))
    }

    /// Removes a volume as Docker does, and says where it went. That there is none
    /// is an error here: a person has mistyped its name.
    async fn remove_and_tell(&mut self, name: String) -> Result<Reply, Failure> {
        let name = self.named(name)?;
        let wanted = name.clone();
        let removed = self.app.on_disk(SHORT_LIMIT, move |driver| driver.remove(&wanted)).await?;
        if removed == Removed::Absent {
            return Err(Error::NoSuchVolume(name.to_string()).into());
        }
        self.note = Some(told(&removed));
        let space_is_low = matches!(removed, Removed::Kept { space_is_low: true, .. });
        success(&api::Removed { space_is_low, ..described(&name, None, &Fate::Removed(removed)) })
    }

    async fn set(&mut self, request: api::Set) -> Result<Reply, Failure> {
        let name = self.named(request.name)?;
        if request.opts.is_empty() {
            return Err(bad(format!("volume {name}: nothing is to be set")));
        }
        let options = options(&name, &request.opts, Fixture::Off)?;
        let changed: Vec<&str> = request.opts.keys().map(String::as_str).collect();
        self.note = Some(format!("set: {}", changed.join(", ")));
        let set = self.app.on_disk(SHORT_LIMIT, move |driver| driver.set(&name, &options)).await?;
        success(&api::InForce { options: set.to_map() })
    }

    async fn prune(&mut self, request: api::Prune) -> Result<Reply, Failure> {
        let unused_for = duration(&request.unused_for).map_err(|why| bad(why.to_string()))?;
        let dry_run = request.dry_run;
        let needed = request.needed.map(|names| names.into_iter().collect());
        let prune = Arc::new(Prune { unused_for, dry_run, needed });
        let wanted = Arc::clone(&prune);
        let old = self.app.on_disk(SHORT_LIMIT, move |driver| driver.to_prune(&wanted)).await?;
        let mut answer = api::Pruned { removed: Vec::new(), kept: Vec::new() };
        // Each is a call of its own: there may be many, and what was done is told of
        // even if the next one fails.
        for (name, used) in old {
            let (prune, wanted) = (Arc::clone(&prune), name.clone());
            let pruning = move |driver: &Driver| driver.prune(&wanted, &prune);
            let fate = match self.app.on_disk(SHORT_LIMIT, pruning).await {
                Ok(None) => continue,
                Ok(Some(Fate::Kept(why))) => {
                    answer.kept.push(api::Kept { name: name.to_string(), why });
                    continue;
                }
                Err(failure) => {
                    let why = failure.to_string();
                    answer.kept.push(api::Kept { name: name.to_string(), why });
                    continue;
                }
                Ok(Some(fate)) => fate,
            };
            if let Fate::Removed(removed) = &fate {
                let (op, volume) = (self.endpoint.as_str(), name.as_str());
                tracing::info!(op, volume, "{}", told(removed));
            }
            answer.removed.push(described(&name, Some(used), &fate));
        }
        let what = if dry_run { "would be removed" } else { "removed" };
        self.note = Some(format!("{} {what}", answer.removed.len()));
        success(&answer)
    }

    async fn trash(&self) -> Result<Reply, Failure> {
        let entries = self.app.read_from_disk(SHORT_LIMIT, Driver::trash).await?;
        let entry = |entry: Entry| api::Entry {
            entry: entry.name.file().to_string(),
            name: entry.name.volume().to_string(),
            removed_at: time(entry.name.removed()),
            expires_at: entry.expires.and_then(time),
            health: match &entry.record {
                Ok(_) => "ok".into(),
                Err(why) => format!("damaged: {why}"),
            },
            options: entry.record.ok().map(|record| record.stated.to_map()),
        };
        success(&api::Trash { entries: entries.into_iter().map(entry).collect() })
    }

    async fn restore(&mut self, request: api::TrashRestore) -> Result<Reply, Failure> {
        self.name = request.name.clone().unwrap_or_else(|| request.entry.clone());
        let name = match request.name {
            Some(name) => {
                Some(VolumeName::new(&name).ok_or_else(|| Failure::from(Error::BadName(name)))?)
            }
            None => None,
        };
        let entry = request.entry.clone();
        let restore = move |driver: &Driver| driver.restore(&entry, name);
        let volume = self.app.on_disk(SHORT_LIMIT, restore).await?;
        self.name = volume.name.to_string();
        self.note = Some(format!("restored from the trash: {}", request.entry.escape_debug()));
        let stated = volume.record.as_ref().map(|record| record.stated.to_map());
        success(&api::Restored {
            mountpoint: self.app.driver.mountpoint_of(&volume).display().to_string(),
            name: volume.name.to_string(),
            health: volume.health.to_string(),
            options: stated.unwrap_or_default(),
        })
    }

    async fn purge(&mut self, request: api::TrashPurge) -> Result<Reply, Failure> {
        let which = match (request.entry, request.expired, request.all) {
            (Some(entry), false, false) => Which::One(entry),
            (None, true, false) => Which::Expired,
            (None, false, true) => Which::All,
            _ => return Err(bad("one is to be given of Entry, Expired and All".into())),
        };
        let entries = self.app.on_disk(SHORT_LIMIT, move |driver| driver.to_purge(&which)).await?;
        let mut answer = api::Purged { purged: Vec::new(), kept: Vec::new() };
        for entry in entries {
            let (name, wanted) = (entry.file().to_string(), entry.clone());
            let purging = move |driver: &Driver| driver.purge(&wanted);
            match self.app.on_disk(SHORT_LIMIT, purging).await {
                Ok(None) => {
                    self.app.metrics.count_purge(Purge::Asked);
                    let (op, volume) = (self.endpoint.as_str(), entry.volume().as_str());
                    tracing::info!(op, volume, entry = name, "purged, as asked for");
                    answer.purged.push(name);
                }
                Ok(Some(why)) => answer.kept.push(api::Kept { name, why }),
                Err(failure) => answer.kept.push(api::Kept { name, why: failure.to_string() }),
            }
        }
        self.note = Some(format!("{} purged", answer.purged.len()));
        success(&answer)
    }

    /// Returns the name of a volume that may exist.
    pub(super) fn named(&mut self, name: String) -> Result<VolumeName, Failure> {
        self.name = name;
        let known = VolumeName::new(&self.name);
        known.ok_or_else(|| Error::NoSuchVolume(self.name.escape_debug().to_string()).into())
    }
}

/// Tells where a removed volume went, and how its space is freed now.
pub(super) fn told(removed: &Removed) -> String {
    match removed {
        Removed::Kept { entry, retain, space_is_low } => {
            let (entry, retain) = (entry.file(), humantime::format_duration(*retain));
            let low = if *space_is_low { ", or less: space is low" } else { "" };
            format!(
                "kept in the trash as {entry} for {retain}{low}; 'dirvol trash purge {entry}' \
                 frees its space now"
            )
        }
        Removed::Deleted => "deleted for good".into(),
        Removed::Forgotten(path) => format!("forgotten; {} stays as it is", path.display()),
        Removed::Absent => "there was none".into(),
    }
}

/// Where a removed volume is, and for how long.
fn described(name: &VolumeName, used: Option<SystemTime>, fate: &Fate) -> api::Removed {
    let (entry, retain, path) = match fate {
        Fate::Removed(Removed::Kept { entry, retain, .. }) => {
            (Some(entry.file().to_string()), Some(*retain), None)
        }
        Fate::Removable(retain) => (None, Some(*retain), None),
        Fate::Removed(Removed::Forgotten(path)) | Fate::Forgettable(path) => {
            (None, None, Some(path.display().to_string()))
        }
        Fate::Removed(Removed::Deleted | Removed::Absent) | Fate::Kept(_) => (None, None, None),
    };
    let retain = retain.map(|retain| humantime::format_duration(retain).to_string());
    let (name, last_used) = (name.to_string(), used.and_then(time));
    api::Removed { name, last_used, entry, retain, path, space_is_low: false }
}

/// Reads the options of a call about the volume `name`.
pub(super) fn options(
    name: &VolumeName,
    opts: &BTreeMap<String, String>,
    fixture: Fixture,
) -> Result<Options, Failure> {
    let stated = opts.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Options::parse(stated, fixture)
        .map_err(|error| Error::BadOption(name.to_string(), error).into())
}

/// Answers with success: with the members of `answer`, which has some, and with the
/// empty `Err` of the protocol.
pub(super) fn success(answer: &impl Serialize) -> Result<Reply, Failure> {
    let answer = serde_json::to_vec(answer).expect("an answer has only text and numbers");
    Ok(Reply::Answer(succeeded(answer)))
}

/// Puts `Err` behind the other members. For serde to do it, each answer had to be
/// written in a second way.
fn succeeded(mut object: Vec<u8>) -> Vec<u8> {
    let end = object.pop();
    debug_assert_eq!(end, Some(b'}'), "an answer is an object");
    object.extend_from_slice(b",\"Err\":\"\"}");
    object
}

/// Returns a time as RFC 3339 has it, which ends with the year 9999.
fn time(time: SystemTime) -> Option<String> {
    let end = UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    (time < end).then(|| humantime::format_rfc3339_seconds(time).to_string())
}
