//! `dirvol call METHOD [JSON]`

use std::path::PathBuf;

use super::output::print;
use super::{Failure, find};
use crate::cli::client::Call;

/// Sends a call as it is given, and prints the answer as it comes.
///
/// # Errors
/// The driver cannot be reached, or answered with another status than 200.
pub fn call(socket: Option<PathBuf>, args: Call) -> Result<(), Failure> {
    let method = args.method.trim_start_matches('/');
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
        return Err(Failure::Usage(format!(
            "{method:?} is no method: give one such as VolumeDriver.Get"
        )));
    }
    let client = find(args.socket.or(socket))?;
    let answer = client.call(method, args.body.into_bytes())?;
    print([&answer.body[..], b"\n"].concat())?;
    match answer.status {
        200 => Ok(()),
        status => Err(Failure::Failed(format!("{method} was answered with status {status}"))),
    }
}
