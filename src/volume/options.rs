//! The options of a volume, as users state them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::name::VolumeName;
use super::size;
use super::value::{duration, id, inodes, mode, path, size, truth, volume};
use crate::store::Amount;

/// The options there are, in the order of messages.
pub const KNOWN: [&str; 10] =
    ["from", "gid", "inodes", "live", "mode", "path", "protect", "retain", "size", "uid"];

/// The options that say something of a directory that the driver makes, or deletes.
const OF_OUR_OWN: [&str; 8] = ["from", "gid", "inodes", "live", "mode", "retain", "size", "uid"];

/// Permissions of a data directory where no option says otherwise.
const DEFAULT_MODE: u32 = 0o755;

/// Whether the options of the reference fixture are known too: `ninja` and
/// `invalidOption`, which make a volume misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixture {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// Options that were stated, each checked. One that was not stated is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The owner of the data directory, set at Create.
    pub uid: Option<u32>,
    /// The group of the data directory, set at Create.
    pub gid: Option<u32>,
    /// The permission bits of the data directory, set at Create.
    pub mode: Option<u32>,
    /// The directory that the volume is, outside the root: absolute, in its one
    /// spelling. It is never changed.
    pub path: Option<String>,
    /// How long the volume is kept in the trash; zero keeps nothing.
    pub retain: Option<Duration>,
    /// Whether a Remove is refused.
    pub protect: Option<bool>,
    /// How many bytes the volume may hold; zero is no limit.
    pub size: Option<u64>,
    /// How many files and directories it may hold; zero is no limit.
    pub inodes: Option<u64>,
    /// The volume that this one was made a copy of.
    pub from: Option<VolumeName>,
    /// Whether it may have been in use then.
    pub live: bool,
    /// Fixture: Get answers a null volume, List leaves it out.
    pub ninja: bool,
    /// Fixture: Mount fails.
    pub invalid_option: bool,
}

/// What is wrong with options: one line, with the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadOption(pub(super) String);

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Options {
    /// Reads options as they come over the wire: keys in any case, and Podman's
    /// `o`, which repeats the others in one value (`o=uid=5,mode=0700`).
    ///
    /// # Errors
    /// An unknown key, a value that is none, or two values for one key.
    pub fn parse<'a>(
        stated: impl IntoIterator<Item = (&'a str, &'a str)>,
        fixture: Fixture,
    ) -> Result<Self, BadOption> {
        let mut values = BTreeMap::new();
        for (key, value) in stated {
            let key = key.to_ascii_lowercase();
            if key != "o" {
                state(&mut values, key, value)?;
                continue;
            }
            for part in value.split(',').filter(|part| !part.is_empty()) {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                state(&mut values, key.to_ascii_lowercase(), value)?;
            }
        }
        if values.contains_key("path")
            && let Some(other) = OF_OUR_OWN.iter().find(|key| values.contains_key(**key))
        {
            return Err(BadOption(format!(
                "option {other:?} cannot be given with \"path\": that directory stays as it is; \
                 leave it out"
            )));
        }
        let mut options = Self::default();
        for (key, value) in &values {
            match (key.as_str(), fixture) {
                ("uid", _) => options.uid = Some(id(key, value)?),
                ("gid", _) => options.gid = Some(id(key, value)?),
                ("path", _) => options.path = Some(path(value)?),
                ("mode", _) => options.mode = Some(mode(value)?),
                ("retain", _) => {
                    let named = |why| BadOption(format!("option {key:?}: {why}"));
                    options.retain = Some(duration(value).map_err(named)?);
                }
                ("protect", _) => options.protect = Some(truth(key, value)?),
                ("size", _) => options.size = Some(size(value)?),
                ("inodes", _) => options.inodes = Some(inodes(value)?),
                ("from", _) => options.from = Some(volume(key, value)?),
                ("live", _) => options.live = truth(key, value)?,
                ("ninja", Fixture::On) => options.ninja = true,
                ("invalidoption", Fixture::On) => options.invalid_option = true,
                ("mountpoint", _) => {
                    return Err(BadOption(
                        "option \"mountpoint\" is local-persist's; here it is called path: use \
                         path=DIR, below a --bind-root of the driver"
                            .into(),
                    ));
                }
                (unknown, _) => {
                    return Err(BadOption(format!(
                        "option {unknown:?} is unknown (known: {})",
                        KNOWN.join(", ")
                    )));
                }
            }
        }
        if options.live && options.from.is_none() {
            return Err(BadOption(
                "option \"live\" is about the volume to copy: give that as \"from\" too".into(),
            ));
        }
        Ok(options)
    }

    /// Returns which of these options, if any, says how a volume is made, and so can
    /// neither be set later nor be a default.
    pub fn of_creation(&self) -> Option<&'static str> {
        let stated = [(self.from.is_some(), "from"), (self.path.is_some(), "path")];
        stated.into_iter().find_map(|(stated, key)| stated.then_some(key))
    }

    /// Returns the options that were stated, each in its one spelling.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let flag = |set: bool| set.then(|| "1".to_owned());
        let stated = [
            ("uid", self.uid.map(|uid| uid.to_string())),
            ("gid", self.gid.map(|gid| gid.to_string())),
            ("mode", self.mode.map(|mode| format!("{mode:04o}"))),
            ("path", self.path.clone()),
            ("retain", self.retain.map(|retain| humantime::format_duration(retain).to_string())),
            ("protect", self.protect.map(|protect| protect.to_string())),
            ("size", self.size.map(size::show)),
            ("inodes", self.inodes.map(|inodes| inodes.to_string())),
            ("from", self.from.as_ref().map(VolumeName::to_string)),
            ("live", self.live.then(|| true.to_string())),
            ("ninja", flag(self.ninja)),
            ("invalidoption", flag(self.invalid_option)),
        ];
        let mut map = BTreeMap::new();
        for (key, value) in stated {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        }
        map
    }

    /// Returns these options, and those of `defaults` for what is not stated.
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            uid: self.uid.or(defaults.uid),
            gid: self.gid.or(defaults.gid),
            mode: self.mode.or(defaults.mode),
            path: self.path.clone().or_else(|| defaults.path.clone()),
            retain: self.retain.or(defaults.retain),
            protect: self.protect.or(defaults.protect),
            size: self.size.or(defaults.size),
            inodes: self.inodes.or(defaults.inodes),
            from: self.from.clone().or_else(|| defaults.from.clone()),
            live: self.live || defaults.live,
            ninja: self.ninja || defaults.ninja,
            invalid_option: self.invalid_option || defaults.invalid_option,
        }
    }

    /// Returns what holds where nobody states anything: the driver's own user
    /// and group, 0755, the driver's retention, no protection and no limit.
    pub fn builtin(retention: Duration) -> Self {
        Self {
            uid: Some(nix::unistd::geteuid().as_raw()),
            gid: Some(nix::unistd::getegid().as_raw()),
            mode: Some(DEFAULT_MODE),
            path: None,
            retain: Some(retention),
            protect: Some(false),
            size: None,
            inodes: None,
            from: None,
            live: false,
            ninja: false,
            invalid_option: false,
        }
    }

    /// Returns these options, without those that mean nothing where the volume is a
    /// directory elsewhere.
    pub fn that_apply(self) -> Self {
        if self.path.is_none() {
            return self;
        }
        let (ninja, invalid_option) = (self.ninja, self.invalid_option);
        let (path, protect) = (self.path, self.protect);
        Self { path, protect, ninja, invalid_option, ..Self::default() }
    }

    /// Returns what a volume with these options may hold.
    pub fn limit(&self) -> Amount {
        Amount { bytes: self.size.unwrap_or(0), inodes: self.inodes.unwrap_or(0) }
    }
}

fn state(values: &mut BTreeMap<String, String>, key: String, value: &str) -> Result<(), BadOption> {
    match values.get(&key) {
        Some(other) if other != value => Err(BadOption(format!(
            "option {key:?} is given twice, as {other:?} and as {value:?}; give it once"
        ))),
        _ => {
            values.insert(key, value.to_owned());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(stated: &[(&str, &str)]) -> Result<Options, String> {
        Options::parse(stated.iter().copied(), Fixture::Off).map_err(|error| error.to_string())
    }

    fn name(name: &str) -> Option<VolumeName> {
        VolumeName::new(name)
    }

    #[test]
    fn each_option_is_read() {
        let cases: [(&[(&str, &str)], Options); 18] = [
            (&[], Options::default()),
            (&[("uid", "0")], Options { uid: Some(0), ..Default::default() }),
            (&[("GID", "4294967294")], Options { gid: Some(4_294_967_294), ..Default::default() }),
            (&[("mode", "2770")], Options { mode: Some(0o2770), ..Default::default() }),
            (&[("Mode", "0o700")], Options { mode: Some(0o700), ..Default::default() }),
            (&[("retain", "0")], Options { retain: Some(Duration::ZERO), ..Default::default() }),
            (
                &[("retain", "7d")],
                Options { retain: Some(Duration::from_secs(604_800)), ..Default::default() },
            ),
            (&[("protect", "true")], Options { protect: Some(true), ..Default::default() }),
            (&[("PROTECT", "false")], Options { protect: Some(false), ..Default::default() }),
            (&[("size", "10G")], Options { size: Some(10 << 30), ..Default::default() }),
            (&[("SIZE", "0")], Options { size: Some(0), ..Default::default() }),
            (&[("from", "db")], Options { from: name("db"), ..Default::default() }),
            (
                &[("Live", "true"), ("from", "db")],
                Options { from: name("db"), live: true, ..Default::default() },
            ),
            (&[("live", "false")], Options::default()),
            (
                &[("Path", "/srv/a b/")],
                Options { path: Some("/srv/a b".into()), ..Default::default() },
            ),
            (&[("inodes", "1M")], Options { inodes: Some(1 << 20), ..Default::default() }),
            (
                &[("o", "uid=5,mode=0700")],
                Options { uid: Some(5), mode: Some(0o700), ..Default::default() },
            ),
            // Podman sends the parts of `o` once more, in capitals.
            (&[("o", "uid=5"), ("UID", "5")], Options { uid: Some(5), ..Default::default() }),
        ];
        for (stated, options) in cases {
            assert_eq!(parse(stated), Ok(options), "{stated:?}");
        }
    }

    #[test]
    fn whatever_else_is_refused_with_the_cure() {
        let ids = "give a number from 0 to 4294967294, not a name";
        let octal = "give octal digits, 0000 to 7777";
        let sizes = "give a size such as 512M or 10G, at least 1M, or 0 for no limit";
        let counts = "give a number of files such as 100000 or 1M (1048576), or 0 for no limit";
        let known = "(known: from, gid, inodes, live, mode, path, protect, retain, size, uid)";
        let cases: [(&[(&str, &str)], String); 19] = [
            (&[("uid", "root")], format!("option \"uid\" is \"root\": {ids}")),
            (&[("uid", "-1")], format!("option \"uid\" is \"-1\": {ids}")),
            (&[("uid", "+1")], format!("option \"uid\" is \"+1\": {ids}")),
            (&[("gid", "4294967295")], format!("option \"gid\" is \"4294967295\": {ids}")),
            (&[("gid", "")], format!("option \"gid\" is \"\": {ids}")),
            (&[("mode", "u+x")], format!("option \"mode\" is \"u+x\": {octal}")),
            (&[("mode", "10000")], format!("option \"mode\" is \"10000\": {octal}")),
            (&[("mode", "0888")], format!("option \"mode\" is \"0888\": {octal}")),
            (
                &[("retain", "soon")],
                "option \"retain\": \"soon\" is not a duration: give one such as 90m, 24h, 7d or 0"
                    .into(),
            ),
            (&[("protect", "on")], "option \"protect\" is \"on\": give true or false".into()),
            (
                &[("from", "../db")],
                "option \"from\" is \"../db\": give the name of the volume to copy".into(),
            ),
            (
                &[("live", "true")],
                "option \"live\" is about the volume to copy: give that as \"from\" too".into(),
            ),
            (&[("size", "10")], format!("option \"size\" is \"10\": {sizes}")),
            (&[("size", "9E")], format!("option \"size\" is \"9E\": {sizes}")),
            (&[("inodes", "many")], format!("option \"inodes\" is \"many\": {counts}")),
            (&[("sise", "10G")], format!("option \"sise\" is unknown {known}")),
            (&[("ninja", "1")], format!("option \"ninja\" is unknown {known}")),
            (
                &[("uid", "5"), ("UID", "6")],
                "option \"uid\" is given twice, as \"5\" and as \"6\"; give it once".into(),
            ),
            (&[("o", "nonsense")], format!("option \"nonsense\" is unknown {known}")),
        ];
        for (stated, why) in cases {
            assert_eq!(parse(stated), Err(why), "{stated:?}");
        }
    }

    #[test]
    fn what_says_nothing_of_a_directory_elsewhere_does_not_apply_to_one() {
        let path = Some("/srv/a".to_owned());
        let stated = Options { path: path.clone(), ..Default::default() };
        let applying = stated.or(&Options::builtin(Duration::from_secs(60))).that_apply();
        assert_eq!(applying, Options { path, protect: Some(false), ..Default::default() });
        let own = Options::builtin(Duration::from_secs(60));
        assert_eq!(own.clone().that_apply(), own);
        let why = "its path is /srv/a, not unset".to_owned();
        assert_eq!(Options::difference(&applying, &applying, &own), Some((why, false)));
    }

    #[test]
    fn the_fixtures_options_are_known_to_the_fixture_alone() {
        let stated = [("ninja", "1"), ("invalidOption", "1")];
        let options = Options::parse(stated, Fixture::On).unwrap();
        assert!(options.ninja && options.invalid_option);
    }

    proptest! {
        #[test]
        fn options_are_read_back_as_they_were_written(
            uid in prop::option::of(0..u32::MAX),
            gid in prop::option::of(0..u32::MAX),
            mode in prop::option::of(0..=0o7777u32),
            seconds in prop::option::of(0..1_000_000_000u64),
            protect in prop::option::of(prop::bool::ANY),
            size in prop::option::of(crate::volume::value::LEAST_SIZE..1 << 62),
            inodes in prop::option::of(0..1u64 << 62),
        ) {
            let retain = seconds.map(Duration::from_secs);
            let options =
                Options { uid, gid, mode, retain, protect, size, inodes, ..Default::default() };
            let map = options.to_map();
            let stated = map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            prop_assert_eq!(Options::parse(stated, Fixture::Off), Ok(options));
        }

        #[test]
        fn no_text_makes_the_parser_panic(pairs in prop::collection::vec(("\\PC*", "\\PC*"), 0..4)) {
            let stated = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            let _any = Options::parse(stated, Fixture::On);
        }
    }
}
