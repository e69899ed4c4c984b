//! What is thrown at the driver's readers: a function for each, which panics where
//! what came of an input is not what must come of it. libFuzzer runs them by
//! `fuzz_targets/`; `tests/service/fuzzed.rs` runs them on the corpus, on any toolchain.
//! A new target is a function here, a file in `fuzz_targets/`, a `[[bin]]`, a directory
//! of seeds in `corpus/`, and a line in [`TARGETS`].

mod tar;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::time::SystemTime;

use dirvol::server::hear;
use dirvol::store::TrashName;
use dirvol::sys::mountinfo;
use dirvol::volume::record::Record;
use dirvol::volume::{Fixture, Options, VolumeName, size as sizes};

pub use tar::tar;

/// A target: its name, which its corpus has too, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("mountinfo", mountinfo),
    ("options", options),
    ("record", record),
    ("size", size),
    ("tar", tar),
    ("wire", wire),
];

/// A request: its path in the first line, then its body. Whatever it names is one
/// component of a path, and what is refused is told in one line.
pub fn wire(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let path = String::from_utf8_lossy(&bytes[..end]);
    match hear(&path, bytes.get(end + 1..).unwrap_or_default()) {
        Ok(heard) => {
            if let Some(volume) = heard.volume {
                assert_plain(volume.as_str());
                let entry = TrashName::new(volume.file(), SystemTime::now())
                    .expect("a volume may be removed");
                assert_eq!(TrashName::parse(entry.file().as_str()), Some(entry));
            }
            if let Some(options) = heard.options {
                assert_read_back(&options);
            }
            if let Some(entry) = heard.entry {
                assert_plain(entry.file().as_str());
                assert_plain(entry.volume().as_str());
            }
        }
        Err(body) => {
            let body: std::collections::BTreeMap<String, String> =
                serde_json::from_slice(&body).expect("an answer is JSON");
            assert_line(&body["Err"]);
            assert_eq!(body.len(), 1);
        }
    }
}

/// A record. One that is read is written as the same, and a bad one is refused with
/// a line.
pub fn record(bytes: &[u8]) {
    let (name, record) = match Record::parse_any(bytes) {
        Ok(read) => read,
        Err(why) => return assert_line(&why),
    };
    let Some(name) = VolumeName::new(&name) else { return };
    assert_eq!(Record::parse(&name, bytes).as_ref(), Ok(&record));
    let written = record.to_bytes(&name);
    let again = Record::parse(&name, &written).expect("what was written is read");
    assert_eq!((&again.stated, &again.set), (&record.stated, &record.set));
    assert_eq!(again.defaults, record.defaults);
    assert_eq!(again.to_bytes(&name), written);
    let builtin = Options::builtin(std::time::Duration::ZERO);
    assert_eq!(record.difference(&record.asked(), &builtin), None);
}

/// Options, `key=value` in each line.
pub fn options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let stated = || text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    match Options::parse(stated(), Fixture::On) {
        Ok(options) => assert_read_back(&options),
        Err(why) => assert_line(&why.to_string()),
    }
    // Podman's way of writing them means the same, where a value has no comma.
    if let Ok(options) = Options::parse(stated(), Fixture::Off)
        && !text.contains(',')
        && stated().all(|(key, _)| !key.eq_ignore_ascii_case("o") && !key.is_empty())
    {
        let joined: Vec<&str> = text.lines().collect();
        let joined = joined.join(",");
        assert_eq!(Options::parse([("o", joined.as_str())], Fixture::Off), Ok(options));
    }
}

/// A size. One that is read is shown as the same, and as not more.
pub fn size(bytes: &[u8]) {
    let Some(amount) = sizes::parse(&String::from_utf8_lossy(bytes)) else { return };
    assert!(i64::try_from(amount).is_ok());
    assert_eq!(sizes::parse(&sizes::show(amount)), Some(amount));
    let about = sizes::parse(&sizes::about(amount)).expect("what is shown can be read");
    assert!(about <= amount && amount - about <= amount / 10, "{about} for {amount}");
}

/// A table of mounts; and a path as the kernel would write it, which is read as it is.
pub fn mountinfo(bytes: &[u8]) {
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Some(mount) = mountinfo::parse(line) {
            let read = mount.root.as_os_str().len() + mount.mountpoint.as_os_str().len();
            assert!(read <= line.len());
        }
    }
    let mut line = b"36 35 98:0 /".to_vec();
    for &byte in bytes {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => line.extend(format!("\\{byte:03o}").bytes()),
            _ => line.push(byte),
        }
    }
    line.extend(b" /mnt rw - ext4 /dev/root rw");
    let mount = mountinfo::parse(&line).expect("it is a line");
    let path = [b"/", bytes].concat();
    assert_eq!(mount.root.as_os_str(), OsStr::from_bytes(&path));
    assert_eq!(mount.mountpoint, Path::new("/mnt"));
}

/// One component of a path, and a plain one.
fn assert_plain(name: &str) {
    let mut parts = Path::new(name).components();
    assert_eq!(parts.next(), Some(Component::Normal(OsStr::new(name))));
    assert_eq!(parts.next(), None);
    assert!(!name.contains('\0'));
}

/// A line that a terminal shows as it is.
fn assert_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
}

/// Options mean the same once they were written down.
fn assert_read_back(options: &Options) {
    let map = options.to_map();
    let stated = map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    assert_eq!(Options::parse(stated, Fixture::On).as_ref(), Ok(options));
}
