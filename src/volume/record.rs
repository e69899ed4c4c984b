//! `volume.json`: what a volume is, kept with it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::name::VolumeName;
use super::options::{Fixture, Options};
use crate::json;

/// The one format there is.
const FORMAT: u32 = 1;

/// What a volume is. An option that nobody stated means what it meant when the
/// volume was created, so the defaults of that time are kept beside the stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When the volume was created, in whole seconds.
    pub created: SystemTime,
    /// The options that were stated at Create.
    pub stated: Options,
    /// The driver's `--default-opt`s at Create.
    pub defaults: Options,
    /// What was set since then. It stands beside what was stated, for an engine
    /// that has forgotten the volume states the same again.
    pub set: Options,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    name: String,
    created: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    defaults: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
}

impl Record {
    /// Reads the record of the volume `name`; the error says what is wrong.
    ///
    /// # Errors
    /// It is not JSON, of another format, of another volume, or has an option
    /// that this version does not know: it cannot then be told what was asked for.
    pub fn parse(name: &VolumeName, bytes: &[u8]) -> Result<Self, String> {
        let (found, record) = Self::parse_any(bytes)?;
        if found != name.as_str() {
            return Err(format!("its record is that of {found:?}"));
        }
        Ok(record)
    }

    /// Reads the record of any volume, and returns the name that it says.
    ///
    /// # Errors
    /// As those of [`Record::parse`].
    pub fn parse_any(bytes: &[u8]) -> Result<(String, Self), String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // The message repeats what it found, and goes to somebody's terminal.
        let unusable = |error: serde_json::Error| {
            format!("its record cannot be used: {error}").replace(char::is_control, "?")
        };
        let Format { format } = json::read(bytes).map_err(unusable)?;
        if format != FORMAT {
            return Err(format!("its record has format {format}, and this dirvol knows {FORMAT}"));
        }
        let file: File = json::read(bytes).map_err(unusable)?;
        let created = humantime::parse_rfc3339(&file.created)
            .map_err(|_| format!("its record has no time of creation, but {:?}", file.created))?;
        let options = |map: &BTreeMap<String, String>| {
            let stated = map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            Options::parse(stated, Fixture::On).map_err(|error| format!("its record: {error}"))
        };
        let [stated, defaults, set] = [&file.options, &file.defaults, &file.set].map(options);
        Ok((file.name, Self { created, stated: stated?, defaults: defaults?, set: set? }))
    }

    /// Writes the record of the volume `name`.
    pub fn to_bytes(&self, name: &VolumeName) -> Vec<u8> {
        let file = File {
            format: FORMAT,
            name: name.to_string(),
            created: humantime::format_rfc3339_seconds(self.created).to_string(),
            options: self.stated.to_map(),
            defaults: self.defaults.to_map(),
            set: self.set.to_map(),
        };
        let mut bytes = serde_json::to_vec(&file).expect("a record has only text and numbers");
        bytes.push(b'\n');
        bytes
    }

    /// Returns the options in force: what was set, what was stated, what was
    /// default then, and `builtin` for the rest.
    pub fn in_force(&self, builtin: &Options) -> Options {
        self.set.or(&self.stated).or(&self.defaults).or(builtin).that_apply()
    }

    /// Returns what was asked for by a person: what was set, and what was stated.
    pub fn asked(&self) -> Options {
        self.set.or(&self.stated)
    }

    /// Names the first difference to a Create that states `asked`, or returns
    /// `None` where the volume is just what it asks for, or was so when it was
    /// created: what was set since then is no reason to refuse those who have
    /// always asked for the same. It says too whether the difference can be set.
    pub fn difference(&self, asked: &Options, builtin: &Options) -> Option<(String, bool)> {
        let rest = self.defaults.or(builtin);
        let (created, now) = (self.stated.or(&rest).that_apply(), self.in_force(builtin));
        Options::difference(&now, &created, &asked.or(&rest).that_apply())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn name() -> VolumeName {
        VolumeName::new("db").unwrap()
    }

    fn record() -> Record {
        Record {
            created: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            stated: Options { uid: Some(5), ..Default::default() },
            defaults: Options { mode: Some(0o700), ..Default::default() },
            set: Options::default(),
        }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let text = "{\"format\":1,\"name\":\"db\",\"created\":\"2023-11-14T22:13:20Z\",\
                    \"options\":{\"uid\":\"5\"},\"defaults\":{\"mode\":\"0700\"}}\n";
        assert_eq!(String::from_utf8(record().to_bytes(&name())).unwrap(), text);
        assert_eq!(Record::parse(&name(), text.as_bytes()), Ok(record()));
    }

    #[test]
    fn a_record_that_is_none_says_what_is_wrong() {
        let cases = [
            ("", "its record cannot be used: EOF while parsing a value at line 1 column 0"),
            (r#"{"format":7,"x":1}"#, "its record has format 7, and this dirvol knows 1"),
            (
                r#"{"format":1,"name":"other","created":"2023-11-14T22:13:20Z"}"#,
                "its record is that of \"other\"",
            ),
            (
                r#"{"format":1,"name":"db","created":"yesterday"}"#,
                "its record has no time of creation, but \"yesterday\"",
            ),
            (
                r#"{"format":1,"name":"db","created":"2023-11-14T22:13:20Z","options":{"x":"1"}}"#,
                "its record: option \"x\" is unknown (known: from, gid, inodes, live, mode, path, protect, retain, size, uid)",
            ),
        ];
        for (text, why) in cases {
            assert_eq!(Record::parse(&name(), text.as_bytes()), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_was_set_is_kept_beside_what_was_stated_and_goes_before_it() {
        let set = Options { uid: Some(6), protect: Some(true), ..Default::default() };
        let record = Record { set, ..record() };
        let text = "{\"format\":1,\"name\":\"db\",\"created\":\"2023-11-14T22:13:20Z\",\
                    \"options\":{\"uid\":\"5\"},\"defaults\":{\"mode\":\"0700\"},\
                    \"set\":{\"protect\":\"true\",\"uid\":\"6\"}}\n";
        assert_eq!(String::from_utf8(record.to_bytes(&name())).unwrap(), text);
        assert_eq!(Record::parse(&name(), text.as_bytes()), Ok(record.clone()));

        let builtin = Options::builtin(Duration::from_secs(60));
        let in_force = record.in_force(&builtin);
        assert_eq!((in_force.uid, in_force.mode), (Some(6), Some(0o700)));
        assert_eq!(in_force.protect, Some(true));
        let difference = |asked| record.difference(&asked, &builtin);
        // Each option as it was stated once, or as it is now.
        let uid = |uid| Options { uid: Some(uid), ..Default::default() };
        assert_eq!(difference(uid(5)), None);
        assert_eq!(difference(uid(6)), None);
        assert_eq!(difference(record.asked()), None);
        assert_eq!(difference(uid(7)), Some(("its uid is 6, not 7".into(), true)));
    }

    #[test]
    fn a_stated_default_equals_an_absent_one() {
        let builtin = Options::builtin(Duration::from_secs(60));
        let ask = |uid, mode| Options { uid, mode, ..Default::default() };
        let difference = |asked| record().difference(&asked, &builtin);
        assert_eq!(difference(ask(Some(5), None)), None);
        assert_eq!(difference(ask(Some(5), Some(0o700))), None);
        assert_eq!(
            difference(ask(Some(5), Some(0o755))),
            Some(("its mode is 0700, not 0755".into(), true))
        );
        assert_eq!(difference(ask(Some(6), None)), Some(("its uid is 5, not 6".into(), true)));
        assert_eq!(
            difference(ask(None, None)),
            Some((format!("its uid is 5, not {}", builtin.uid.unwrap()), true))
        );
    }
}
