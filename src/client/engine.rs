//! What engines know and the driver does not: which volumes the containers need
//! that do not run.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::{Error, send};

/// Where engines listen; Podman has Docker's calls too.
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];

/// Asks for the volumes that a container refers to, `{"dangling":{"false":true}}`
/// (moby `daemon/volume/service/convert.go`).
const REFERRED: &str = "/volumes?filters=%7B%22dangling%22%3A%7B%22false%22%3Atrue%7D%7D";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
}

/// Returns the names of the volumes that containers need, of every engine whose
/// socket is there, at `$DOCKER_HOST` or in its usual place; `None` where there is
/// no engine.
///
/// # Errors
/// One cannot be asked: what it needs is not known then.
pub fn needed() -> Result<Option<Vec<String>>, Error> {
    let mut names = BTreeSet::new();
    let sockets = sockets()?;
    for socket in &sockets {
        names.extend(ask(socket)?);
    }
    Ok((!sockets.is_empty()).then(|| names.into_iter().collect()))
}

fn sockets() -> Result<Vec<PathBuf>, Error> {
    match env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => match host.strip_prefix("unix://") {
            Some(path) => Ok(vec![PathBuf::from(path)]),
            None => Err(Error::Failed(format!(
                "DOCKER_HOST={host}: only an engine at unix://PATH can be asked which volumes \
                 its containers need"
            ))),
        },
        _ => Ok(SOCKETS.map(PathBuf::from).into_iter().filter(|path| path.exists()).collect()),
    }
}

fn ask(socket: &Path) -> Result<Vec<String>, Error> {
    let cannot = |why: String| {
        Error::Failed(format!(
            "the engine at {} cannot be asked which volumes its containers need: {why}; \
             start it first",
            socket.display()
        ))
    };
    let answer = send(socket, &Method::GET, REFERRED, Vec::new())
        .map_err(|error| cannot(error.to_string()))?;
    if answer.status != StatusCode::OK.as_u16() {
        return Err(cannot(format!("it answered with status {}", answer.status)));
    }
    let volumes: Volumes =
        serde_json::from_slice(&answer.body).map_err(|error| cannot(error.to_string()))?;
    Ok(volumes.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
}
