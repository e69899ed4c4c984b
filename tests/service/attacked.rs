//! Copies, archives and counts of what a container can leave in a volume, beside the
//! attacks of [`crate::hostile`]: trees without end, many files, names that are not text.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dirvol::sys::xattr;
use serde_json::{Value, json};

use crate::asked::{ask, said};
use crate::expect::named;
use crate::harness::hostile::{Sentinel, make_deep, make_many};
use crate::harness::{Serve, Setup};
use crate::hostile::{in_memory, peak};

/// What is below a directory: each path as its bytes are, with kind and permissions,
/// and where a link leads.
fn below(dir: &Path) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let aim = fs::read_link(&path).map(|aim| aim.as_os_str().as_bytes().to_vec());
            let shown = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec();
            found.push((shown, meta.mode(), aim.unwrap_or_default()));
            if meta.is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

/// As [`below`], without what is no use to anybody else.
fn but_sockets(dir: &Path) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
    let mut found = below(dir);
    found.retain(|(_, mode, _)| mode & nix::libc::S_IFMT != nix::libc::S_IFSOCK);
    found
}

fn data(serve: &Serve, name: &str) -> std::path::PathBuf {
    serve.root.join("volumes").join(name).join("data")
}

fn inodes(serve: &Serve, name: &str) -> u64 {
    let usage: Value = serde_json::from_str(&serve.ok("Dirvol.Usage", &named(name))).unwrap();
    usage["Inodes"].as_u64().unwrap()
}

#[test]
fn whatever_a_container_made_is_copied_and_packed_as_it_is_and_nothing_is_followed() {
    let setup = Setup::new();
    let sentinel = Sentinel::new(setup.path("sentinel"));
    let serve = setup.serve();
    serve.create("a");
    sentinel.plant(&data(&serve, "a"));
    let expected = but_sockets(&data(&serve, "a"));
    assert!(expected.iter().any(|(path, ..)| path == b"\xff\xfe/\xff\xfe"), "{expected:?}");
    serve.ok("Dirvol.Clone", r#"{"Name":"copy","From":"a"}"#);
    let file = setup.path("a.tar");
    let exported = ask(&serve, &format!("export a {}", file.display()));
    let told = "dirvol: volume a: left out: ./socket (a socket)\n";
    assert_eq!((exported.code, exported.stderr.as_str()), (Some(0), told));
    said(&serve, &format!("import unpacked {}", file.display()));
    assert!(!sentinel.is_in(&fs::read(&file).unwrap()));
    for name in ["copy", "unpacked"] {
        assert_eq!(but_sockets(&data(&serve, name)), expected, "{name}");
        sentinel.assert_not_below(&data(&serve, name), name);
        // The volume's own directory, and no socket.
        assert_eq!(inodes(&serve, name), expected.len() as u64 + 1, "{name}");
    }
    assert_eq!(inodes(&serve, "a"), expected.len() as u64 + 2);
    sentinel.assert_untouched("a copy and an archive");
    serve.stop();
}

#[test]
fn a_tree_deeper_than_any_path_is_copied_and_counted_and_no_archive() {
    let setup = Setup::new();
    in_memory(&setup, || {
        let sentinel = Sentinel::new(setup.path("sentinel"));
        let serve = setup.serve();
        for (name, depth) in [("deep", 4000), ("less", 500)] {
            serve.create(name);
            make_deep(&data(&serve, name), depth, &sentinel);
        }
        for (name, depth) in [("deep", 4000), ("less", 500)] {
            let request = json!({"Name": format!("{name}2"), "From": name}).to_string();
            let cloned: Value = serde_json::from_str(&serve.ok("Dirvol.Clone", &request)).unwrap();
            assert_eq!((&cloned["Files"], &cloned["Skipped"]), (&json!(3 * depth), &json!([])));
            // In each a directory, a file and a link, and the topmost.
            assert_eq!(inodes(&serve, name), 3 * depth + 1);
            assert_eq!(inodes(&serve, &format!("{name}2")), 3 * depth + 1);
        }
        let file = setup.path("a.tar");
        let ended = ask(&serve, &format!("export deep {}", file.display()));
        let told = "dirvol: the archive broke off: the driver's log says why; try again\n";
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), told));
        assert!(serve.log().contains(": more than 512 directories lie in one another"));
        assert!(!file.exists());
        said(&serve, &format!("export less {}", file.display()));
        said(&serve, &format!("import less3 {}", file.display()));
        assert_eq!(inodes(&serve, "less3"), 1501);
        sentinel.assert_untouched("copies");
        for name in serve.names() {
            serve.remove(&name);
        }
        serve.ok("Dirvol.TrashPurge", r#"{"All":true}"#);
        crate::expect::swept_listing(&setup.root());
        serve.stop();
    });
}

/// `DIRVOL_TEST_FILES=1000000` is for who has a few minutes.
#[test]
fn many_files_are_copied_packed_and_counted_in_the_memory_of_a_few() {
    let files = std::env::var("DIRVOL_TEST_FILES").map_or(10_000, |files| files.parse().unwrap());
    let setup = Setup::new();
    in_memory(&setup, || {
        let serve = setup.serve();
        let file = setup.path("a.tar").display().to_string();
        let round = |name: &str, files: usize| {
            serve.create(name);
            make_many(&data(&serve, name), files);
            let request = json!({"Name": format!("{name}2"), "From": name}).to_string();
            serve.ok("Dirvol.Clone", &request);
            said(&serve, &format!("export {name} {file}"));
            said(&serve, &format!("import {name}3 {file}"));
            let all = (files + files / 1000 + 1) as u64;
            for name in [name, &format!("{name}2"), &format!("{name}3")] {
                assert_eq!(inodes(&serve, name), all, "{name}");
            }
        };
        round("few", 1000);
        let few = peak(&serve);
        round("many", files);
        let many = peak(&serve);
        println!("{few} KiB for a thousand files, {many} KiB for {files}");
        assert!(many < few + 1024, "{few} KiB for a thousand files, {many} KiB for {files}");
        serve.stop();
    });
}

/// What is too much for the head of an entry is left out: else there would be an archive
/// that nobody can read.
#[test]
fn what_is_exported_can_be_imported_however_many_attributes_a_file_has() {
    let setup = Setup::new();
    in_memory(&setup, || {
        let serve = setup.serve();
        serve.create("a");
        let path = data(&serve, "a").join("file");
        fs::write(&path, "text").unwrap();
        let file = fs::File::open(&path).unwrap();
        let names = |count: usize| -> Vec<CString> {
            (0..count).map(|at| CString::new(format!("trusted.{at:02}")).unwrap()).collect()
        };
        for name in names(20) {
            xattr::set(file.as_fd(), &name, &[b'v'; 60_000]).unwrap();
        }
        let archive = setup.path("a.tar");
        let exported = ask(&serve, &format!("export a {}", archive.display()));
        let told: Vec<String> = (8..20).map(|at| format!("./file: trusted.{at:02}")).collect();
        let told = format!("dirvol: volume a: left out: {}", told.join(", "));
        assert_eq!(exported.code, Some(0));
        assert!(exported.stderr.starts_with(&told[..100]), "{}", exported.stderr);
        said(&serve, &format!("import b {}", archive.display()));
        let file = fs::File::open(data(&serve, "b").join("file")).unwrap();
        let mut kept = xattr::names(file.as_fd()).unwrap();
        kept.retain(|name| name.as_bytes().starts_with(b"trusted."));
        kept.sort();
        assert_eq!(kept, names(8));
        serve.stop();
    });
}
