//! The plugin from a registry: what a person is asked, and more than one plugin.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::daemon::Daemon;
use crate::harness::{eventually, tree};
use crate::plugged::{PLUGIN, Plugged};
use crate::registry::Registry;

/// The name of a second plugin.
const OTHER: &str = "other:latest";

/// Runs a docker command, with an answer to what it asks.
fn answered(daemon: &Daemon, line: &str, answer: &str) -> Output {
    let mut command = daemon.client("docker");
    command.args(line.split_whitespace()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn an_install_asks_for_one_mount_and_whoever_refuses_has_nothing() {
    let (registry, plugged) = (Registry::start(), Plugged::bare("{}"));
    registry.push(&plugged, 1, |_| ());
    let (name, daemon) = (registry.name(1), &plugged.daemon);
    let line = format!("plugin install {name} root.source={}", plugged.root().display());
    let asked = format!(
        "Plugin \"{name}\" is requesting the following privileges:\n \
         - mount: [/var/lib/dirvol]\n\
         Do you grant the above permissions? [y/N] "
    );
    let refused = answered(daemon, &line, "N\n");
    assert!(!refused.status.success());
    assert_eq!(String::from_utf8(refused.stdout).unwrap(), asked);
    assert_eq!(daemon.ok("plugin ls -q"), "");
    assert_eq!(tree(&plugged.root()), [""; 0]);

    let granted = answered(daemon, &line, "y\n");
    let said = String::from_utf8(granted.stdout).unwrap();
    assert!(granted.status.success() && said.starts_with(&asked), "{said}");
    assert!(said.ends_with(&format!("Installed plugin {name}\n")), "{said}");
    let listed = daemon.ok("plugin ls --format {{.Name}},{{.Enabled}}");
    assert_eq!(listed, format!("{name},true\n"));
    daemon.ok(&format!("volume create -d {name} db"));
    assert!(plugged.root().join("volumes/db/data").is_dir());
}

#[test]
fn two_plugins_serve_two_roots_side_by_side() {
    let (registry, plugged) = (Registry::start(), Plugged::bare("{}"));
    registry.push(&plugged, 1, |_| ());
    let (name, daemon) = (registry.name(1), &plugged.daemon);
    let root = plugged.path("other");
    fs::create_dir(&root).unwrap();
    plugged.install_from(&name, "");
    plugged.install_as(OTHER, &name, &format!("root.source={}", root.display()));
    plugged.fill("db");
    daemon.ok(&format!("volume create -d {OTHER} --label of=other web"));
    daemon.shell("--rm -v web:/x", "echo bytes of web > /x/file");
    let (before, other) = (plugged.everything(), tree(&root));
    assert_eq!(daemon.ok(&format!("volume ls -q -f driver={PLUGIN}")), "db\n");
    assert_eq!(daemon.ok(&format!("volume ls -q -f driver={OTHER}")), "web\n");
    let both = "--rm -v db:/x:ro -v web:/y:ro";
    assert_eq!(daemon.run(both, "cat /x/file /y/file"), "bytes of db\nbytes of web\n");

    // Neither is missed by the other.
    plugged.disable_other(OTHER);
    assert_eq!(plugged.everything(), before);
    daemon.ok(&format!("plugin enable {OTHER}"));
    plugged.disable();
    assert_eq!(daemon.inspect("web")[0]["Labels"], json!({"of": "other"}));
    plugged.enable();
    assert_eq!((plugged.everything(), tree(&root)), (before, other));
    assert_eq!(daemon.run(both, "cat /x/file /y/file"), "bytes of db\nbytes of web\n");
}

#[test]
fn the_second_plugin_on_one_root_says_so_and_takes_over_when_the_first_is_disabled() {
    let (registry, plugged) = (Registry::start(), Plugged::bare("{}"));
    registry.push(&plugged, 1, |_| ());
    let (name, daemon) = (registry.name(1), &plugged.daemon);
    plugged.install_from(&name, "");
    plugged.fill("db");
    let (before, bytes) = (plugged.everything(), tree(&plugged.root()));
    plugged.install_as(OTHER, &name, &format!("root.source={}", plugged.root().display()));
    let error = daemon.fails(&format!("volume create -d {OTHER} new"));
    assert_eq!(
        error,
        "Error response from daemon: create new: VolumeDriver.Create: dirvol is unavailable: the \
         plugin's root is served by another dirvol, a plugin or a service: stop that one, or give \
         this one another root.source\n"
    );
    assert_eq!(plugged.everything(), before);

    plugged.disable();
    eventually("the second plugin serves the root", || {
        let create = format!("volume create -d {OTHER} -o retain=0 web");
        daemon.docker(&create).status.success().then_some(())
    });
    // The engine has volumes by their names, and knows this one of the first plugin.
    assert_eq!(daemon.ok("volume ls -q"), "web\n");
    let error = daemon.fails("volume inspect db");
    assert!(error.contains("plugin dirvol:latest found but disabled"), "{error}");
    daemon.shell("--rm -v web:/x", "echo bytes of web > /x/file");
    daemon.ok("volume rm web");
    eventually("nothing of it is left", || (tree(&plugged.root()) == bytes).then_some(()));
    // Then the other way round: no install is preferred to another.
    plugged.disable_other(OTHER);
    plugged.enable();
    assert_eq!(plugged.everything(), before);
}
