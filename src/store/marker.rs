//! `dirvol.json`: that a directory is a root of ours, and which one.

use crate::json;
use serde::{Deserialize, Serialize};

/// The one format there is.
pub(super) const FORMAT: u32 = 1;

/// Whose volumes a root holds, in the protocol's words: those of one host, or
/// those of all hosts that share the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One host's.
    Local,
    /// All hosts'.
    Global,
}

impl Scope {
    /// Returns the word that the protocol has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    pub format: u32,
    pub id: String,
    pub scope: Scope,
}

impl Marker {
    /// Reads a marker; the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // The format comes first: another one may have other fields.
        let Format { format } = json::read(bytes).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("it has format {format}; this dirvol knows format {FORMAT}"));
        }
        let marker: Self = json::read(bytes).map_err(|error| error.to_string())?;
        if marker.id.is_empty() {
            return Err("its id is empty".into());
        }
        Ok(marker)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a marker has only text and numbers");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_as_it_was_written() {
        let marker = Marker { format: 1, id: "a-b".into(), scope: Scope::Global };
        assert_eq!(marker.to_bytes(), b"{\"format\":1,\"id\":\"a-b\",\"scope\":\"global\"}\n");
        assert_eq!(Marker::parse(&marker.to_bytes()), Ok(marker));
    }

    #[test]
    fn a_marker_that_is_none_says_what_is_wrong() {
        let cases: [(&str, &str); 5] = [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{}", "missing field `format` at line 1 column 2"),
            (r#"{"format":2,"other":1}"#, "it has format 2; this dirvol knows format 1"),
            (r#"{"format":1,"id":"","scope":"local"}"#, "its id is empty"),
            (r#"{"format":1,"id":"a"}"#, "missing field `scope` at line 1 column 21"),
        ];
        for (text, why) in cases {
            assert_eq!(Marker::parse(text.as_bytes()), Err(why.to_owned()), "{text}");
        }
    }
}
