//! Settings that are changed, and what is different then. Of those that are not
//! here, DIRVOL_ACCEPT_ROOT is seen with the root, and DIRVOL_TEST_FIXTURE with the
//! reference.

use std::fs;

use serde_json::Value;

use crate::harness::{eventually, get, tree};
use crate::plugged::{PLUGIN, Plugged};

impl Plugged {
    /// Sets settings as a person has to: while the plugin is disabled.
    fn reset(&self, settings: &str) {
        self.disable();
        self.set(settings);
        self.enable();
    }

    /// What the plugin has logged after `from` bytes of dockerd's log: dockerd puts
    /// each of its lines in one of its own.
    fn logged(&self, from: usize) -> Vec<String> {
        let log = self.daemon.log();
        let own =
            log[from..].lines().filter(|line| line.contains(&format!("plugin={}", self.id())));
        own.map(|line| {
            let message = line.split_once(" msg=").unwrap().1.rsplit_once(" plugin=").unwrap().0;
            serde_json::from_str(message).unwrap_or_else(|_| message.to_owned())
        })
        .collect()
    }
}

#[test]
fn default_options_and_the_retention_are_those_that_are_set() {
    let plugged = Plugged::enabled();
    let daemon = &plugged.daemon;
    plugged.fill("db");
    let before = plugged.everything();
    let make = || daemon.ok(&format!("volume create -d {PLUGIN} web"));
    let mode = || daemon.run("--rm -v web:/x", "stat -c %a /x");
    let kept = || fs::read_dir(plugged.root().join("trash")).unwrap().count();
    plugged.reset("DIRVOL_TRASH_RETENTION=0 DIRVOL_DEFAULT_OPT=mode=0701");
    make();
    assert_eq!(mode(), "701\n");
    daemon.ok("volume rm web");
    eventually("nothing of it is left", || (plugged.everything() == before).then_some(()));

    plugged.reset("DIRVOL_TRASH_RETENTION=1h DIRVOL_DEFAULT_OPT=");
    make();
    assert_eq!(mode(), "755\n");
    daemon.ok("volume rm web");
    assert_eq!(kept(), 1);
}

#[test]
fn the_log_has_the_level_and_the_format_that_are_set() {
    let plugged = Plugged::enabled();
    let lines = |settings: &str| {
        let from = plugged.daemon.log().len();
        plugged.reset(settings);
        plugged.daemon.ok(&format!("volume create -d {PLUGIN} db"));
        plugged.daemon.ok("volume rm db");
        // The last line that it logs, so that all the others are there.
        plugged.disable();
        let lines = eventually("the plugin has said that it stopped", || {
            // The one before it, with other settings, says that it stopped too.
            let lines = plugged.logged(from).into_iter();
            let lines: Vec<_> = lines.skip_while(|line| !line.contains("serving")).collect();
            lines.last().is_some_and(|line| line.contains("stopped")).then_some(lines)
        });
        plugged.enable();
        lines
    };
    for line in lines("DIRVOL_LOG_LEVEL=info") {
        assert!(line.contains(" INFO "), "{line}");
    }
    let all = lines("DIRVOL_LOG_LEVEL=debug");
    assert!(all.iter().any(|line| line.contains(" DEBUG ")), "{all:?}");
    let all = lines("DIRVOL_LOG_FORMAT=json");
    for line in &all {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line.is_object(), "{line}");
    }
}

#[test]
fn as_many_volumes_have_metrics_as_are_set() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let of_volumes = || {
        plugged.serves();
        let text = get(&plugged.socket(), "/metrics").body;
        text.lines().filter(|line| line.contains("volume=\"db\"")).count()
    };
    assert!(of_volumes() > 0);
    plugged.reset("DIRVOL_METRICS_VOLUMES=0");
    assert_eq!(of_volumes(), 0);
    plugged.reset("DIRVOL_METRICS_VOLUMES=1");
    assert!(of_volumes() > 0);
    assert_eq!(plugged.everything(), before);
}

#[test]
fn where_nothing_is_to_be_made_a_root_an_empty_directory_stays_empty() {
    let plugged = Plugged::made();
    plugged.set("DIRVOL_INIT=never");
    plugged.enable();
    let refused = plugged.refused();
    let told = "the plugin's root is no root of dirvol, and DIRVOL_INIT=never: ";
    assert!(refused.contains(told), "{refused}");
    assert_eq!(tree(&plugged.root()), [""; 0]);
    plugged.disable();
    plugged.set("DIRVOL_INIT=auto");
    plugged.enable();
    plugged.fill("db");
    // One that is a root needs none to be made.
    let before = plugged.everything();
    plugged.reset("DIRVOL_INIT=never");
    assert_eq!(plugged.everything(), before);
}
