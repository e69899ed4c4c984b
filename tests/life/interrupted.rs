//! Archives that do not arrive, or that there is no room for.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dirvol::archive::{Entry, Kind, Piece, Time, Writer};
use nix::sys::signal::Signal;

use crate::disk::{Disk, FileSystem};
use crate::harness::{Client, Serve, Setup, eventually, temporary};
use crate::samples::{dirvol, left, names, said};

/// Begins to send an archive of one file of `len` bytes, `sent` of which are sent.
fn half_sent(serve: &Serve, name: &str, len: u64, sent: usize) -> UnixStream {
    let mut stream = UnixStream::connect(&serve.socket).unwrap();
    let head = format!(
        "POST /Dirvol.Import HTTP/1.1\r\nHost: x\r\nDirvol-Request: {{\"Name\":\"{name}\"}}\r\n\
         Content-Length: {}\r\n\r\n",
        len + 2048
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&archive(len)[..512 + sent]).unwrap();
    stream
}

fn archive(len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let pieces = vec![Piece { at: 0, len }];
    let kind = Kind::File { size: len, pieces };
    let mtime = Time { seconds: 1, nanoseconds: 0 };
    let (path, xattrs) = (b"big".to_vec(), Vec::new());
    writer.entry(&Entry { path, kind, mode: 0o644, uid: 0, gid: 0, mtime, xattrs }).unwrap();
    writer.data(&vec![b'x'; usize::try_from(len).unwrap()]).unwrap();
    writer.finish().unwrap();
    bytes
}

fn wait_until_it_is_unpacked(root: &Path) {
    let unpacked = || {
        let staged = fs::read_dir(root.join("staging")).unwrap().next()?.unwrap().path();
        let len = fs::metadata(staged.join("data/big")).ok()?.len();
        (len >= 1 << 20).then_some(())
    };
    eventually("some of it is on the disk", unpacked);
}

#[test]
fn who_hangs_up_in_the_middle_leaves_nothing() {
    let setup = Setup::new();
    let serve = setup.serve();
    let stream = half_sent(&serve, "db", 8 << 20, 4 << 20);
    wait_until_it_is_unpacked(&setup.root());
    // Other volumes go on meanwhile.
    serve.create("other");
    serve.remove("other");
    said(&serve, &["trash", "purge", "--all"]);
    drop(stream);
    assert_eq!(left(&setup.root()), (Vec::new(), Vec::new()));
    let why = "volume db was not made: the archive broke off on its way";
    eventually("it is told", || serve.log().contains(why).then_some(()));
    serve.create("db");
    serve.stop();
}

#[test]
fn an_end_of_the_driver_in_the_middle_leaves_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let setup = Setup::new();
        let mut serve = setup.serve();
        let stream = half_sent(&serve, "db", 8 << 20, 4 << 20);
        wait_until_it_is_unpacked(&setup.root());
        let began = Instant::now();
        serve.signal(signal);
        let status = serve.wait();
        assert_eq!(status.success(), signal == Signal::SIGTERM);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        drop(stream);
        let serve = setup.serve();
        assert_eq!(left(&setup.root()), (Vec::new(), Vec::new()), "{signal}");
        serve.stop();
    }
}

#[test]
fn an_answer_comes_although_not_all_was_sent() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    fs::write(setup.path("a.tar"), archive(64 << 20)).unwrap();
    let path = setup.path("a.tar").display().to_string();
    let exists = "dirvol: volume db exists and is left as it is: give another name, or remove it \
                  first\n";
    for input in [&path[..], "-"] {
        let stdin = (input == "-").then(|| setup.path("a.tar"));
        let ended = dirvol(&serve, stdin.as_deref(), &["import", "db", input]);
        assert_eq!(
            (ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()),
            (Some(1), exists)
        );
    }
    // Nor must it wait for somebody who sends nothing more.
    let stream = half_sent(&serve, "db", 8 << 20, 1000);
    let answer = Client::from(stream).answer().unwrap();
    assert_eq!(answer.status, 409);
    assert_eq!(left(&setup.root()), (vec!["db".to_owned()], Vec::new()));
    serve.stop();
}

#[test]
fn no_more_than_four_archives_are_on_their_way_at_a_time() {
    let setup = Setup::new();
    let serve = setup.serve();
    let sending: Vec<UnixStream> =
        (0..4).map(|n| half_sent(&serve, &format!("v{n}"), 8 << 20, 1000)).collect();
    eventually("all are being unpacked", || {
        (names(&setup.root().join("staging")).len() == 4).then_some(())
    });
    let stream = half_sent(&serve, "db", 8 << 20, 1000);
    let answer = Client::from(stream).answer().unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            503,
            r#"{"Err":"dirvol is busy: 4 archives are on their way; try again when one is there"}"#
        )
    );
    serve.create("other");
    drop(sending);
    assert_eq!(left(&setup.root()), (vec!["other".to_owned()], Vec::new()));
    serve.stop();
}

#[test]
fn memory_stays_bounded_while_much_is_imported_and_exported() {
    let setup = Setup::new().log_level("info");
    let serve = setup.serve();
    serve.create("small");
    said(&serve, &["export", "small", &setup.path("small.tar").display().to_string()]);
    let highest = || {
        let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = highest();
    fs::write(setup.path("a.tar"), archive(200 << 20)).unwrap();
    said(&serve, &["import", "db", &setup.path("a.tar").display().to_string()]);
    let imported = highest();
    said(&serve, &["export", "db", &setup.path("b.tar").display().to_string()]);
    let exported = highest();
    // A slow reader holds up the driver, and not its memory.
    let mut slow = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    slow.arg("--socket").arg(&serve.socket).args(["export", "db", "-"]);
    let mut slow = slow.stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    slow.kill().unwrap();
    slow.wait().unwrap();
    let slow = highest();
    let said = format!("KiB: {before} before, {imported} imported, {exported}, {slow} slow");
    println!("{said}");
    assert!(slow - before < 4096, "{said}");
    assert!(fs::read(setup.path("a.tar")).unwrap() != fs::read(setup.path("small.tar")).unwrap());
    serve.stop();
}

#[test]
fn a_full_disk_empties_the_trash_and_then_refuses_the_whole_archive() {
    let disk = Disk::new(FileSystem::Ext4);
    let mut setup = Setup::new();
    setup.dir = disk.directory();
    let (serve, root) = (setup.serve(), setup.root());
    // The disk has 1 GiB.
    let elsewhere = temporary();
    let path = elsewhere.path().join("a.tar");
    fs::write(&path, archive(500 << 20)).unwrap();
    let path = path.display().to_string();
    said(&serve, &["import", "old", &path]);
    serve.remove("old");
    said(&serve, &["import", "one", &path]);
    let refused = dirvol(&serve, None, &["import", "two", &path]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr.starts_with("dirvol: volume two: write "), "{stderr}");
    let end = "No space left on device (os error 28); free space or inodes on that disk\n";
    assert!(stderr.ends_with(end), "{stderr}");
    assert_eq!(left(&root), (vec!["one".to_owned()], Vec::new()));
    assert_eq!(fs::metadata(root.join("volumes/one/data/big")).unwrap().len(), 500 << 20);
    serve.stop();
}
