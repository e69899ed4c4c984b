//! The protocol's words: what is read from a body, and what is written into one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use crate::store::Scope;
use crate::volume::{Driver, Volume, VolumeName};

/// The body of every call that has one; each call reads what it needs. dockerd
/// sends `"Opts":null` for no options, Podman leaves the field out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Request {
    pub name: String,
    pub opts: Option<BTreeMap<String, String>>,
    #[serde(rename = "ID")]
    pub id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Activated {
    implements: [&'static str; 1],
}

pub(super) const ACTIVATED: Activated = Activated { implements: ["VolumeDriver"] };

/// Success with nothing to tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Done {
    err: &'static str,
}

pub(super) const DONE: Done = Done { err: "" };

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mountpoint {
    mountpoint: String,
    err: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Capabilities {
    #[serde(serialize_with = "scope")]
    capabilities: Scope,
    err: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List<'a> {
    volumes: Listed<'a>,
    err: &'static str,
}

/// Written name by name: there may be many.
#[derive(Debug)]
struct Listed<'a> {
    driver: &'a Driver,
    names: &'a [VolumeName],
    places: &'a BTreeMap<VolumeName, PathBuf>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Got {
    volume: Option<Described>,
    err: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    name: String,
    mountpoint: String,
    /// dockerd reads a Go time: RFC 3339 or nothing, never an empty string.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    status: Status,
}

/// What `docker volume inspect` shows.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Status {
    Volume(VolumeStatus),
    Fixture {
        #[serde(rename = "Hello")]
        hello: &'static str,
    },
}

#[derive(Debug, Serialize)]
struct VolumeStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Of a volume that was copied while its source might be written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    copied: Option<&'static str>,
    health: String,
    holders: Vec<HolderStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selinux: Option<String>,
    /// Of a volume with a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<UsedStatus>,
}

#[derive(Debug, Serialize)]
struct UsedStatus {
    bytes: u64,
    /// Where the kernel counts those.
    #[serde(skip_serializing_if = "Option::is_none")]
    inodes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct HolderStatus {
    id: String,
    count: u32,
    since: String,
}

impl Mountpoint {
    pub fn new(path: &std::path::Path) -> Self {
        Self { mountpoint: path.display().to_string(), err: "" }
    }
}

impl Capabilities {
    pub fn new(scope: Scope) -> Self {
        Self { capabilities: scope, err: "" }
    }
}

impl<'a> List<'a> {
    pub fn new(
        driver: &'a Driver,
        names: &'a [VolumeName],
        places: &'a BTreeMap<VolumeName, PathBuf>,
    ) -> Self {
        Self { volumes: Listed { driver, names, places }, err: "" }
    }
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct One<'a> {
            name: &'a str,
            mountpoint: String,
        }
        let mountpoint = |name| match self.places.get(name) {
            Some(place) => place.display().to_string(),
            None => self.driver.mountpoint(name).display().to_string(),
        };
        let one = |name| One { name: VolumeName::as_str(name), mountpoint: mountpoint(name) };
        serializer.collect_seq(self.names.iter().map(one))
    }
}

impl Got {
    /// Describes a volume with its holders and the options in force.
    pub fn new(driver: &Driver, volume: &Volume) -> Self {
        if volume.is_ninja() {
            return Self { volume: None, err: "" };
        }
        let record = volume.record.as_ref();
        let created =
            record.map(|record| humantime::format_rfc3339_seconds(record.created).to_string());
        let status = match driver.fixture() {
            crate::volume::Fixture::On => Status::Fixture { hello: "world" },
            crate::volume::Fixture::Off => Status::Volume(VolumeStatus {
                created: created.clone(),
                copied: record.is_some_and(|record| record.stated.live).then_some("live"),
                health: volume.health.to_string(),
                holders: driver
                    .holders_of(&volume.name)
                    .into_iter()
                    .map(|holder| HolderStatus {
                        id: holder.id,
                        count: holder.count,
                        since: humantime::format_rfc3339_seconds(holder.since).to_string(),
                    })
                    .collect(),
                limit: volume
                    .holds
                    .as_ref()
                    .and_then(|holds| holds.as_ref().err())
                    .map(|why| format!("not kept: {why}")),
                used: volume
                    .holds
                    .as_ref()
                    .and_then(|holds| holds.as_ref().ok())
                    .map(|held| UsedStatus { bytes: held.bytes, inodes: held.inodes }),
                options: record.map(|record| driver.in_force(record).to_map()),
                selinux: volume.mislabelled.clone(),
            }),
        };
        let mountpoint = driver.mountpoint_of(volume).display().to_string();
        let name = volume.name.to_string();
        Self { volume: Some(Described { name, mountpoint, created_at: created, status }), err: "" }
    }
}

fn scope<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inner {
        scope: &'static str,
    }
    Inner { scope: scope.as_str() }.serialize(serializer)
}
