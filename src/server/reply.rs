//! What is answered: one place that knows which status an error has.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, TRAILER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::app::{ARCHIVES, SLOTS};
use super::stream::{Body, Sent};
use crate::api::LEFT_OUT;
use crate::metrics::ErrorKind;
use crate::volume::Error;

/// What moby's own fixture answers with; engines do not look at it.
const PLUGIN_JSON: &str = "application/vnd.docker.plugins.v1.2+json";

/// What comes of a call.
#[derive(Debug)]
pub(super) enum Reply {
    /// Success: a body of JSON.
    Answer(Vec<u8>),
    /// Success: an archive, which is still being made.
    Archive(Sent),
    /// An error that is told.
    Failed(Failure),
    /// No answer: the connection is closed, and what the engine knows of the
    /// volume stays as it is (moby `volume/service/store.go`, lookupVolume).
    Close(Failure),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The operation on the volume failed.
    #[error("{0}")]
    Volume(Error),
    /// The request makes no sense.
    #[error("{1}")]
    Request(StatusCode, String),
    /// Too many operations wait for the disk.
    #[error("dirvol is busy: {SLOTS} operations wait for the disk; see the kernel's log for it")]
    Busy,
    /// Too many archives are on their way.
    #[error("dirvol is busy: {ARCHIVES} archives are on their way; try again when one is there")]
    Crowded,
    /// The operation still runs.
    #[error(
        "the disk has not answered for {} s; the call goes on and may be repeated",
        .0.as_secs()
    )]
    Slow(Duration),
    /// The volume still is being copied.
    #[error(
        "volume {0} is still being copied after {seconds} s; the copy goes on, and the same call \
         waits for its end",
        seconds = .1.as_secs()
    )]
    Copying(String, Duration),
    /// The operation met a defect of ours.
    #[error("dirvol has a defect, please report it: {0}")]
    Panicked(String),
}

impl Failure {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Request(status, _) => *status,
            Self::Busy | Self::Crowded | Self::Slow(_) | Self::Copying(..) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Volume(error) => match error {
                Error::NoSuchVolume(_) | Error::NoSuchEntry(..) | Error::NoSource(..) => {
                    StatusCode::NOT_FOUND
                }
                Error::BadName(_)
                | Error::BadOption(..)
                | Error::Archive(..)
                | Error::CopyOfItself(_)
                | Error::CopyOfPlace(..)
                | Error::MoreThanLimit(..)
                | Error::NotToGive { .. }
                | Error::NoLimits(..)
                | Error::NotReleased(..) => StatusCode::BAD_REQUEST,
                Error::OptionsDiffer(..)
                | Error::InUse(..)
                | Error::InUseByNode(..)
                | Error::SourceInUse { .. }
                | Error::Torn(..)
                | Error::Protected(_)
                | Error::Exists(_)
                | Error::Taken(_)
                | Error::Blind
                | Error::OnlyThisNode => StatusCode::CONFLICT,
                Error::Unavailable(_) | Error::Occupied(_) | Error::TooManyCopies(_) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                Error::Damaged(..)
                | Error::NoPlace(..)
                | Error::Disk(..)
                | Error::Root(_)
                | Error::Fixture => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// Returns the body that tells of it.
    pub fn to_body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Told {
            #[serde(rename = "Err")]
            err: String,
        }
        // A line break would tear the engine's message apart, and a terminal obeys others.
        let err = self.to_string().replace(['\n', '\r'], " ").replace(char::is_control, "?");
        serde_json::to_vec(&Told { err }).expect("it is text")
    }

    /// Returns what the failure is counted as.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(..) => ErrorKind::BadRequest,
            Self::Busy | Self::Crowded => ErrorKind::Busy,
            Self::Slow(_) | Self::Copying(..) => ErrorKind::Slow,
            Self::Panicked(_) => ErrorKind::Defect,
            Self::Volume(error) => match error {
                Error::NoSuchVolume(_) | Error::NoSource(..) => ErrorKind::NoSuchVolume,
                Error::BadName(_) => ErrorKind::BadName,
                Error::BadOption(..)
                | Error::CopyOfItself(_)
                | Error::CopyOfPlace(..)
                | Error::MoreThanLimit(..)
                | Error::NotToGive { .. }
                | Error::NoLimits(..) => ErrorKind::BadOption,
                Error::OptionsDiffer(..) => ErrorKind::OptionsDiffer,
                Error::InUse(..)
                | Error::InUseByNode(..)
                | Error::SourceInUse { .. }
                | Error::Torn(..) => ErrorKind::InUse,
                Error::NotReleased(..) => ErrorKind::BadRequest,
                Error::Protected(_) => ErrorKind::Protected,
                Error::NoSuchEntry(..) => ErrorKind::NoSuchEntry,
                Error::Exists(_) | Error::Taken(_) => ErrorKind::Exists,
                Error::Archive(..) => ErrorKind::BadArchive,
                Error::Blind | Error::OnlyThisNode => ErrorKind::Blind,
                Error::Damaged(..) | Error::NoPlace(..) => ErrorKind::Damaged,
                Error::Occupied(_) | Error::TooManyCopies(_) => ErrorKind::Busy,
                Error::Unavailable(_) => ErrorKind::Unavailable,
                Error::Disk(..) | Error::Root(_) => ErrorKind::Disk,
                Error::Fixture => ErrorKind::Fixture,
            },
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Volume(error)
    }
}

impl Reply {
    /// Answers with `body`, which must have a field `Err` where the protocol
    /// wants one.
    pub fn json(body: &impl Serialize) -> Self {
        Self::Answer(serde_json::to_vec(body).expect("an answer has only text and numbers"))
    }

    /// Makes the response, or `None` where the connection is to be closed.
    pub fn into_response(self) -> Option<Response<Body>> {
        match self {
            Self::Answer(body) => Some(response(StatusCode::OK, PLUGIN_JSON, body)),
            Self::Archive(sent) => {
                let mut response = Response::new(Body::Archive(sent));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
                headers.insert(TRAILER, HeaderValue::from_static(LEFT_OUT));
                Some(response)
            }
            Self::Failed(failure) => {
                Some(response(failure.status(), PLUGIN_JSON, failure.to_body()))
            }
            Self::Close(_) => None,
        }
    }
}

/// Makes a response of any kind.
pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
