//! A disk that is full, or nearly: whose space is taken first, and what is said.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::asked::said;
use crate::expect::{failed, listing, named, neutral, swept_listing, volume, with_id};
use crate::harness::{DONE, Serve, Setup, eventually};
use crate::mounts::{Container, in_own_mounts, mount_memory};
use crate::trash::{announce, entries, removed};

const CREATE: &str = "VolumeDriver.Create";
const MIB: usize = 1 << 20;

/// A name as an engine makes one up: such a volume is deleted at once.
const ANONYMOUS: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// Serves a root on a small disk: volumes `a` and `b` were removed, one after
/// the other, and hold a quarter of it each; `c` is there.
fn on_a_small_disk(test: impl FnOnce(&Setup, &Serve) + Send) {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(&setup.root(), "size=8m");
        let serve = setup.serve();
        for name in ["a", "b", "c"] {
            serve.create(name);
        }
        for name in ["a", "b"] {
            let data = setup.root().join("volumes").join(name).join("data");
            fs::write(data.join("bytes"), vec![0; 2 * MIB]).unwrap();
            serve.remove(name);
        }
        assert_eq!(removed(&setup.root()), ["a", "b"]);
        test(&setup, &serve);
        serve.stop();
    });
}

/// How many entries of the trash are counted as purged: those that expired, and
/// those whose space was needed.
fn purged(serve: &Serve) -> (u64, u64) {
    let count = |reason| serve.metric("dirvol_trash_purged_total", reason);
    (count("\"expired\""), count("\"low_space\""))
}

/// Fills the disk to the last byte, from within the volume `name`.
fn fill(root: &Path, name: &str) {
    let data = root.join("volumes").join(name).join("data");
    let mut file = File::create(data.join("bytes")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn a_create_that_finds_no_space_takes_it_from_the_oldest_entry() {
    on_a_small_disk(|setup, serve| {
        fill(&setup.root(), "c");
        serve.create("d");
        // The space of one was enough.
        assert_eq!(removed(&setup.root()), ["b"]);
        eventually("it is counted", || (purged(serve) == (0, 1)).then_some(()));
        assert_eq!(serve.names(), ["c", "d"]);
        let lines = swept_listing(&setup.root());
        assert!(volume("d").iter().all(|line| lines.contains(line)), "{lines:?}");
    });
}

#[test]
fn a_remove_says_that_it_may_not_be_taken_back_for_long_where_space_is_low() {
    on_a_small_disk(|setup, serve| {
        fill(&setup.root(), "c");
        let ended = said(serve, "rm c");
        let entry = "c~0000000000~ffffffffffffffff";
        let expected = format!(
            "c: in the trash, but space is low and it may be deleted at once; 'dirvol trash \
             restore {entry}' takes it back if you are quick\n"
        );
        assert_eq!(ended, expected);
        let log = neutral(&serve.log());
        let line = format!("kept in the trash as {entry} for 1day, or less: space is low; ");
        assert!(log.contains(&line), "{log}");
    });
}

#[test]
fn the_log_says_whose_space_a_create_took() {
    on_a_small_disk(|setup, serve| {
        let oldest = entries(&setup.root()).remove(0);
        fill(&setup.root(), "c");
        serve.create("d");
        let told = format!(r#" WARN purged: space is low volume="a" entry="{oldest}""#);
        eventually("the log says so", || {
            serve.log().lines().any(|line| line.ends_with(&told)).then_some(())
        });
    });
}

#[test]
fn a_create_that_finds_no_space_anywhere_leaves_nothing() {
    on_a_small_disk(|setup, serve| {
        for entry in entries(&setup.root()) {
            fs::remove_dir_all(setup.root().join("trash").join(entry)).unwrap();
        }
        fill(&setup.root(), "c");
        let refused = serve.call(CREATE, &named("d"));
        assert_eq!(refused.status, 500, "{refused:?}");
        let why = ": No space left on device (os error 28); free space or inodes on that disk\"}";
        assert!(refused.body.starts_with("{\"Err\":\"volume d: "), "{refused:?}");
        assert!(refused.body.ends_with(why), "{refused:?}");
        assert_eq!(serve.names(), ["c"]);
        let none = failed(404, "no such volume: d");
        assert_eq!(serve.call("VolumeDriver.Get", &named("d")), none);
        fs::remove_file(setup.root().join("volumes/c/data/bytes")).unwrap();
        serve.create("d");
        assert_eq!(serve.names(), ["c", "d"]);
    });
}

#[test]
fn a_disk_without_inodes_is_given_those_of_the_oldest_entry() {
    let setup = Setup::new();
    in_own_mounts(|| {
        mount_memory(&setup.root(), "size=64m,nr_inodes=64");
        let serve = setup.serve();
        for name in ["a", "b", "c"] {
            serve.create(name);
        }
        serve.remove("a");
        serve.remove("b");
        let data = setup.root().join("volumes/c/data");
        let full = (0..).find(|i| File::create(data.join(format!("{i}"))).is_err());
        assert!(full.is_some());
        serve.create("d");
        assert_eq!(removed(&setup.root()), ["b"]);
        serve.stop();
    });
}

#[test]
fn when_space_is_low_the_oldest_entries_go_until_it_is_not() {
    on_a_small_disk(|setup, serve| {
        let oldest = entries(&setup.root()).remove(0);
        // Less than a tenth of the disk is left.
        fs::write(setup.root().join("volumes/c/data/bytes"), vec![0; 3 * MIB + MIB / 2]).unwrap();
        let mount = serve.ok("VolumeDriver.Mount", &with_id("c", "x"));
        assert!(mount.contains("volumes/c/data"), "{mount}");
        eventually("the oldest is gone", || (removed(&setup.root()) == ["b"]).then_some(()));
        let told = format!(r#" WARN purged: space is low volume="a" entry="{oldest}""#);
        eventually("the log says so", || {
            serve.log().lines().any(|line| line.ends_with(&told)).then_some(())
        });
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("c", "x")), DONE);
        assert_eq!(purged(serve), (0, 1));
        // Nor at the next look, which is over when there is nothing left to delete.
        announce(serve);
        swept_listing(&setup.root());
        assert_eq!(removed(&setup.root()), ["b"]);
    });
}

#[test]
fn low_space_does_not_take_what_somebody_has_mounted() {
    on_a_small_disk(|setup, serve| {
        let oldest = entries(&setup.root()).remove(0);
        let container = Container::with(&setup.root().join("trash").join(oldest).join("data"));
        fill(&setup.root(), "c");
        serve.create("d");
        assert_eq!(removed(&setup.root()), ["a"]);
        drop(container);
    });
}

/// Its own entry might be the oldest.
#[test]
fn a_restore_that_finds_no_space_takes_none_from_the_trash() {
    on_a_small_disk(|setup, serve| {
        fill(&setup.root(), "c");
        let body = json!({"Entry": "a", "Name": "d"}).to_string();
        // Under another name it needs a new record.
        let refused = serve.call("Dirvol.TrashRestore", &body);
        assert_eq!(refused.status, 500, "{refused:?}");
        let why = ": No space left on device (os error 28); free space or inodes on that disk\"}";
        assert!(refused.body.starts_with("{\"Err\":\"volume d: "), "{refused:?}");
        assert!(refused.body.ends_with(why), "{refused:?}");
        assert_eq!(removed(&setup.root()), ["a", "b"]);
        assert_eq!(serve.names(), ["c"]);
        serve.ok("Dirvol.TrashRestore", &json!({"Entry": "a"}).to_string());
        assert_eq!(serve.names(), ["a", "c"]);
        let bytes = fs::metadata(setup.root().join("volumes/a/data/bytes")).unwrap();
        assert_eq!(bytes.len(), 2 << 20);
        assert_eq!(purged(serve), (0, 0));
    });
}

#[test]
fn what_is_removed_for_good_gives_its_space_before_the_trash_does() {
    on_a_small_disk(|setup, serve| {
        serve.create(ANONYMOUS);
        fill(&setup.root(), ANONYMOUS);
        serve.remove(ANONYMOUS);
        let staging = setup.root().join("staging");
        eventually("its bytes are deleted", || listing(&staging).is_empty().then_some(()));
        assert_eq!(removed(&setup.root()), ["a", "b"]);
        // As is done for a Create that finds the disk full.
        serve.create("d");
        assert_eq!(removed(&setup.root()), ["a", "b"]);
    });
}
