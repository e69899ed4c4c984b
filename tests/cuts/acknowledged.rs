//! Cuts right after an answer, on a disk that is otherwise quiet: whatever was
//! acknowledged holds.

use std::fs;

use serde_json::json;

use crate::disk::FileSystem;
use crate::found;
use crate::harness::eventually;
use crate::ledger::{Change, Spec};
use crate::live::Live;
use crate::on_each_file_system;
use crate::revive;

on_each_file_system!(
    what_was_created_is_there,
    what_was_removed_is_whole_in_the_trash,
    what_was_removed_for_good_is_gone,
    what_was_created_again_is_the_new_volume,
    what_was_put_there_by_hand_and_created_is_there,
    what_was_refused_has_changed_nothing,
    what_the_log_says_was_purged_is_gone,
    what_was_removed_when_there_was_no_trash_yet_is_in_the_trash,
    what_was_set_is_set,
    what_was_restored_is_there,
    what_was_purged_as_asked_is_gone,
);

fn what_was_created_is_there(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("plain", &Spec::plain());
    let plain = live.cut("after a plain create");
    live.create("owned", &Spec::owned(1000, 2000, 0o2770));
    let owned = live.cut("after a create with an owner");
    live.create("shut", &Spec { mode: Some(0), ..Spec::keeping_nothing() });
    let shut = live.cut("after a create with mode 0 and retain 0");
    live.examine(&[plain, owned, shut]);
}

fn what_was_removed_is_whole_in_the_trash(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::owned(1000, 2000, 0o2770));
    live.write("a", "precious");
    live.remove("a");
    let written = live.cut("after a remove");
    live.create("b", &Spec::plain());
    live.remove("b");
    let at_once = live.cut("after a remove of a volume that was just made");
    live.examine(&[written, at_once]);
}

fn what_was_removed_for_good_is_gone(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::keeping_nothing());
    live.write("a", "scratch");
    live.remove("a");
    let cut = live.cut("after a remove of a volume with retain=0");
    live.examine(&[cut]);
}

fn what_was_created_again_is_the_new_volume(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::plain());
    live.write("a", "the first");
    live.remove("a");
    live.create("a", &Spec { mode: Some(0o700), ..Spec::keeping_nothing() });
    let kept = live.cut("after a create of a name that is in the trash");
    live.remove("a");
    live.create("a", &Spec::owned(5, 6, 0o1777));
    let deleted = live.cut("after a create of a name that was removed for good");
    live.examine(&[kept, deleted]);
}

fn what_was_put_there_by_hand_and_created_is_there(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::plain());
    live.write("a", "precious");
    live.remove("a");
    let root = live.disk.path("root");
    let [entry] = &found::entries(&root.join("trash"))[..] else { panic!("not one entry") };
    live.ledger.change("a", Change::Adopt, || {
        fs::rename(root.join("trash").join(entry), root.join("volumes/a")).unwrap();
        live.serve.create("a");
    });
    let cut = live.cut("after a create of what was moved back");
    live.examine(&[cut]);
}

fn what_was_refused_has_changed_nothing(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::plain());
    let refused = |name: &str, method: &str, body: serde_json::Value| {
        live.ledger.change(name, Change::Nothing, || {
            let answer = live.serve.call(method, &body.to_string());
            assert!(answer.status >= 400, "{method} {body}: {answer:?}");
        });
    };
    refused("b", "VolumeDriver.Create", json!({"Name": "b", "Opts": {"unknown": "1"}}));
    refused("a", "VolumeDriver.Create", json!({"Name": "a", "Opts": {"uid": "7"}}));
    live.serve.ok("VolumeDriver.Mount", &json!({"Name": "a", "ID": "held"}).to_string());
    refused("a", "VolumeDriver.Remove", json!({"Name": "a"}));
    live.ledger.change("c", Change::Nothing, || live.serve.remove("c"));
    let cut = live.cut("after refusals, and a remove of nothing");
    live.examine(&[cut]);
}

fn what_the_log_says_was_purged_is_gone(fs: FileSystem) {
    let mut live = Live::new(fs);
    live.create("a", &Spec::plain());
    live.write("a", "precious once");
    live.remove("a");
    // A driver with another retention finds the entry due when it starts.
    let root = live.disk.path("root");
    let mut command = revive::command(&live.setup, &root, &live.disk.path("state"));
    command.args(["--trash-retention", "1ns"]);
    live.stop();
    live.ledger.change("a", Change::Purge, || {
        live.serve = live.setup.start_with(command);
        eventually("the log says that it was purged", || {
            live.serve.log().contains("purged: its time was up").then_some(())
        });
    });
    let cut = live.cut("after a purge");
    live.examine(&[cut]);
}

fn what_was_removed_when_there_was_no_trash_yet_is_in_the_trash(fs: FileSystem) {
    let mut live = Live::new(fs);
    live.create("a", &Spec::plain());
    live.write("a", "precious");
    live.stop();
    fs::remove_dir(live.disk.path("root/trash")).unwrap();
    live.disk.flush();
    live.serve_again();
    live.remove("a");
    let cut = live.cut("after a remove into a trash that was just made");
    live.examine(&[cut]);
}

fn what_was_set_is_set(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::owned(1000, 2000, 0o2770));
    live.write("a", "precious");
    live.ledger.change("a", Change::Set(0o700), || {
        let body = json!({"Name": "a", "Opts": {"mode": "700"}}).to_string();
        live.serve.ok("Dirvol.Set", &body);
    });
    let cut = live.cut("after a set");
    live.examine(&[cut]);
}

fn what_was_restored_is_there(fs: FileSystem) {
    let live = Live::new(fs);
    let spec = Spec::owned(1000, 2000, 0o2770);
    for name in ["a", "b"] {
        live.create(name, &spec);
        live.write(name, "precious");
        live.remove(name);
    }
    let restore = |body: serde_json::Value| live.serve.ok("Dirvol.TrashRestore", &body.to_string());
    live.ledger.change("a", Change::Restore, || restore(json!({"Entry": "a"})));
    let own = live.cut("after a restore");
    let spec = Spec { payload: Some("precious".into()), ..spec };
    live.ledger.change("b", Change::Purge, || {
        live.ledger.change("c", Change::Create(spec), || {
            restore(json!({"Entry": "b", "Name": "c"}));
        });
    });
    let other = live.cut("after a restore under another name");
    live.examine(&[own, other]);
}

fn what_was_purged_as_asked_is_gone(fs: FileSystem) {
    let live = Live::new(fs);
    live.create("a", &Spec::plain());
    live.write("a", "precious once");
    live.remove("a");
    live.ledger.change("a", Change::Purge, || {
        live.serve.ok("Dirvol.TrashPurge", &json!({"All": true}).to_string());
    });
    let cut = live.cut("after a purge that was asked for");
    live.examine(&[cut]);
}
