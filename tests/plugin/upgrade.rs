//! The plugin is upgraded from a registry.

use serde_json::{Value, json};

use crate::plugged::{PLUGIN, Plugged};
use crate::registry::Registry;
use crate::writer::Writer;

/// Where the plugin's root is when nothing else is set.
const DEFAULT_ROOT: &str = "/var/lib/dirvol";

/// An engine with version 1 of the plugin enabled, on a root that is not the
/// default, with a volume; and both versions in a registry. The first lacks one
/// setting of the second, and has one that the second lacks.
fn start(settings: &str) -> (Registry, Plugged) {
    let (registry, plugged) = (Registry::start(), Plugged::bare("{}"));
    // The machine's own is none of this test's business.
    plugged.inside("mount -t tmpfs tmpfs /var/lib");
    registry.push(&plugged, 1, |env| {
        env.retain(|setting| setting["name"] != "DIRVOL_TRASH_RETENTION");
        env.push(json!({"name": "DIRVOL_FORMER", "value": "x", "settable": ["value"]}));
    });
    registry.push(&plugged, 2, |_| ());
    plugged.install_from(&registry.name(1), settings);
    plugged.fill("db");
    (registry, plugged)
}

/// Upgrades to version 2, which leaves the plugin disabled.
fn upgrade(registry: &Registry, plugged: &Plugged) {
    plugged.disable();
    let granted = "plugin upgrade --skip-remote-check --grant-all-permissions";
    plugged.daemon.ok(&format!("{granted} {PLUGIN} {}", registry.name(2)));
}

/// The settings that the plugin has, as the engine shows them.
fn settings(plugged: &Plugged) -> Vec<String> {
    let shown = plugged.daemon.ok(&format!("plugin inspect {PLUGIN}"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let settings = shown[0]["Settings"]["Env"].as_array().unwrap().iter();
    settings.map(|setting| setting.as_str().unwrap().to_owned()).collect()
}

/// How many bytes the binary has that runs.
fn size(plugged: &Plugged) -> u64 {
    let binary = format!("/run/engine/data/plugins/{}/rootfs/dirvol", plugged.id());
    plugged.inside(&format!("stat -c %s {binary}")).trim().parse().unwrap()
}

/// How many removed volumes are kept.
fn kept(plugged: &Plugged) -> usize {
    std::fs::read_dir(plugged.root().join("trash")).unwrap().count()
}

#[test]
fn an_upgrade_keeps_the_id_the_settings_the_bytes_and_the_labels() {
    let (registry, plugged) = start("DIRVOL_LOG_LEVEL=debug DIRVOL_DEFAULT_OPT=mode=0701");
    let (before, id, old) = (plugged.everything(), plugged.id(), settings(&plugged));
    let (first, writer) = (size(&plugged), Writer::start(&plugged, "db"));
    upgrade(&registry, &plugged);
    writer.still_writes();
    plugged.set_root(&plugged.root());
    plugged.enable();
    writer.end();
    assert_eq!(plugged.everything(), before);
    assert_eq!((plugged.id(), size(&plugged)), (id, first + 1));
    // The engine keeps those of before, wanted or not, and adds none.
    assert_eq!(settings(&plugged), old);
    let expected = [
        "DIRVOL_INIT=auto",
        "DIRVOL_DEFAULT_OPT=mode=0701",
        "DIRVOL_ACCEPT_ROOT=",
        "DIRVOL_LOG_LEVEL=debug",
        "DIRVOL_LOG_FORMAT=text",
        "DIRVOL_METRICS_VOLUMES=200",
        "DIRVOL_TEST_FIXTURE=false",
        "DIRVOL_FORMER=x",
    ];
    assert_eq!(old, expected);

    // One that is absent means its default, and can be set.
    let daemon = &plugged.daemon;
    daemon.ok(&format!("volume create -d {PLUGIN} web"));
    assert_eq!(daemon.run("--rm -v web:/x", "stat -c %a /x"), "701\n");
    plugged.remove_volume("web");
    assert_eq!(kept(&plugged), 1);
    plugged.disable();
    plugged.set("DIRVOL_TRASH_RETENTION=0");
    plugged.enable();
    daemon.ok(&format!("volume create -d {PLUGIN} web"));
    plugged.remove_volume("web");
    assert_eq!(kept(&plugged), 0);
}

/// The engine sets the root back to the default without a word.
#[test]
fn an_upgrade_that_resets_the_root_is_mended_with_the_commands_that_are_told() {
    let (registry, plugged) = start("");
    let before = plugged.everything();
    upgrade(&registry, &plugged);
    let enable = format!("plugin enable {PLUGIN}");
    let error = plugged.daemon.fails(&enable);
    assert!(error.contains(DEFAULT_ROOT) && error.contains("no such file or directory"), "{error}");

    plugged.inside(&format!("mkdir {DEFAULT_ROOT}"));
    plugged.enable();
    let refused = plugged.refused();
    let told = "dirvol is unavailable: the plugin's root is an unknown directory, and ";
    assert!(refused.contains(told), "{refused}");
    assert!(refused.contains(" was served last (an upgrade resets it): "), "{refused}");
    assert_eq!(plugged.daemon.inspect("db")[0]["Labels"], before.labels("db"));
    assert_eq!(plugged.inside(&format!("ls -A {DEFAULT_ROOT}")), "");
    plugged.follow(&refused, &[("DIR", plugged.root().to_str().unwrap())]);
    assert_eq!(plugged.everything(), before);
    assert_eq!(plugged.inside(&format!("ls -A {DEFAULT_ROOT}")), "");
}

/// Without that directory too the engine loses nothing, and is set right.
#[test]
fn an_upgrade_onto_a_root_that_is_missing_is_mended_by_setting_it() {
    let (registry, plugged) = start("");
    let before = plugged.everything();
    upgrade(&registry, &plugged);
    plugged.daemon.fails(&format!("plugin enable {PLUGIN}"));
    plugged.set_root(&plugged.root());
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}
