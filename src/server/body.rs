//! The bodies of requests.

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::connection::SLOW;
use super::reply::Failure;
use crate::json;

/// The longest body that is read.
const LIMIT: usize = 1 << 20;

/// Reads a body that nobody needs: one that came later would be taken for the
/// next head.
pub(super) async fn pass_over(body: Incoming) {
    // Ignoring: the answer is the same, and what follows cannot be read.
    let _unneeded = timeout(SLOW, Limited::new(body, LIMIT).collect()).await;
}

/// The whole of a body that begins as a JSON object does.
#[derive(Debug)]
pub(super) struct Object(Bytes);

impl Object {
    /// Reads it.
    pub(super) async fn read(body: Incoming) -> Result<Self, Failure> {
        Self::new(whole(body).await?)
    }

    /// Makes it of what was read.
    pub(super) fn new(body: Bytes) -> Result<Self, Failure> {
        if body.is_empty() {
            return Err(bad(
                "the request's body is empty, as in a retry of a dropped call: try again".into(),
            ));
        }
        // An array would do for serde, field by field.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(bad("the request's body is not a JSON object".into()));
        }
        Ok(Self(body))
    }

    /// Understands it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        json::read(&self.0)
            .map_err(|error| bad(format!("the request's body cannot be used: {error}")))
    }
}

/// A request that makes no sense, for the reason `why`.
pub(super) fn bad(why: String) -> Failure {
    Failure::Request(StatusCode::BAD_REQUEST, why)
}

async fn whole(body: Incoming) -> Result<Bytes, Failure> {
    match timeout(SLOW, Limited::new(body, LIMIT).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let why = format!("the request's body is longer than {LIMIT} bytes");
            Err(Failure::Request(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Ok(Err(error)) => Err(bad(format!("the request's body cannot be read: {error}"))),
        Err(_) => {
            let why = format!("the request's body did not arrive within {} s", SLOW.as_secs());
            Err(Failure::Request(StatusCode::REQUEST_TIMEOUT, why))
        }
    }
}
