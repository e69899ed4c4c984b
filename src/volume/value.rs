//! The values of options, each read from text and checked.

use std::time::Duration;

use super::name::VolumeName;
use super::options::BadOption;
use super::size;

/// The least size that may be asked for: less than that is a mistyped unit.
pub(super) const LEAST_SIZE: u64 = 1 << 20;

pub(super) fn id(key: &str, value: &str) -> Result<u32, BadOption> {
    // The highest id means "leave it" to chown(2).
    let id = digits(value).and_then(|value| value.parse().ok()).filter(|&id| id != u32::MAX);
    id.ok_or_else(|| {
        BadOption(format!(
            "option {key:?} is {value:?}: give a number from 0 to {}, not a name",
            u32::MAX - 1
        ))
    })
}

pub(super) fn mode(value: &str) -> Result<u32, BadOption> {
    let octal = value.strip_prefix("0o").unwrap_or(value);
    let mode = digits(octal).and_then(|octal| u32::from_str_radix(octal, 8).ok());
    mode.filter(|&mode| mode <= 0o7777).ok_or_else(|| {
        BadOption(format!("option \"mode\" is {value:?}: give octal digits, 0000 to 7777"))
    })
}

/// Reads the path of a directory in its one spelling: a slash at its end is dropped.
pub(super) fn path(value: &str) -> Result<String, BadOption> {
    let path = value.strip_suffix('/').unwrap_or(value);
    // A path of the kernel's is 4095 bytes long and a NUL.
    if path.len() > 4095 {
        let bytes = path.len();
        return Err(BadOption(format!("option \"path\" is {bytes} bytes long: 4095 are the most")));
    }
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    let whole = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    whole.then(|| path.to_owned()).ok_or_else(|| {
        BadOption(format!(
            "option \"path\" is {value:?}: give an absolute path without '.', '..', '//' and \
             control characters"
        ))
    })
}

pub(super) fn size(value: &str) -> Result<u64, BadOption> {
    size::parse(value).filter(|&size| size == 0 || size >= LEAST_SIZE).ok_or_else(|| {
        BadOption(format!(
            "option \"size\" is {value:?}: give a size such as 512M or 10G, at least 1M, or 0 for \
             no limit"
        ))
    })
}

pub(super) fn inodes(value: &str) -> Result<u64, BadOption> {
    size::parse(value).ok_or_else(|| {
        BadOption(format!(
            "option \"inodes\" is {value:?}: give a number of files such as 100000 or 1M (1048576), \
             or 0 for no limit"
        ))
    })
}

pub(super) fn truth(key: &str, value: &str) -> Result<bool, BadOption> {
    value.parse().map_err(|_| BadOption(format!("option {key:?} is {value:?}: give true or false")))
}

pub(super) fn volume(key: &str, value: &str) -> Result<VolumeName, BadOption> {
    VolumeName::new(value).ok_or_else(|| {
        BadOption(format!("option {key:?} is {value:?}: give the name of the volume to copy"))
    })
}

/// Reads a duration as people write it: `24h`, `1day 12h`, or a bare `0`.
///
/// # Errors
/// It is none.
pub fn duration(value: &str) -> Result<Duration, BadOption> {
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(value).map_err(|_| {
        BadOption(format!("{value:?} is not a duration: give one such as 90m, 24h, 7d or 0"))
    })
}

/// `u32::from_str` takes a sign; a user who writes one means something else.
fn digits(value: &str) -> Option<&str> {
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())).then_some(value)
}
