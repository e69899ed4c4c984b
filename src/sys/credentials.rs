//! To whom this process may give a file, as chown(2), capabilities(7) and
//! user_namespaces(7) have it.

use std::fs;
use std::io;

/// The bit of `CAP_CHOWN` in the sets of `/proc/PID/status`.
const CAP_CHOWN: u32 = 0;

/// What decides to whom a file may be given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user that this process acts as.
    pub uid: u32,
    /// Its groups, the one that it acts as in front.
    pub gids: Vec<u32>,
    /// Whether it may give files to everybody.
    chown: bool,
    /// The users and groups that its namespace has, as `(first, count)`.
    uid_map: Vec<(u32, u32)>,
    gid_map: Vec<(u32, u32)>,
}

impl Credentials {
    /// Returns those of this process.
    ///
    /// # Errors
    /// `/proc` does not say.
    pub fn own() -> io::Result<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}"));
        let parsed = Self::parse(&read("status")?, &read("uid_map")?, &read("gid_map")?);
        parsed.ok_or_else(|| io::Error::other("/proc/self/status shows no credentials"))
    }

    fn parse(status: &str, uid_map: &str, gid_map: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
        };
        let numbers = |text: &str| -> Vec<u32> {
            text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        // The fourth is the one that files are reached as: real, effective, saved, and this.
        let mut gids = vec![*numbers(field("Gid")?).get(3)?];
        gids.extend(numbers(field("Groups")?));
        let effective = u64::from_str_radix(field("CapEff")?, 16).ok()?;
        let map = |text: &str| {
            let ranges = text.lines().map(numbers);
            ranges.filter_map(|range| Some((*range.first()?, *range.get(2)?))).collect()
        };
        Some(Self {
            uid: *numbers(field("Uid")?).get(3)?,
            gids,
            chown: effective & (1 << CAP_CHOWN) != 0,
            uid_map: map(uid_map),
            gid_map: map(gid_map),
        })
    }

    /// Returns whether a file of this process may be given to the user `uid`.
    pub fn may_give_to_user(&self, uid: u32) -> bool {
        uid == self.uid || (self.chown && has(&self.uid_map, uid))
    }

    /// Returns whether a file of this process may be given to the group `gid`.
    pub fn may_give_to_group(&self, gid: u32) -> bool {
        self.gids.contains(&gid) || (self.chown && has(&self.gid_map, gid))
    }
}

fn has(map: &[(u32, u32)], id: u32) -> bool {
    map.iter().any(|&(first, count)| id.checked_sub(first).is_some_and(|offset| offset < count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "         0          0 4294967295\n";

    fn status(uid: u32, groups: &str, capabilities: &str) -> String {
        format!(
            "Name:\tdirvol\nUid:\t0\t0\t0\t{uid}\nGid:\t0\t0\t0\t{uid}\nGroups:\t{groups} \n\
             CapEff:\t{capabilities}\n"
        )
    }

    #[test]
    fn a_user_may_give_to_himself_and_his_groups_alone() {
        let user = Credentials::parse(&status(7, "7 20", "0000000000000000"), WHOLE, WHOLE);
        let user = user.unwrap();
        assert_eq!([7, 0, 20].map(|uid| user.may_give_to_user(uid)), [true, false, false]);
        assert_eq!([7, 0, 20].map(|gid| user.may_give_to_group(gid)), [true, false, true]);
    }

    #[test]
    fn root_may_give_to_everybody_that_its_namespace_has() {
        let root = |map| Credentials::parse(&status(0, "", "000001ffffffffff"), map, map).unwrap();
        assert!(root(WHOLE).may_give_to_user(u32::MAX - 1));
        let rootless = root("         0       1000          1\n         1     100000      65536\n");
        for (id, may) in [(0, true), (65_536, true), (65_537, false)] {
            assert_eq!(rootless.may_give_to_user(id), may, "{id}");
            assert_eq!(rootless.may_give_to_group(id), may, "{id}");
        }
    }

    #[test]
    fn what_shows_no_credentials_is_none() {
        for text in ["", "Uid:\t0\n", &status(0, "", "x")] {
            assert_eq!(Credentials::parse(text, WHOLE, WHOLE), None, "{text}");
        }
        assert!(Credentials::own().is_ok());
    }
}
