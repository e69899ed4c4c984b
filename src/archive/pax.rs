//! Pax headers: records of `<length> <key>=<value>\n`, which stand for what the header
//! block has no room for.

use super::{MOST_PIECES, Piece, Time};

/// What pax headers say of an entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub mtime: Option<Time>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: Sparse,
    /// The first key that says something of the file that is not kept.
    pub lost: Option<String>,
}

/// What GNU tar says of a file with holes.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    /// Of version 0.1, where the pieces are in the header.
    pub pieces: Option<Vec<Piece>>,
    /// Of version 0.0.
    pub old: bool,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Pax {
    /// Takes in the records of a header. A value that is empty takes back what an
    /// earlier header said.
    pub fn add(&mut self, mut records: &[u8]) -> Result<(), String> {
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or("a pax header cannot be read")?;
            self.set(key, value).ok_or_else(|| {
                let (key, value) = (key.escape_ascii(), value.escape_ascii().to_string());
                format!("a pax header says {key}={value:.100}, which cannot be used")
            })?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = optional(value, decimal)?,
            b"mtime" => self.mtime = optional(value, time)?,
            b"uid" => self.uid = optional(value, id)?,
            b"gid" => self.gid = optional(value, id)?,
            b"GNU.sparse.major" => self.sparse.major = optional(value, decimal)?,
            b"GNU.sparse.minor" => self.sparse.minor = optional(value, decimal)?,
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                self.sparse.real_size = optional(value, decimal)?;
            }
            b"GNU.sparse.map" => self.sparse.pieces = optional(value, pieces)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.old = true,
            _ if key.starts_with(XATTR) => {
                let name = decoded(&key[XATTR.len()..]);
                if name.is_empty() || name.contains(&0) {
                    return None;
                }
                self.xattrs.retain(|(known, _)| *known != name);
                self.xattrs.push((name, value.to_vec()));
            }
            _ if key.starts_with(b"SCHILY.acl.") && self.lost.is_none() => {
                self.lost = Some(key.escape_ascii().to_string());
            }
            // Times that are not kept, names of owners, comments.
            _ => {}
        }
        Some(())
    }
}

/// Adds a record of an extended attribute to `header`. A key ends with its first `=`, so
/// GNU tar writes one in a name, and its own sign for that, as below.
pub(super) fn put_xattr(header: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut key = XATTR.to_vec();
    for &byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            byte => key.push(byte),
        }
    }
    put(header, &key, value);
}

fn decoded(mut key: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    while let Some((&first, rest)) = key.split_first() {
        (key, _) = match key {
            [b'%', b'3', b'D', rest @ ..] => (rest, name.push(b'=')),
            [b'%', b'2', b'5', rest @ ..] => (rest, name.push(b'%')),
            _ => (rest, name.push(first)),
        };
    }
    name
}

/// Adds a record to `header`.
pub(super) fn put(header: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    // The length counts its own digits, of which there may be one more by that.
    length = rest + length.to_string().len();
    header.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        header.extend_from_slice(part);
    }
}

/// Returns the key, the value and what follows the first record.
fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&records[..blank])?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

fn optional<T>(value: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { read(value).map(Some) }
}

/// Reads decimal digits, and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn id(text: &[u8]) -> Option<u32> {
    // The last one means "no change" to chown(2).
    decimal(text).and_then(|id| u32::try_from(id).ok()).filter(|&id| id != u32::MAX)
}

/// Reads seconds with or without a fraction; what is finer than a nanosecond is cut.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next().filter(|fraction| !fraction.is_empty()) {
        let mut digits = fraction[..fraction.len().min(9)].to_vec();
        decimal(fraction.get(9..).filter(|rest| !rest.is_empty()).unwrap_or(b"0"))?;
        digits.resize(9, b'0');
        nanoseconds = u32::try_from(decimal(&digits)?).ok()?;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// Writes a time as [`time`] reads it.
pub(super) fn shown(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match time {
        Time { seconds, nanoseconds: 0 } if seconds < 0 => ("-", seconds.unsigned_abs(), 0),
        Time { seconds, nanoseconds } if seconds < 0 => {
            ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
        }
        Time { seconds, nanoseconds } => ("", seconds.unsigned_abs(), nanoseconds),
    };
    match nanoseconds {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{nanoseconds:09}"),
    }
}

fn pieces(text: &[u8]) -> Option<Vec<Piece>> {
    let mut numbers = text.split(|&byte| byte == b',');
    let mut pieces = Vec::new();
    while let Some(at) = numbers.next() {
        if pieces.len() == MOST_PIECES {
            return None;
        }
        pieces.push(Piece { at: decimal(at)?, len: decimal(numbers.next()?)? });
    }
    Some(pieces)
}
