//! The plugin's process is killed. dockerd starts another at once.

use serde_json::json;

use crate::plugged::Plugged;
use crate::writer::Writer;

/// How often it is killed.
const KILLS: usize = 3;

#[test]
fn a_plugin_that_is_killed_loses_no_write_and_serves_the_next_container() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let writer = Writer::start(&plugged, "db");
    for _ in 0..KILLS {
        plugged.kill();
        writer.still_writes();
        assert_eq!(plugged.daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
    }
    let error = plugged.daemon.fails("volume rm db");
    assert!(error.contains("volume is in use"), "{error}");
    writer.end();
    assert_eq!(plugged.everything(), before);
    plugged.remove_volume("db");
}

/// dockerd leaves the mounts of a plugin that ended by itself where they are, and
/// mounts again over them: the root once in the propagated mount, and once more in
/// the directory below that.
#[test]
fn each_crash_adds_two_mounts_until_the_plugin_is_disabled() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let at_first = plugged.mounts();
    let writer = Writer::start(&plugged, "db");
    for kill in 1..=KILLS {
        plugged.kill();
        assert_eq!(plugged.mounts(), at_first + 2 * kill);
    }
    plugged.disable();
    assert_eq!(plugged.mounts(), 0);
    plugged.enable();
    assert_eq!(plugged.mounts(), at_first);
    writer.end();
    assert_eq!(plugged.everything(), before);
}

/// From inside a plugin no process of the host is seen. What the driver knows is
/// who asked it to mount; that it forgets with its life. Then dockerd refuses, and
/// behind dockerd's back the trash has the volume, whole.
#[test]
fn a_remove_is_refused_for_a_known_mount_and_kept_in_the_trash_after_a_crash() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let daemon = &plugged.daemon;
    daemon.run("-d --name user -v db:/x", "top");
    let remove = || plugged.call("Remove", r#"{"Name":"db"}"#);
    let refused = remove();
    assert_eq!(refused.status, 409, "{}", refused.body);
    let start = r#"{"Err":"volume db: volume is in use by mount ID "#;
    assert!(refused.body.starts_with(start), "{}", refused.body);
    assert_eq!(plugged.everything(), before);

    plugged.kill();
    let error = daemon.fails("volume rm db");
    assert!(error.contains("volume is in use"), "{error}");
    assert_eq!(plugged.everything(), before);

    assert_eq!(remove().body, r#"{"Err":""}"#);
    assert_eq!(daemon.ok("exec user cat /x/file"), "bytes of db\n");
    daemon.ok("exec user touch /x/later");
    let restore = plugged.dirvol("trash restore db");
    assert!(restore.contains("docker volume create"), "{restore}");
    assert_eq!(daemon.run("--rm -v db:/y", "ls /y"), "file\nlater\n");
}

/// What dockerd unmounts under a plugin that runs, the plugin loses too. Then it
/// says so, and nothing is written beside the volumes.
#[test]
fn a_plugin_whose_mounts_are_gone_is_whole_when_it_is_disabled_and_enabled() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let before = plugged.everything();
    let propagated = format!("/run/engine/data/plugins/{}/propagated-mount", plugged.id());
    plugged.inside(&format!("umount -l {propagated}/root {propagated}"));
    let error = plugged.daemon.run_fails("--rm -v db:/y", "touch /y/astray");
    let reason = "dirvol is unavailable: root /mnt/volumes/root is gone from its path";
    assert!(error.contains(reason), "{error}");
    assert_eq!(plugged.daemon.inspect("db")[0]["Labels"], json!({"of": "db", "kept": ""}));
    plugged.disable();
    plugged.enable();
    assert_eq!(plugged.everything(), before);
    assert_eq!(plugged.daemon.run("--rm -v db:/y:ro", "cat /y/file"), "bytes of db\n");
}
