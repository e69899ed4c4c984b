//! What a request asks for, without doing it: `fuzz/` throws anything at it.

use super::body::{bad, parse};
use super::reply::Failure;
use super::routes::endpoint;
use super::verbs::options;
use super::wire;
use crate::api;
use crate::metrics::Endpoint;
use crate::store::TrashName;
use crate::volume::value::duration;
use crate::volume::{Error, Fixture, Options, VolumeName};

/// What was understood of a request.
#[derive(Debug, Default)]
pub struct Heard {
    /// The volume that is to be there afterwards, or that is asked about.
    pub volume: Option<VolumeName>,
    /// The options that are asked for.
    pub options: Option<Options>,
    /// The entry of the trash that is meant, where its name is given whole.
    pub entry: Option<TrashName>,
}

/// Reads a POST to `path` with the functions that the driver reads it with.
///
/// # Errors
/// The body of the answer that refuses it.
pub fn hear(path: &str, body: &[u8]) -> Result<Heard, Vec<u8>> {
    understand(endpoint(path), body).map_err(|failure| failure.to_body())
}

fn understand(endpoint: Endpoint, body: &[u8]) -> Result<Heard, Failure> {
    let volume = |name: String| -> Result<VolumeName, Failure> {
        VolumeName::new(&name).ok_or_else(|| Error::BadName(name).into())
    };
    let about = |name: String| -> Result<Heard, Failure> {
        Ok(Heard { volume: Some(volume(name)?), ..Heard::default() })
    };
    let with = |name: String, opts: &api::Options| -> Result<Heard, Failure> {
        let name = volume(name)?;
        let options = options(&name, opts, Fixture::Off)?;
        Ok(Heard { volume: Some(name), options: Some(options), entry: None })
    };
    match endpoint {
        Endpoint::Activate | Endpoint::Capabilities | Endpoint::List => Ok(Heard::default()),
        Endpoint::DirvolList | Endpoint::DirvolTrashList => {
            let api::Nothing {} = parse(body)?;
            Ok(Heard::default())
        }
        Endpoint::DirvolHolders | Endpoint::DirvolRemove => {
            let request: api::Named = parse(body)?;
            about(request.name)
        }
        Endpoint::DirvolSet => {
            let request: api::Set = parse(body)?;
            with(request.name, &request.opts)
        }
        Endpoint::DirvolPrune => {
            let request: api::Prune = parse(body)?;
            duration(&request.unused_for).map_err(|why| bad(why.to_string()))?;
            Ok(Heard::default())
        }
        Endpoint::DirvolTrashRestore => {
            let request: api::TrashRestore = parse(body)?;
            let volume = request.name.map(volume).transpose()?;
            Ok(Heard { volume, entry: TrashName::parse(&request.entry), options: None })
        }
        Endpoint::DirvolTrashPurge => {
            let request: api::TrashPurge = parse(body)?;
            let entry = request.entry.as_deref().and_then(TrashName::parse);
            Ok(Heard { entry, ..Heard::default() })
        }
        _ => {
            let request: wire::Request = parse(body)?;
            with(request.name, &request.opts.unwrap_or_default())
        }
    }
}
