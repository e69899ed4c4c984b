//! Containers that attack: what they leave in a volume, and what they do to it while
//! the driver works on it, reaches nothing outside.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::asked::{ask, said};
use crate::expect::{done, named, root_with, swept_listing, with_id, with_options};
use crate::harness::hostile::{Mounter, Sentinel, Swapper, make_deep, make_many};
use crate::harness::{Serve, Setup, eventually, tree};
use crate::mounts::{in_own_mounts, mount_memory};
use crate::trash::entries;

/// What is done to the volume `a` while its files are swapped.
struct Attacked {
    what: &'static str,
    /// Its options.
    options: fn() -> Value,
    /// Does it, and returns the directory in which what came of it lies, if anything did.
    act: fn(&Serve) -> Option<PathBuf>,
}

/// What reads or deletes a container's files has a row here.
const ATTACKED: [Attacked; 5] = [
    Attacked {
        what: "a removal for good",
        options: || json!({"retain": "0"}),
        act: |serve| {
            serve.remove("a");
            None
        },
    },
    Attacked {
        what: "a purge",
        options: || json!({}),
        act: |serve| {
            serve.remove("a");
            let purged = serve.ok("Dirvol.TrashPurge", &json!({"Entry": "a"}).to_string());
            assert!(purged.contains("\"Kept\":[]"), "{purged}");
            None
        },
    },
    Attacked {
        what: "a copy",
        options: || json!({}),
        act: |serve| {
            serve.ok("Dirvol.Clone", r#"{"Name":"b","From":"a","Live":true}"#);
            serve.remove("a");
            Some(serve.root.join("volumes/b/data"))
        },
    },
    Attacked {
        what: "a count",
        options: || json!({}),
        act: |serve| {
            // One takes no longer than a few swaps.
            (0..20).for_each(|_| drop(serve.ok("Dirvol.Usage", &named("a"))));
            serve.remove("a");
            None
        },
    },
    Attacked {
        what: "an archive",
        options: || json!({}),
        act: |serve| {
            let made = serve.root.with_file_name("made");
            fs::create_dir_all(&made).unwrap();
            let exported = ask(serve, &format!("export a {}/tar --live", made.display()));
            assert_eq!(exported.code, Some(0), "{}", exported.stderr);
            said(serve, &format!("import b {}/tar", made.display()));
            serve.remove("a");
            Some(made)
        },
    },
];

/// Runs a test with everything in memory: so many files would keep the disk from those
/// who run beside it.
pub fn in_memory(setup: &Setup, test: impl FnOnce() + Send) {
    in_own_mounts(|| {
        mount_memory(setup.dir.path(), "mode=0755,size=4g,nr_inodes=2m");
        test();
    });
}

/// How often the driver said that it could not delete something.
fn told(serve: &Serve) -> usize {
    serve.log().matches("WARN cannot delete from the trash").count()
}

/// How often each is attacked.
fn rounds() -> usize {
    std::env::var("DIRVOL_TEST_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap())
}

#[test]
fn what_is_swapped_for_links_while_it_is_walked_over_is_not_followed() {
    let setup = Setup::new();
    in_memory(&setup, || {
        let sentinel = Sentinel::new(setup.path("sentinel"));
        for attacked in &ATTACKED {
            let what = attacked.what;
            let mut serve = setup.serve();
            for _ in 0..rounds() {
                let create = with_options("a", &(attacked.options)());
                assert_eq!(serve.call("VolumeDriver.Create", &create), done());
                let data = setup.root().join("volumes/a/data");
                sentinel.plant(&data);
                let swapper = Swapper::start(&data, &sentinel);
                let mounter = Mounter::start(&data, &sentinel);
                let before = (swapper.swaps(), told(&serve));
                let made = (attacked.act)(&serve);
                let staging = setup.root().join("staging");
                eventually("the driver is done with it", || {
                    let swept = fs::read_dir(&staging).unwrap().next().is_none();
                    (swept || told(&serve) > before.1).then_some(())
                });
                assert!(swapper.swaps() > before.0, "{what}: nothing was swapped meanwhile");
                drop((swapper, mounter));
                sentinel.assert_untouched(what);
                if let Some(made) = made {
                    sentinel.assert_not_below(&made, what);
                }
                // What was swapped under its hands is deleted at the latest by the next.
                if fs::read_dir(&staging).unwrap().next().is_some() {
                    serve.stop();
                    serve = setup.serve();
                }
                serve.names().iter().for_each(|name| serve.remove(name));
                serve.ok("Dirvol.TrashPurge", r#"{"All":true}"#);
                assert_eq!(swept_listing(&setup.root()), root_with([]), "{what}");
            }
            serve.stop();
        }
    });
}

#[test]
fn a_tree_deeper_than_any_path_is_deleted() {
    let setup = Setup::new();
    in_memory(&setup, || {
        let sentinel = Sentinel::new(setup.path("sentinel"));
        let serve = setup.serve();
        let create = with_options("a", &json!({"retain": "0"}));
        assert_eq!(serve.call("VolumeDriver.Create", &create), done());
        let data = setup.root().join("volumes/a/data");
        sentinel.plant(&data);
        fs::create_dir(data.join("deep")).unwrap();
        make_deep(&data.join("deep"), 4000, &sentinel);
        serve.remove("a");
        assert_eq!(swept_listing(&setup.root()), root_with([]));
        sentinel.assert_untouched("purge");
        assert!(!serve.log().contains("WARN"), "{}", serve.log());
        serve.stop();
    });
}

/// `VmHWM` of the driver: the most memory that it ever had, in KiB.
pub fn peak(serve: &Serve) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// `DIRVOL_TEST_FILES=1000000` is for who has a few minutes.
#[test]
fn many_files_are_deleted_in_the_memory_of_a_few() {
    let files = std::env::var("DIRVOL_TEST_FILES").map_or(100_000, |files| files.parse().unwrap());
    let setup = Setup::new();
    in_memory(&setup, || {
        let serve = setup.serve();
        let remove = |files| {
            let create = with_options("a", &json!({"retain": "0"}));
            assert_eq!(serve.call("VolumeDriver.Create", &create), done());
            make_many(&setup.root().join("volumes/a/data"), files);
            serve.remove("a");
            let start = std::time::Instant::now();
            while fs::read_dir(setup.root().join("staging")).unwrap().next().is_some() {
                // A million takes longer than other things may.
                assert!(start.elapsed().as_secs() < 600, "{files} files are still there");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        };
        remove(1000);
        let few = peak(&serve);
        remove(files);
        let many = peak(&serve);
        println!("{few} KiB for a thousand files, {many} KiB for {files}");
        assert!(many < few + 1024, "{few} KiB for a thousand files, {many} KiB for {files}");
        serve.stop();
    });
}

/// Puts something into the place of the file at the first path; the second is a tree
/// outside of the root, or a file there.
type Plant = fn(&Path, &Path);

/// What somebody puts in the place of a record in the trash, and what is said of it.
#[test]
fn an_entry_of_the_trash_with_an_edited_record_is_listed_and_can_go() {
    let harms: [(&str, Plant); 4] = [
        ("a link", |record, sentinel| symlink(sentinel.join("precious"), record).unwrap()),
        ("a fifo", |record, _| mkfifo(record, Mode::S_IRWXU).unwrap()),
        ("a hard link", |record, sentinel| {
            fs::hard_link(sentinel.join("precious"), record).unwrap();
        }),
        ("a tebibyte", |record, _| {
            let file = fs::File::create(record).unwrap();
            file.write_all_at(b"{", 1 << 40).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let setup = Setup::new();
        let sentinel = Sentinel::new(setup.path("sentinel"));
        let serve = setup.serve();
        serve.create("a");
        serve.remove("a");
        let [entry] = entries(&setup.root()).try_into().unwrap();
        let record = setup.root().join("trash").join(&entry).join("volume.json");
        fs::remove_file(&record).unwrap();
        harm(&record, sentinel.path());
        let list: Value = serde_json::from_str(&serve.ok("Dirvol.TrashList", "{}")).unwrap();
        let health = list["Entries"][0]["Health"].as_str().unwrap();
        assert!(health.starts_with("damaged: "), "{what}: {health}");
        assert!(!sentinel.is_in(health.as_bytes()), "{what}: {health}");
        // Under another name its record would have to be read.
        let request = json!({"Entry": "a", "Name": "b"}).to_string();
        let restored = serve.call("Dirvol.TrashRestore", &request);
        assert_eq!(restored.status, 500, "{what}: {}", restored.body);
        assert!(!sentinel.is_in(restored.body.as_bytes()), "{what}: {}", restored.body);
        let purged = serve.ok("Dirvol.TrashPurge", r#"{"All":true}"#);
        assert_eq!(purged, format!(r#"{{"Purged":["{entry}"],"Kept":[],"Err":""}}"#), "{what}");
        assert_eq!(swept_listing(&setup.root()), root_with([]), "{what}");
        sentinel.assert_untouched(what);
        serve.stop();
    }
}

/// A record is replaced by a new file: nothing is written through what lies there.
#[test]
fn what_lies_in_the_new_records_place_is_not_written_to() {
    let setup = Setup::new();
    let sentinel = Sentinel::new(setup.path("sentinel"));
    let serve = setup.serve();
    serve.create("a");
    let volume = setup.root().join("volumes/a");
    for plant in [
        (|at, to| symlink(to, at).unwrap()) as Plant,
        |at, to| fs::hard_link(to, at).unwrap(),
        |at, _| mkfifo(at, Mode::S_IRWXU).unwrap(),
    ] {
        plant(&volume.join("volume.json.new"), &sentinel.path().join("precious"));
        serve.ok("Dirvol.Set", &with_options("a", &json!({"retain": "2h"})));
        assert!(!volume.join("volume.json.new").exists());
        sentinel.assert_untouched("set");
    }
    serve.stop();
}

/// A record of another user was put there by root, or came with a backup: what it says
/// counts. A sparse file of a tebibyte is not read.
#[test]
fn a_record_counts_by_what_it_says_and_is_read_no_further_than_a_record_is_long() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let record = setup.root().join("volumes/a/volume.json");
    chown(&record, Some(65_534), Some(65_534)).unwrap();
    serve.ok("VolumeDriver.Mount", &with_id("a", "1"));
    serve.ok("VolumeDriver.Unmount", &with_id("a", "1"));
    // Once it is written anew it is the driver's.
    serve.ok("Dirvol.Set", &with_options("a", &json!({"retain": "2h"})));
    assert_eq!(fs::metadata(&record).unwrap().uid(), 0);
    let file = fs::File::options().write(true).open(&record).unwrap();
    file.write_all_at(b"{", 1 << 40).unwrap();
    let refused = serve.call("VolumeDriver.Mount", &with_id("a", "1"));
    assert!(refused.body.contains("longer than 1048576 bytes"), "{}", refused.body);
    serve.stop();
}

/// A container chooses where it mounts a volume, and whoever edits a record what is in
/// it. A terminal obeys control characters.
#[test]
fn nothing_that_others_wrote_reaches_a_terminal_as_an_order() {
    let setup = Setup::new();
    let serve = setup.serve();
    for name in ["a", "edited"] {
        serve.create(name);
    }
    let record = setup.root().join("volumes/edited/volume.json");
    let text =
        r#"{"format":1,"name":"edited","created":"2023-11-14T22:13:20Z","\u001b[2Jx\u009b":1}"#;
    fs::write(&record, text).unwrap();
    let place = setup.path("\u{1b}]0;owned\u{7}\u{9b}2J");
    fs::create_dir(&place).unwrap();
    let script = r#"mount --bind "$0" "$1" && echo mounted && exec cat"#;
    let mut container = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(setup.root().join("volumes/a/data"))
        .arg(&place)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(container.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let refused = serve.call("VolumeDriver.Remove", &named("a"));
    let health = serve.ok("VolumeDriver.Get", &named("edited"));
    let said = ["holders a", "ls", "ls --format json"].map(|line| said(&serve, line));
    let log = serve.log();
    container.kill().unwrap();
    container.wait().unwrap();
    assert_eq!(refused.status, 409, "{}", refused.body);
    let err: Value = serde_json::from_str(&refused.body).unwrap();
    let err = err["Err"].as_str().unwrap();
    assert!(err.contains("]0;owned"), "{err}");
    let got: Value = serde_json::from_str(&health).unwrap();
    let health = got["Volume"]["Status"]["health"].as_str().unwrap();
    assert!(health.contains("unknown field"), "{health}");
    let lines = |text: &str| text.replace('\n', "");
    for text in [err.to_owned(), health.to_owned(), lines(&said.concat()), lines(&log)] {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    serve.stop();
}

/// The trash holds what the volume held, for as long as its time is; nothing is kept of
/// what is not to be kept.
#[test]
fn a_removed_secret_stays_for_root_until_it_is_purged() {
    let setup = Setup::new();
    let serve = setup.serve();
    for (name, options) in [("kept", json!({})), ("gone", json!({"retain": "0"}))] {
        let create = with_options(name, &options);
        assert_eq!(serve.call("VolumeDriver.Create", &create), done());
        let secret = setup.root().join("volumes").join(name).join("data/secret");
        fs::write(secret, format!("secret of {name}")).unwrap();
        serve.remove(name);
    }
    let holds = |secret: &str| {
        let lines = tree(&setup.root());
        lines.iter().filter(|line| line.contains(secret)).count()
    };
    eventually("the one that is not kept is gone", || (holds("secret of gone") == 0).then_some(()));
    assert_eq!(holds("secret of kept"), 1);
    // Nobody but root goes there.
    assert_eq!(fs::metadata(setup.root().join("trash")).unwrap().mode() & 0o7777, 0o700);
    said(&serve, "trash purge --all");
    assert_eq!(swept_listing(&setup.root()), root_with([]));
    serve.stop();
}
