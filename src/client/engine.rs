//! What engines know and the driver does not: which volumes the containers need
//! that do not run.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Error, LIMIT, send};
use crate::json;
use crate::order;

/// Where engines listen; Podman has Docker's calls too.
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];

/// All containers, those that do not run among them, with the volumes that they were
/// created with.
const CONTAINERS: &str = "/containers/json?all=true";

/// The volumes that the engine itself holds for containers, which is not all: dockerd
/// forgets of a stopped container what it could not ask a driver for when it started
/// (measured on 20.10).
const HELD: &str = "/volumes?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    /// Absent where it is no volume.
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    volumes: Option<Vec<Mount>>,
    /// What the engine could not find out.
    warnings: Option<Vec<String>>,
}

/// The volumes of an engine's own, which it asks no driver for.
const LOCAL: &str = "/volumes?filters=%7B%22driver%22%3A%7B%22local%22%3Atrue%7D%7D";

/// What an engine is asked, for the message that says that it cannot be.
const NEEDED: &str = "which volumes its containers need";
const OWN: &str = "which volumes of its own it has";

/// The volumes of an engine's own.
#[derive(Debug)]
pub struct Own {
    /// Where the engine listens.
    pub socket: PathBuf,
    /// Their names.
    pub names: Vec<String>,
}

/// Returns the names of the volumes that containers need, of every engine whose
/// socket is there, at `$DOCKER_HOST` or in a usual place; `None` where there is no
/// engine.
///
/// # Errors
/// One cannot be asked: what it needs is not known then.
pub fn needed() -> Result<Option<Vec<String>>, Error> {
    let mut names = Vec::new();
    let sockets = sockets(NEEDED)?;
    for socket in &sockets {
        names.extend(ask(socket)?);
    }
    order::sort(&mut names, Ord::cmp);
    names.dedup();
    Ok((!sockets.is_empty()).then_some(names))
}

/// Returns the volumes of the driver `local` of every engine, as [`needed`] finds
/// them, and why one could not be asked within `limit`.
pub fn own(limit: Duration) -> Vec<Result<Own, Error>> {
    let ask = |socket: PathBuf| {
        let held: Volumes = get(&socket, LOCAL, OWN, limit)?;
        let names = held.volumes.unwrap_or_default().into_iter().map(|mount| mount.name);
        Ok(Own { names: names.collect(), socket })
    };
    match sockets(OWN) {
        Ok(sockets) => sockets.into_iter().map(ask).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn sockets(what: &str) -> Result<Vec<PathBuf>, Error> {
    let mut sockets = Vec::new();
    if let Some(host) = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        let path = host.strip_prefix("unix://").ok_or_else(|| {
            Error::Failed(format!(
                "DOCKER_HOST={host}: only an engine at unix://PATH can be asked {what}"
            ))
        })?;
        sockets.push(PathBuf::from(path));
    }
    for path in SOCKETS.map(Path::new) {
        match path.try_exists() {
            Ok(false) => {}
            Ok(true) if sockets.iter().any(|known| known == path) => {}
            Ok(true) => sockets.push(path.to_path_buf()),
            Err(error) => return Err(cannot_ask(path, what, &error.to_string())),
        }
    }
    Ok(sockets)
}

fn ask(socket: &Path) -> Result<Vec<String>, Error> {
    let containers: Vec<Container> = get(socket, CONTAINERS, NEEDED, LIMIT)?;
    let held: Volumes = get(socket, HELD, NEEDED, LIMIT)?;
    if let Some(warning) = held.warnings.unwrap_or_default().first() {
        return Err(cannot_ask(socket, NEEDED, warning));
    }
    let mounted = containers.into_iter().flat_map(|container| container.mounts);
    let all = mounted.chain(held.volumes.unwrap_or_default()).map(|mount| mount.name);
    Ok(all.filter(|name| !name.is_empty()).collect())
}

fn get<T: DeserializeOwned>(
    socket: &Path,
    target: &str,
    what: &str,
    limit: Duration,
) -> Result<T, Error> {
    let cannot = |why: &str| cannot_ask(socket, what, why);
    let answer = send(socket, &Method::GET, target, Vec::new(), limit)
        .map_err(|error| cannot(&error.to_string()))?;
    if answer.status != StatusCode::OK.as_u16() {
        return Err(cannot(&format!("it answered with status {}", answer.status)));
    }
    json::read(&answer.body).map_err(|error| cannot(&error.to_string()))
}

fn cannot_ask(socket: &Path, what: &str, why: &str) -> Error {
    let shown = socket.display();
    let denied = why.contains("Permission denied");
    let cure = if denied { "run this as root" } else { "start it first" };
    Error::Failed(format!("the engine at {shown} cannot be asked {what}: {why}; {cure}"))
}
