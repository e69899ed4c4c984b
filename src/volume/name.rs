//! The names that volumes may have.

use std::fmt;

use crate::store::FileName;

/// The longest name: its trash entry, longer by a time and a token, must fit
/// into the 255 bytes of a file name.
pub const MAX_LENGTH: usize = 200;

/// A name that a volume may have: `[A-Za-z0-9][A-Za-z0-9_.-]{0,199}`. dockerd
/// checks nothing for plugins (moby `daemon/volume/mounts/linux_parser.go`), so
/// it is checked here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName(FileName);

impl VolumeName {
    /// Returns the name, or `None` where no volume may be called `name`.
    pub fn new(name: &str) -> Option<Self> {
        FileName::new(name).and_then(Self::from_file)
    }

    /// Returns the name of a file as that of a volume, or `None` as [`VolumeName::new`].
    pub fn from_file(file: FileName) -> Option<Self> {
        let name = file.as_str();
        let first = name.bytes().next()?;
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        let legal = first.is_ascii_alphanumeric() && rest && name.len() <= MAX_LENGTH;
        legal.then_some(Self(file))
    }

    /// Returns the name as a component of a path.
    pub fn file(&self) -> &FileName {
        &self.0
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns whether an engine made the name up: 64 hexadecimal digits, as
    /// dockerd and Podman name a volume that the user did not.
    pub fn is_anonymous(&self) -> bool {
        let name = self.as_str();
        name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn legal_names_are_taken_as_they_are() {
        for name in ["a", "0", "db", "My_App-1.data", "a..b", "a.", &"x".repeat(200)] {
            assert_eq!(VolumeName::new(name).map(|n| n.to_string()), Some(name.to_owned()));
        }
    }

    #[test]
    fn other_names_are_refused() {
        let long = "x".repeat(201);
        let names = [
            "", ".", "..", "-a", "_a", ".a", "a/b", "/a", "../a", "a\0", "a\n", "a b", "a~1~b",
            "é", "a\\b", "a:b", "٣", &long,
        ];
        for name in names {
            assert_eq!(VolumeName::new(name), None, "{name:?}");
        }
    }

    #[test]
    fn an_anonymous_name_has_64_lower_case_hexadecimal_digits() {
        let anonymous = |name: &str| VolumeName::new(name).unwrap().is_anonymous();
        assert!(anonymous(&"0a".repeat(32)));
        for name in ["0a".repeat(31), "0A".repeat(32), "0g".repeat(32), "0a".repeat(33)] {
            assert!(!anonymous(&name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_plain_component(name in "\\PC*") {
            if let Some(name) = VolumeName::new(&name) {
                let path = std::path::Path::new(name.as_str());
                let mut components = path.components();
                prop_assert!(matches!(components.next(), Some(std::path::Component::Normal(_))));
                prop_assert_eq!(components.next(), None);
            }
        }

        #[test]
        fn the_rule_is_dockers_rule_with_a_longest_length(name in "[A-Za-z0-9][A-Za-z0-9_.-]{0,199}") {
            prop_assert!(VolumeName::new(&name).is_some());
        }
    }
}
