//! What a Create that is repeated asks for, beside what the volume has.

use std::collections::BTreeMap;

use super::options::Options;

impl Options {
    /// Names the first option that is `asked` for and is neither what the volume
    /// has `now` nor what it was `created` with, and says whether that can be set; or
    /// returns `None`.
    pub fn difference(now: &Self, created: &Self, asked: &Self) -> Option<(String, bool)> {
        let [now, created, asked] = [now, created, asked].map(|options| {
            let mut map = options.to_map();
            // No limit is no limit, whether it was stated or not.
            map.retain(|key, value| value != "0" || !matches!(key.as_str(), "size" | "inodes"));
            map
        });
        let mut all = now.clone();
        all.extend(asked.clone());
        // Where it lies says most.
        let (first, rest): (Vec<_>, Vec<_>) = all.keys().partition(|key| *key == "path");
        let differs = |key: &&String| {
            let asked = asked.get(*key);
            now.get(*key) != asked && created.get(*key) != asked
        };
        let shown = |map: &BTreeMap<String, String>, key: &String| {
            map.get(key).cloned().unwrap_or_else(|| "unset".into())
        };
        let key = first.into_iter().chain(rest).find(differs)?;
        let told = format!("its {key} is {}, not {}", shown(&now, key), shown(&asked, key));
        Some((told, !matches!(key.as_str(), "from" | "live" | "path")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let has = Options { uid: Some(5), ..Options::builtin(Duration::from_secs(60)) };
        let asked = Options { uid: Some(6), ..has.clone() };
        let difference = |asked| Options::difference(&has, &has, asked);
        assert_eq!(difference(&has), None);
        assert_eq!(difference(&asked), Some(("its uid is 5, not 6".into(), true)));
    }
}
