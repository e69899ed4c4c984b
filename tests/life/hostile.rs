//! Archives that somebody made to do harm, or that are none: each is refused, whole, and
//! nothing is left of it.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dirvol::archive::{Entry, Kind, Piece, Time, Writer};
use dirvol::store::{Init, Scope, Settings};
use dirvol::volume::{self, Driver, Options, VolumeName};
use proptest::prelude::*;

use crate::harness::{self, Setup};
use crate::samples::{described, dirvol, left};

fn entry(path: &str, kind: Kind) -> Entry {
    let mtime = Time { seconds: 1, nanoseconds: 0 };
    Entry { path: path.into(), kind, mode: 0o644, uid: 0, gid: 0, mtime, xattrs: Vec::new() }
}

/// A file of three bytes.
fn file(path: &str) -> Entry {
    entry(path, Kind::File { size: 3, pieces: vec![Piece { at: 0, len: 3 }] })
}

fn link(path: &str, to: &str) -> Entry {
    entry(path, Kind::Link(to.into()))
}

fn symlink(path: &str, to: &str) -> Entry {
    entry(path, Kind::Symlink(to.into()))
}

fn written(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    for entry in entries {
        writer.entry(entry).unwrap();
        if let Kind::File { pieces, .. } = &entry.kind {
            pieces.iter().for_each(|piece| {
                writer.data(&b"abc".repeat(10)[..usize::try_from(piece.len).unwrap()]).unwrap();
            });
        }
    }
    writer.finish().unwrap();
    bytes
}

#[test]
fn what_would_lead_out_of_the_volume_is_refused_and_leaves_nothing() {
    let setup = Setup::new();
    let serve = setup.serve();
    fs::create_dir(setup.path("outside")).unwrap();
    fs::write(setup.path("outside/secret"), "secret").unwrap();
    serve.create("other");
    let outside = setup.path("outside").display().to_string();
    let before = described(&setup.path("outside"));
    let out = "its path has '..' in it, which could lead out of the volume";
    let deep = vec!["d"; 600].join("/");
    let cases: [(Vec<Entry>, String); 19] = [
        (vec![file("../x")], format!("entry \"../x\": {out}")),
        (vec![file("a/../../x")], format!("entry \"a/../../x\": {out}")),
        (vec![entry("..", Kind::Dir)], format!("entry \"..\": {out}")),
        (
            vec![symlink("a", &outside), file("a/x")],
            "entry \"a/x\": \"a\" is no directory, and nothing is written through a link".into(),
        ),
        (
            vec![symlink("a", ".."), entry("a/b", Kind::Dir)],
            "entry \"a/b\": \"a\" is no directory, and nothing is written through a link".into(),
        ),
        (
            vec![symlink("a", "."), entry("a", Kind::Dir)],
            "entry \"a\": \"a\" is no directory, and nothing is written through a link".into(),
        ),
        (
            vec![file("a"), file("a/b")],
            "entry \"a/b\": \"a\" is no directory, and nothing is written through a link".into(),
        ),
        (
            vec![link("a", "../../other/volume.json")],
            format!("entry \"a\": it is a link to \"../../other/volume.json\": {out}"),
        ),
        (
            vec![link("a", "/etc/passwd")],
            "entry \"a\": it is a link to \"/etc/passwd\": the archive has no such file before it"
                .into(),
        ),
        (
            vec![symlink("s", &outside), link("a", "s/secret")],
            "entry \"a\": it is a link to \"s/secret\": the archive has no such file before it"
                .into(),
        ),
        (
            vec![link("a", "later"), file("later")],
            "entry \"a\": it is a link to \"later\": the archive has no such file before it".into(),
        ),
        (
            vec![entry("d", Kind::Dir), link("a", "d")],
            "entry \"a\": it is a link to \"d\": that is a directory, or may not be linked to"
                .into(),
        ),
        (
            vec![entry("d", Kind::Dir), file("d")],
            "entry \"d\": the archive has a directory of that name too".into(),
        ),
        (
            vec![file(&"n".repeat(256))],
            format!("entry \"{}\": a name in its path is too long for the disk", "n".repeat(256)),
        ),
        (
            vec![entry(&deep, Kind::Dir)],
            format!("entry \"{deep}\": it lies in more than 512 directories"),
        ),
        (vec![entry("a", Kind::Fifo), file("./")], "entry \"./\": it has no name".into()),
        (
            // A link in the place of the directory in which the last file was made.
            vec![entry("d", Kind::Dir), file("d/a"), symlink("d", &outside), file("d/secret")],
            "entry \"d\": the archive has a directory of that name too".into(),
        ),
        (
            // What was a directory when the file in it was linked to.
            vec![file("d/a"), link("l", "d/a"), symlink("e", &outside), link("m", "e/secret")],
            "entry \"m\": it is a link to \"e/secret\": the archive has no such file before it"
                .into(),
        ),
        (vec![symlink("a", "")], "entry \"a\": it is a symbolic link to nothing".into()),
    ];
    for (entries, why) in cases {
        refused(&setup, &serve, &written(&entries), &why);
    }
    // What no program of ours writes.
    let mut unknown = written(&[file("a")]);
    unknown[156] = b'D';
    mend(&mut unknown);
    refused(&setup, &serve, &unknown, "entry \"a\": it is of the unknown kind 'D'");
    let whole = written(&[file("a"), file("b")]);
    let cut = "the archive is cut off after 1024 bytes";
    refused(&setup, &serve, &whole[..1024], cut);
    let compressed = "the archive is compressed with gzip; undo that on the way, as in 'zcat FILE | \
                      dirvol import NAME -'";
    refused(&setup, &serve, &[&b"\x1f\x8b\x08"[..], &whole].concat(), compressed);
    assert_eq!(described(&setup.path("outside")), before);
    serve.stop();
}

/// Imports an archive, which must be refused, and looks that nothing is left of it.
fn refused(setup: &Setup, serve: &harness::Serve, archive: &[u8], why: &str) {
    let path = setup.path("hostile.tar");
    fs::write(&path, archive).unwrap();
    let ended = dirvol(serve, None, &["import", "db", &path.display().to_string()]);
    let stderr = String::from_utf8(ended.stderr).unwrap();
    let expected = format!("dirvol: volume db was not made: {why}\n");
    assert_eq!((ended.status.code(), stderr), (Some(1), expected));
    assert_eq!(left(&setup.root()), (vec!["other".to_owned()], Vec::new()), "{why}");
}

/// Makes the sum of the first header right.
fn mend(archive: &mut [u8]) {
    archive[148..156].fill(b' ');
    let sum: u32 = archive[..512].iter().map(|&byte| u32::from(byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A link to what is replaced later has what it was made of, and is not followed.
#[test]
fn a_link_to_what_is_swapped_later_leads_nowhere_else() {
    let setup = Setup::new();
    let serve = setup.serve();
    let secret = setup.path("secret");
    fs::write(&secret, "secret").unwrap();
    let aim = secret.display().to_string();
    let entries = [
        Entry { mode: 0o4755, ..file("a") },
        link("b", "a"),
        symlink("a", &aim),
        // Another name of the link itself, which the file then takes the place of.
        link("c", "a"),
        link("e", "a"),
        file("c"),
    ];
    fs::write(setup.path("a.tar"), written(&entries)).unwrap();
    let path = setup.path("a.tar").display().to_string();
    let ended = dirvol(&serve, None, &["import", "db", &path]);
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    let lines = described(&setup.root().join("volumes/db/data"));
    let abc = "3 bytes e71fa2190541574b holes: false []";
    let to = format!("120777 0:0 1.000000000 -> {aim:?} []");
    assert_eq!(
        lines[1..],
        [
            format!("\"a\" {to} = \"a\""),
            format!("\"b\" 104755 0:0 1.000000000 {abc} = \"b\""),
            format!("\"c\" 100644 0:0 1.000000000 {abc} = \"c\""),
            format!("\"e\" {to} = \"a\""),
        ]
    );
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    serve.stop();
}

#[test]
fn what_tar_would_unpack_is_unpacked_as_tar_would() {
    let setup = Setup::new();
    let serve = setup.serve();
    let entries = [
        // A leading slash is taken off; parents that are missing are made.
        file("/absolute/a"),
        file("./././b"),
        // The last of several wins, and a link to itself is no loss.
        symlink("c", "/etc"),
        entry("c", Kind::Fifo),
        file("c"),
        link("d", "/absolute/a"),
        link("d", "d"),
        link("b", "c"),
        entry("e/f", Kind::Dir),
        Entry { mode: 0o700, uid: 5, ..entry("e", Kind::Dir) },
        file("e/f/g"),
        file("e/h"),
    ];
    fs::write(setup.path("a.tar"), written(&entries)).unwrap();
    let path = setup.path("a.tar").display().to_string();
    let ended = dirvol(&serve, None, &["import", "db", &path]);
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    let lines = described(&setup.root().join("volumes/db/data"));
    let abc = "3 bytes e71fa2190541574b holes: false []";
    // What was not in the archive has the time of the import.
    let untimed = |line: &String| {
        let (start, rest) = line.split_once(' ').unwrap();
        match start {
            "\"\"" | "\"absolute\"" => {
                let parts: Vec<&str> = line.split(' ').collect();
                format!("{} {} {}", parts[0], parts[1], parts[2])
            }
            _ => format!("{start} {rest}"),
        }
    };
    let lines: Vec<String> = lines.iter().map(untimed).collect();
    assert_eq!(
        lines,
        [
            "\"\" 40755 0:0".to_owned(),
            "\"absolute\" 40755 0:0".into(),
            format!("\"absolute/a\" 100644 0:0 1.000000000 {abc} = \"absolute/a\""),
            format!("\"b\" 100644 0:0 1.000000000 {abc} = \"b\""),
            format!("\"c\" 100644 0:0 1.000000000 {abc} = \"b\""),
            format!("\"d\" 100644 0:0 1.000000000 {abc} = \"absolute/a\""),
            "\"e\" 40700 5:0 1.000000000  [] = \"e\"".into(),
            "\"e/f\" 40644 0:0 1.000000000  [] = \"e/f\"".into(),
            format!("\"e/f/g\" 100644 0:0 1.000000000 {abc} = \"e/f/g\""),
            format!("\"e/h\" 100644 0:0 1.000000000 {abc} = \"e/h\""),
        ]
    );
    serve.stop();
}

#[test]
fn a_driver_that_may_make_no_devices_says_so_and_leaves_out_capabilities() {
    let setup = Setup::new();
    fs::create_dir(setup.root()).unwrap();
    let mut limited = std::process::Command::new("setpriv");
    limited.args(["--bounding-set=-mknod,-setfcap", "--inh-caps=-mknod,-setfcap"]);
    let command = setup.command();
    limited.arg(command.get_program()).args(command.get_args());
    let serve = setup.start_with(limited);
    serve.wait_available();
    serve.create("other");
    let device = [file("a"), entry("null", Kind::Char(1, 3))];
    let why = "entry \"null\": this driver may not make devices: give it CAP_MKNOD, or pack without \
               it";
    refused(&setup, &serve, &written(&device), why);
    // cap_net_raw, as the kernel keeps it.
    let value = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let ping = Entry { xattrs: vec![(b"security.capability".to_vec(), value)], ..file("ping") };
    fs::write(setup.path("a.tar"), written(&[ping])).unwrap();
    let ended = dirvol(&serve, None, &["import", "db", &setup.path("a.tar").display().to_string()]);
    assert_eq!(
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()),
        (Some(0), "dirvol: volume db: left out: attribute security.capability\n")
    );
    serve.stop();
}

/// A driver in this process.
fn driver(dir: &Path) -> Arc<Driver> {
    fs::create_dir_all(dir.join("root")).unwrap();
    let driver = Driver::new(volume::Settings {
        bind_roots: Vec::new(),
        root: Settings {
            path: dir.join("root"),
            state_dir: dir.join("state"),
            init: Init::Auto,
            scope: Scope::Local,
            accept: None,
            plugin: false,
            node: None,
            unusable: None,
            probe: None,
        },
        retention: Duration::ZERO,
        defaults: Options::default(),
        fixture: None,
    });
    driver.check();
    Arc::new(driver)
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let name = prop_oneof!["a", "b", "c", "\\.\\.", "\\.", "", "link"];
    let path = proptest::collection::vec(name, 0..5).prop_map(|parts| parts.join("/"));
    let kind = prop_oneof![
        Just(Kind::Dir),
        Just(Kind::Fifo),
        path.clone().prop_map(|path| Kind::Link(path.into())),
        path.clone().prop_map(|path| Kind::Symlink(path.into())),
        Just(Kind::Symlink("../../../../outside".into())),
        Just(Kind::File { size: 3, pieces: vec![Piece { at: 0, len: 3 }] }),
    ];
    (path, kind).prop_map(|(path, kind)| entry(&path, kind))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_archive_writes_outside_of_its_volume(
        entries in proptest::collection::vec(any_entry(), 1..12),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let dir = harness::temporary();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/a"), "secret").unwrap();
        let outside = described(&dir.path().join("outside"));
        let driver = driver(dir.path());
        let mut archive = written(&entries);
        for (at, byte) in changes {
            let at = at.index(archive.len());
            archive[at] = byte;
        }
        let name = VolumeName::new("db").unwrap();
        let imported = driver.import(&name, &Options::default(), &mut Cursor::new(archive));
        driver.collect();
        prop_assert_eq!(described(&dir.path().join("outside")), outside);
        let volumes = if imported.is_ok() { vec!["db".to_owned()] } else { Vec::new() };
        prop_assert_eq!(left(&dir.path().join("root")), (volumes, Vec::new()));
        let all = crate::samples::names(dir.path());
        prop_assert_eq!(all, ["outside", "root", "state"].map(str::to_owned));
    }
}
