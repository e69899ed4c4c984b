//! What is taken out of the trash, one way or the other.

use std::fs;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::asked::{ask, refused, said};
use crate::expect::{
    done, entry, failed, listing, neutral, root_with, swept_listing, volume, volume_at, volume_set,
    with_options,
};
use crate::harness::{Serve, Setup};
use crate::mounts::Container;
use crate::program::Ended;
use crate::trash::entries;

/// Creates a volume with some bytes, and removes it; returns its entry.
fn removed(setup: &Setup, serve: &Serve, name: &str, bytes: &str) -> String {
    let options = json!({"mode": "2770", "uid": "5"});
    assert_eq!(serve.call("VolumeDriver.Create", &with_options(name, &options)), done());
    fs::write(setup.root().join("volumes").join(name).join("data/bytes"), bytes).unwrap();
    let before = entries(&setup.root());
    serve.remove(name);
    let mut after = entries(&setup.root());
    after.retain(|entry| !before.contains(entry));
    after.pop().unwrap()
}

/// The listing of such a volume, at `path`, with a record of the name `name`.
fn with_bytes(path: &str, name: &str, bytes: &str) -> Vec<String> {
    let mut lines =
        volume_at(path, name, "2770 5:0", &json!({"mode": "2770", "uid": "5"})).to_vec();
    lines.push(format!("{path}/data/bytes 0644 0:0 {bytes:?}"));
    lines
}

#[test]
fn a_volume_comes_back_whole_under_its_name_or_another() {
    let setup = Setup::new();
    let serve = setup.serve();
    let first = removed(&setup, &serve, "db", "first");
    let second = removed(&setup, &serve, "db", "second");
    said(&serve, &format!("trash restore {second}"));
    let mut expected = with_bytes("volumes/db", "db", "second");
    expected.extend(with_bytes(&entry("db"), "db", "first"));
    assert_eq!(listing(&setup.root()), root_with(expected));

    // Its name is taken now, and what is there is not touched.
    let why = "volume db exists: restore the entry with --as under another name";
    refused(&serve, "trash restore db", why);
    refused(&serve, &format!("trash restore {first} --as db"), why);
    said(&serve, &format!("trash restore {first} --as db.old"));
    let line = format!(
        "INFO restored from the trash: {first} op=\"dirvol_trash_restore\" volume=\"db.old\" "
    );
    assert_eq!(serve.log().matches(&line).count(), 1, "{}", serve.log());
    let line = line.replace(&first, &second).replace("db.old", "db");
    assert_eq!(serve.log().matches(&line).count(), 1, "{}", serve.log());
    let mut expected = with_bytes("volumes/db", "db", "second");
    expected.extend(with_bytes("volumes/db.old", "db.old", "first"));
    assert_eq!(listing(&setup.root()), root_with(expected));
    assert_eq!(
        fs::read_dir(setup.state().join("seen")).unwrap().count(),
        2,
        "both names are known without the root"
    );
    // Each is a volume like any other.
    serve.stop();
    let serve = setup.serve();
    assert_eq!(serve.names(), ["db", "db.old"]);
    serve.remove("db.old");
    said(&serve, "trash restore db.old");
    serve.stop();
}

#[test]
fn two_who_restore_one_entry_under_two_names_make_one_volume_that_is_whole() {
    let setup = Setup::new();
    let serve = setup.serve();
    for round in 0..20 {
        let entry = removed(&setup, &serve, "db", "bytes");
        let names = ["left", "right"].map(|side| format!("{side}-{round}"));
        let restored: Vec<u16> = thread::scope(|scope| {
            let calls = names.each_ref().map(|name| {
                let body = json!({"Entry": entry, "Name": name}).to_string();
                let serve = &serve;
                scope.spawn(move || serve.call("Dirvol.TrashRestore", &body).status)
            });
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let winner = restored.iter().position(|status| *status == 200).unwrap();
        assert_eq!(restored[1 - winner], 404, "{restored:?}");
        let path = format!("volumes/{}", names[winner]);
        let expected = with_bytes(&path, &names[winner], "bytes");
        assert_eq!(listing(&setup.root()), root_with(expected));
        said(&serve, &format!("set {} retain=0", names[winner]));
        serve.remove(&names[winner]);
        swept_listing(&setup.root());
    }
    serve.stop();
}

#[test]
fn an_entry_that_could_be_one_of_several_is_to_be_named_whole() {
    let setup = Setup::new();
    let serve = setup.serve();
    let all = [removed(&setup, &serve, "db", "first"), removed(&setup, &serve, "db", "second")];
    serve.create("other");
    let before = listing(&setup.root());
    let why = "volume other exists: restore the entry with --as under another name";
    refused(&serve, &format!("trash restore {} --as other", all[0]), why);
    let why = "no such entry in the trash: db; 2 are of that volume, \
               db~0000000000~ffffffffffffffff is the latest";
    refused(&serve, "trash restore db", why);
    refused(&serve, "trash purge db", why);
    let why = "no such entry in the trash: d; see 'dirvol trash ls'";
    refused(&serve, "trash purge d", why);
    refused(
        &serve,
        &format!("trash restore {} --as a/b", all[0]),
        "volume name \"a/b\" is not \
        allowed: use letters, digits, '_', '.' and '-', beginning with a letter or digit, at most \
        200 characters",
    );
    assert_eq!(listing(&setup.root()), before);
    said(&serve, &format!("trash purge {}", all[0]));
    assert_eq!(entries(&setup.root()), [all[1].as_str()]);
    said(&serve, "trash restore db");
    let mut expected = with_bytes("volumes/db", "db", "second");
    expected.extend(volume("other"));
    assert_eq!(swept_listing(&setup.root()), root_with(expected));
    serve.stop();
}

#[test]
fn a_name_is_that_of_one_volume_and_not_of_those_that_begin_like_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    removed(&setup, &serve, "db.old", "old");
    refused(&serve, "trash restore db", "no such entry in the trash: db; see 'dirvol trash ls'");
    refused(&serve, "trash purge db", "no such entry in the trash: db; see 'dirvol trash ls'");
    removed(&setup, &serve, "db", "new");
    said(&serve, "trash restore db");
    let mut expected = with_bytes("volumes/db", "db", "new");
    expected.extend(with_bytes(&entry("db.old"), "db.old", "old"));
    assert_eq!(listing(&setup.root()), root_with(expected));
    serve.stop();
}

#[test]
fn a_restore_that_was_cut_off_after_it_wrote_the_new_name_is_finished_by_the_next() {
    let setup = Setup::new();
    let serve = setup.serve();
    let name = removed(&setup, &serve, "db", "bytes");
    let dir = setup.root().join("trash").join(&name);
    let record = fs::read_to_string(dir.join("volume.json")).unwrap();
    fs::write(dir.join("volume.json"), record.replace("\"db\"", "\"other\"")).unwrap();
    fs::write(dir.join("volume.json.new"), "torn").unwrap();
    let shown = said(&serve, "trash ls --format json");
    assert!(shown.contains(r#""Name":"db","#) && shown.contains(r#""Health":"ok","#), "{shown}");
    said(&serve, "trash restore db");
    assert_eq!(listing(&setup.root()), root_with(with_bytes("volumes/db", "db", "bytes")));
    serve.stop();
}

#[test]
fn an_entry_that_is_damaged_comes_back_as_it_is_and_not_under_another_name() {
    let setup = Setup::new();
    let serve = setup.serve();
    let name = removed(&setup, &serve, "db", "bytes");
    fs::write(setup.root().join("trash").join(&name).join("volume.json"), "torn").unwrap();
    let torn = "its record cannot be used: expected ident at line 1 column 2";
    let shown = said(&serve, "trash ls");
    assert!(shown.ends_with(&format!("  damaged: {torn}\n")), "{shown}");
    let data = setup.root().join("trash").join(&name);
    let why = format!(
        "volume x cannot be used: {torn}; mend it or move it away, {} is left as it is",
        neutral(&data.display().to_string())
    );
    refused(&serve, &format!("trash restore {name} --as x"), &why);
    let told = said(&serve, "trash restore db");
    assert_eq!(told, format!("db is restored as it was: damaged: {torn}\n"));
    let health = said(&serve, "ls");
    assert!(health.ends_with(&format!("  damaged: {torn}\n")), "{health}");
    assert_eq!(fs::read_to_string(setup.root().join("volumes/db/data/bytes")).unwrap(), "bytes");
    serve.stop();
}

#[test]
fn an_entry_that_is_kept_for_longer_than_there_are_years_is_listed() {
    let setup = Setup::new();
    let serve = setup.serve();
    let retain = json!({"retain": "9000y"});
    assert_eq!(serve.call("VolumeDriver.Create", &with_options("a", &retain)), done());
    serve.remove("a");
    fs::create_dir_all(setup.root().join("trash/b~999999999999~0123456789abcdef/data")).unwrap();
    let shown: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(&said(&serve, "trash ls --format json")).unwrap();
    let fields: Vec<Vec<&str>> =
        shown.iter().map(|entry| entry.keys().map(String::as_str).collect()).collect();
    // A time that cannot be written is left out.
    let fewer = vec!["Entry", "Health", "Name"];
    assert_eq!(fields, [vec!["Entry", "Health", "Name", "Options", "RemovedAt"], fewer]);
    said(&serve, "trash ls");
    serve.stop();
}

#[test]
fn what_somebody_still_has_mounted_is_not_purged() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("held");
    serve.create("free");
    let container = Container::with(&setup.root().join("volumes/held/data"));
    // As a person does who is sure of it.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for name in ["held", "free"] {
        let entry = format!("{name}~{now}~0123456789abcdef");
        fs::rename(setup.root().join("volumes").join(name), setup.root().join("trash").join(entry))
            .unwrap();
    }
    let held = "held~0000000000~ffffffffffffffff";
    let stays = format!("stays: process {} has it mounted at /mnt", container.pid());
    let ended = ask(&serve, "trash purge held");
    let stdout = format!("ENTRY                             WHAT BECAME OF IT\n{held}  {stays}\n");
    let stderr = format!("dirvol: {held} {stays}\n");
    assert_eq!(ended, Ended { code: Some(1), stdout, stderr });
    let all = said(&serve, "trash purge --all");
    let expected = format!(
        "ENTRY                             WHAT BECAME OF IT\n\
         free~0000000000~ffffffffffffffff  purged\n{held}  {stays}\n"
    );
    assert_eq!(all, expected);
    assert_eq!(serve.metric("dirvol_trash_purged_total", "asked"), 1);
    let log = neutral(&serve.log());
    let line = "INFO purged, as asked for op=\"dirvol_trash_purge\" volume=\"free\" \
                entry=\"free~0000000000~ffffffffffffffff\"\n";
    assert_eq!(log.matches("purged, as asked for").count(), 1, "{log}");
    assert!(log.contains(line), "{log}");
    drop(container);
    said(&serve, "trash purge --all");
    assert_eq!(swept_listing(&setup.root()), root_with([]));
    serve.stop();
}

#[test]
fn what_is_set_is_in_force_at_once_and_for_good() {
    let setup = Setup::new();
    let serve = setup.serve();
    let stated = json!({"mode": "0700", "uid": "5"});
    assert_eq!(serve.call("VolumeDriver.Create", &with_options("a", &stated)), done());
    fs::write(setup.root().join("volumes/a/data/file"), "").unwrap();
    said(&serve, "set a mode=2750 gid=7 retain=0");
    said(&serve, "set a protect=true gid=8");
    let set = json!({"gid": "8", "mode": "2750", "protect": "true", "retain": "0s"});
    let mut expected = volume_set("volumes/a", "a", "2750 5:8", &stated, &set).to_vec();
    // What lies in it stays as it is.
    expected.push("volumes/a/data/file 0644 0:0 \"\"".into());
    assert_eq!(listing(&setup.root()), root_with(expected.clone()));
    // An engine that has forgotten the volume may ask for it as it always did.
    assert_eq!(serve.call("VolumeDriver.Create", &with_options("a", &stated)), done());
    serve.stop();
    let serve = setup.serve();
    assert_eq!(listing(&setup.root()), root_with(expected));
    let shown = said(&serve, "inspect a");
    assert!(shown.contains("gid=8 mode=2750 protect=true retain=0s uid=5\n"), "{shown}");
    let why =
        "volume a is protected; if it is to be removed, run 'dirvol set a protect=false' first";
    let refusal = serve.call("VolumeDriver.Remove", r#"{"Name":"a"}"#);
    assert_eq!(refusal, failed(409, why));
    said(&serve, "set a protect=false");
    assert_eq!(said(&serve, "rm a"), "a: deleted for good\n");
    assert_eq!(swept_listing(&setup.root()), root_with([]));
    // What somebody wants kept is kept, although it has no name of its own.
    let anonymous = "0123456789abcdef".repeat(4);
    serve.create(&anonymous);
    said(&serve, &format!("set {anonymous} retain=1h"));
    let kept = format!(
        "{anonymous}: in the trash for 1h; 'dirvol trash restore \
         {anonymous}~0000000000~ffffffffffffffff' takes it back\n"
    );
    assert_eq!(said(&serve, &format!("rm {anonymous}")), kept);
    said(&serve, "trash purge --all");
    serve.create("b");
    assert_eq!(listing(&setup.root()), root_with(volume("b")));
    serve.stop();
}

#[test]
fn a_volume_is_not_said_to_be_removed_while_there_is_nowhere_to_move_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    fs::remove_dir(setup.root().join("trash")).unwrap();
    let refused = serve.call("VolumeDriver.Remove", r#"{"Name":"a"}"#);
    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(serve.names(), ["a"]);
    serve.stop();
    let serve = setup.serve();
    serve.remove("a");
    assert_eq!(entries(&setup.root()).len(), 1);
    serve.stop();
}
