//! What a request asks for, without doing it: `fuzz/` throws anything at it.

use hyper::body::Bytes;

use super::body::{Object, bad};
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
    if matches!(endpoint, Endpoint::Activate | Endpoint::Capabilities | Endpoint::List) {
        return Ok(Heard::default());
    }
    let body = Object::new(Bytes::copy_from_slice(body))?;
    match endpoint {
        Endpoint::DirvolList | Endpoint::DirvolTrashList => {
            let api::Nothing {} = body.parse()?;
            Ok(Heard::default())
        }
        Endpoint::DirvolClone => {
            let request: api::Clone = body.parse()?;
            volume(request.from)?;
            with(request.name, &request.opts)
        }
        Endpoint::DirvolExport => {
            let request: api::Export = body.parse()?;
            about(request.name)
        }
        Endpoint::DirvolHolders
        | Endpoint::DirvolProgress
        | Endpoint::DirvolRelease
        | Endpoint::DirvolRemove
        | Endpoint::DirvolUsage => {
            let request: api::Named = body.parse()?;
            about(request.name)
        }
        Endpoint::DirvolSet => {
            let request: api::Set = body.parse()?;
            with(request.name, &request.opts)
        }
        Endpoint::DirvolPrune => {
            let request: api::Prune = body.parse()?;
            duration(&request.unused_for).map_err(|why| bad(why.to_string()))?;
            Ok(Heard::default())
        }
        Endpoint::DirvolTrashRestore => {
            let request: api::TrashRestore = body.parse()?;
            let volume = request.name.map(volume).transpose()?;
            Ok(Heard { volume, entry: TrashName::parse(&request.entry), options: None })
        }
        Endpoint::DirvolTrashPurge => {
            let request: api::TrashPurge = body.parse()?;
            let entry = request.entry.as_deref().and_then(TrashName::parse);
            Ok(Heard { entry, ..Heard::default() })
        }
        _ => {
            let request: wire::Request = body.parse()?;
            with(request.name, &request.opts.unwrap_or_default())
        }
    }
}
