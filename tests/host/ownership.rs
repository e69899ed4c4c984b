//! Options as Podman sends them, and who owns what in its containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use crate::harness::{Serve, tree};
use crate::storage::start;

const KNOWN: &str = "(known: from, gid, inodes, live, mode, path, protect, retain, size, uid)";

/// The owner and the permissions of a volume's directory.
fn owner(serve: &Serve, volume: &str) -> (u32, u32, u32) {
    let data = fs::metadata(serve.root.join("volumes").join(volume).join("data")).unwrap();
    (data.uid(), data.gid(), data.permissions().mode() & 0o7777)
}

/// Podman takes `o` apart, and sends its parts in capitals beside the whole.
#[test]
fn podmans_way_to_write_options_is_understood() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create --driver dirvol --opt o=uid=5,gid=6,mode=2770 one");
    podman.ok("volume create --driver dirvol --opt uid=5 --opt gid=6 --opt mode=2770 two");
    podman.ok("volume create --driver dirvol --opt UID=5 --opt GID=6 --opt MODE=2770 three");
    for volume in ["one", "two", "three"] {
        assert_eq!(owner(&serve, volume), (5, 6, 0o2770), "{volume}");
    }
    let options = json!({"UID": "5", "GID": "6", "o": "uid=5,gid=6,mode=2770"});
    assert_eq!(podman.inspect("one")["Options"], options);
}

/// Nothing is ignored: whoever asks for a limit would believe that there is one.
#[test]
fn options_that_cannot_be_met_are_refused_with_the_cure() {
    let (setup, serve, podman) = start();
    let unlimited = || format!("the file system of {} does not enforce", setup.root().display());
    let unknown = |key: &str| format!("option {key:?} is unknown {KNOWN}");
    let cases = [
        ("o=size=10M,uid=5", unlimited()),
        ("SIZE=10M", unlimited()),
        ("o=inodes=100", unlimited()),
        ("INODES=100", unlimited()),
        ("o=noquota", unknown("noquota")),
        ("type=tmpfs", unknown("type")),
    ];
    for (option, why) in cases {
        let (code, error) =
            podman.fails(&format!("volume create --driver dirvol --opt {option} v"));
        let whole = format!(
            "Error: creating volume \"v\" in plugin dirvol: on /VolumeDriver.Create on volume v in \
             volume plugin dirvol: volume v: {why}"
        );
        assert_eq!(code, 125, "{option}");
        assert!(error.starts_with(&whole) && error.ends_with('\n'), "{option}: {error}");
    }
    assert_eq!(serve.names(), Vec::<String>::new());
    assert_eq!(podman.ok("volume ls -q"), "");
}

/// Podman never changes the owner of a plugin's volume, so an image whose user is not
/// root needs the options.
#[test]
fn an_image_with_a_user_of_its_own_writes_to_a_volume_that_is_made_for_it() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create --driver dirvol roots");
    podman.ok("volume create --driver dirvol --opt o=uid=1000,gid=1000,mode=0700 own");
    let user = "--rm --user 1000:1000";
    let (_code, error) = podman.run_fails(&format!("{user} -v roots:/x"), "touch /x/mine");
    assert!(error.contains("Permission denied"), "{error}");
    podman.run(&format!("{user} -v own:/x"), "touch /x/mine");
    let stat = podman.run(&format!("{user} -v own:/x"), "stat -c %u:%g:%a /x");
    assert_eq!(stat, "1000:1000:700\n");
    // `:U` hands over a volume that is there.
    podman.run(&format!("{user} -v roots:/x:U"), "touch /x/mine");
    assert_eq!(owner(&serve, "roots"), (1000, 1000, 0o755));
}

#[test]
fn the_content_of_the_image_is_copied_and_the_directory_keeps_its_owner() {
    let (_setup, serve, podman) = start();
    podman.ok("volume create --driver dirvol --opt mode=0750 --opt uid=1000 filled");
    podman.ok("volume create --driver dirvol empty");
    assert_eq!(
        podman.run("--rm -v filled:/seeded", "cat /seeded/greeting"),
        "hello from the image\n"
    );
    podman.run("--rm -v empty:/seeded:nocopy", "true");
    let data = |name: &str| tree(&serve.root.join("volumes").join(name).join("data"));
    assert_eq!(data("filled"), [r#"greeting 0644 0:0 "hello from the image\n""#]);
    assert_eq!(owner(&serve, "filled"), (1000, 0, 0o750));
    assert_eq!(data("empty"), Vec::<String>::new());

    // What is not empty is left as it is.
    fs::remove_file(serve.root.join("volumes/filled/data/greeting")).unwrap();
    fs::write(serve.root.join("volumes/filled/data/mine"), "").unwrap();
    podman.run("--rm -v filled:/seeded", "true");
    assert_eq!(data("filled"), [r#"mine 0644 0:0 """#]);
}
