//! Names and options that nobody should send, in a table and as they come: none
//! reaches anything outside its volume, and only a good Create makes something.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;

use crate::expect::{
    done, failed, listing, named, ok, root_with, swept_listing, volume, with_id, with_options,
};
use crate::harness::{Answer, Serve, Setup, tree};

const CREATE: &str = "VolumeDriver.Create";

/// Names that dockerd hands on, since it checks none.
const HOSTILE: [&str; 33] = [
    ".",
    "..",
    "../",
    "../esc",
    "../../esc",
    "../../../esc",
    "../../sentinel/file",
    "/",
    "/esc",
    "a/b",
    "a/",
    "./a",
    "known/data",
    "known/../known",
    "\0",
    "a\0b",
    "a\n",
    "\r\nX: y",
    "~",
    "~root",
    "-rf",
    "_a",
    ".hidden",
    "a b",
    " a",
    "a~1700000000~0123456789abcdef",
    "a:b",
    "a\\b",
    "*",
    "é",
    "٣",
    "\u{202e}a",
    "$(reboot)",
];

/// A driver with a volume `known`, beside a tree that is none of its business.
struct Besieged {
    setup: Setup,
    serve: Serve,
    before: Vec<String>,
}

impl Besieged {
    fn new() -> Self {
        let setup = Setup::new();
        let sentinel = setup.path("sentinel");
        fs::create_dir_all(sentinel.join("data")).unwrap();
        fs::write(sentinel.join("file"), "bytes").unwrap();
        fs::set_permissions(sentinel.join("file"), fs::Permissions::from_mode(0o604)).unwrap();
        symlink("file", sentinel.join("link")).unwrap();
        let serve = setup.serve();
        serve.create("known");
        let before = everything(&setup);
        Self { setup, serve, before }
    }

    /// The six calls about a name that can be no volume, and their answers.
    fn calls(name: &str) -> [(&'static str, String, Answer); 6] {
        let not_allowed = format!(
            "volume name {name:?} is not allowed: use letters, digits, '_', '.' and '-', \
             beginning with a letter or digit, at most 200 characters"
        );
        let none = failed(404, &format!("no such volume: {}", name.escape_debug()));
        [
            (CREATE, named(name), failed(400, &not_allowed)),
            ("VolumeDriver.Get", named(name), none.clone()),
            ("VolumeDriver.Path", named(name), none.clone()),
            ("VolumeDriver.Mount", with_id(name, "x"), none),
            ("VolumeDriver.Unmount", with_id(name, "x"), done()),
            ("VolumeDriver.Remove", named(name), done()),
        ]
    }

    fn assert_untouched(&self) {
        assert_eq!(everything(&self.setup), self.before);
        assert_eq!(self.serve.names(), ["known"]);
    }
}

/// All that lies in the test's directory, but for the log, which grows.
fn everything(setup: &Setup) -> Vec<String> {
    tree(setup.dir.path()).into_iter().filter(|line| !line.starts_with("log ")).collect()
}

/// How many cases a property is tried with, and without leaving files behind.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

#[test]
fn a_hostile_name_reaches_nothing() {
    let besieged = Besieged::new();
    let long = ["x".repeat(201), "x".repeat(300), "x".repeat(100_000), "../".repeat(100)];
    for name in HOSTILE.into_iter().chain(long.iter().map(String::as_str)) {
        for (method, body, expected) in Besieged::calls(name) {
            assert_eq!(besieged.serve.call(method, &body), expected, "{method} {name:.300?}");
        }
    }
    besieged.assert_untouched();
    // Nor does any make a line of the log that is not the driver's.
    let log = besieged.serve.log();
    let is_ours = |line: &str| line.starts_with("20") && line.contains(['I', 'W', 'E', 'D']);
    assert!(log.lines().all(is_ours), "{log}");
    let names = fs::read_dir(besieged.setup.dir.path().join("..")).unwrap();
    assert!(names.into_iter().all(|entry| entry.unwrap().file_name() != "esc"));
    besieged.serve.stop();
}

#[test]
fn the_longest_and_oddest_good_names_are_served() {
    let setup = Setup::new();
    let serve = setup.serve();
    let long = "x".repeat(200);
    let names = ["0", "A", "a", "a..b", "a.-_", "lost", &long];
    let mut expected = Vec::new();
    for name in names {
        serve.create(name);
        expected.extend(volume(name));
    }
    assert_eq!(listing(&setup.root()), root_with(expected));
    assert_eq!(serve.names(), ["0", "A", "a", "a.-_", "a..b", "lost", &long]);
    for name in names {
        serve.ok("VolumeDriver.Mount", &with_id(name, "x"));
        serve.ok("VolumeDriver.Unmount", &with_id(name, "x"));
        serve.remove(name);
    }
    assert_eq!(serve.names(), [""; 0]);
    serve.stop();
}

#[test]
fn an_option_that_cannot_be_used_creates_nothing() {
    let ids = "give a number from 0 to 4294967294, not a name";
    let octal = "give octal digits, 0000 to 7777";
    let known = "(known: from, gid, inodes, live, mode, path, protect, retain, size, uid)";
    let sizes = "give a size such as 512M or 10G, at least 1M, or 0 for no limit";
    let counts = "give a number of files such as 100000 or 1M (1048576), or 0 for no limit";
    let duration = "is not a duration: give one such as 90m, 24h, 7d or 0";
    let cases = [
        (json!({"uid": "root"}), format!("option \"uid\" is \"root\": {ids}")),
        (json!({"uid": "-1"}), format!("option \"uid\" is \"-1\": {ids}")),
        (json!({"gid": "4294967295"}), format!("option \"gid\" is \"4294967295\": {ids}")),
        (json!({"GID": ""}), format!("option \"gid\" is \"\": {ids}")),
        (json!({"uid": "5\u{0}"}), format!("option \"uid\" is \"5\\0\": {ids}")),
        (json!({"mode": "u+x"}), format!("option \"mode\" is \"u+x\": {octal}")),
        (json!({"mode": "10000"}), format!("option \"mode\" is \"10000\": {octal}")),
        (json!({"mode": "0o"}), format!("option \"mode\" is \"0o\": {octal}")),
        (json!({"retain": "soon"}), format!("option \"retain\": \"soon\" {duration}")),
        (json!({"retain": "-1h"}), format!("option \"retain\": \"-1h\" {duration}")),
        (
            json!({"retain": "99999999999999999999y"}),
            format!("option \"retain\": \"99999999999999999999y\" {duration}"),
        ),
        (json!({"retain": ""}), format!("option \"retain\": \"\" {duration}")),
        (json!({"size": "10"}), format!("option \"size\" is \"10\": {sizes}")),
        (json!({"size": "9E"}), format!("option \"size\" is \"9E\": {sizes}")),
        (json!({"inodes": "many"}), format!("option \"inodes\" is \"many\": {counts}")),
        (json!({"sise": "10G"}), format!("option \"sise\" is unknown {known}")),
        (json!({"": ""}), format!("option \"\" is unknown {known}")),
        (json!({"../uid": "1"}), format!("option \"../uid\" is unknown {known}")),
        (json!({"a\nb": "1"}), format!("option \"a\\nb\" is unknown {known}")),
        (json!({"ninja": "1"}), format!("option \"ninja\" is unknown {known}")),
        (json!({"o": "nonsense"}), format!("option \"nonsense\" is unknown {known}")),
        (json!({"o": "uid=1,uid=2"}), twice("uid", "1", "2")),
        (json!({"uid": "1", "UID": "2"}), twice("uid", "2", "1")),
    ];
    let besieged = Besieged::new();
    for (options, why) in cases {
        for name in ["new", "known"] {
            let answer = besieged.serve.call(CREATE, &with_options(name, &options));
            assert_eq!(answer, failed(400, &format!("volume {name}: {why}")), "{options}");
        }
    }
    besieged.assert_untouched();
    besieged.serve.stop();
}

fn twice(key: &str, first: &str, second: &str) -> String {
    format!("option {key:?} is given twice, as {first:?} and as {second:?}; give it once")
}

#[test]
fn whatever_the_name_nothing_else_is_touched() {
    let besieged = Besieged::new();
    // Text of all kinds, paths, and names that are nearly good.
    let names =
        prop_oneof!["\\PC{1,40}", any::<String>(), "[./~a-]{1,12}", "[a-zA-Z0-9_.-]{1,210}"];
    let legal = |name: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        name.len() <= 200 && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(letters)
    };
    let tried = runner(256).run(&names, |name| {
        if name.is_empty() || name == "known" {
            return Ok(());
        }
        if !legal(&name) {
            for (method, body, expected) in Besieged::calls(&name) {
                prop_assert_eq!(besieged.serve.call(method, &body), expected, "{}", method);
            }
            return Ok(());
        }
        let create = with_options(&name, &json!({"retain": "0"}));
        prop_assert_eq!(besieged.serve.call(CREATE, &create), done());
        let mountpoint = besieged.setup.root().join("volumes").join(&name).join("data");
        let path = format!(r#"{{"Mountpoint":"{}","Err":""}}"#, mountpoint.display());
        prop_assert_eq!(besieged.serve.call("VolumeDriver.Path", &named(&name)), ok(path));
        prop_assert!(mountpoint.is_dir());
        prop_assert_eq!(besieged.serve.call("VolumeDriver.Remove", &named(&name)), done());
        Ok::<(), TestCaseError>(())
    });
    tried.unwrap();
    swept_listing(&besieged.setup.root());
    besieged.assert_untouched();
    besieged.serve.stop();
}

#[test]
fn whatever_the_options_a_volume_is_made_as_asked_or_not_at_all() {
    let besieged = Besieged::new();
    let pair = prop_oneof![
        ("[uU][iI][dD]|gid", "[0-9]{1,11}|\\PC{0,5}"),
        ("mode", "(0o)?[0-8]{0,5}"),
        ("retain", "[0-9]{1,3} ?(s|m|h|d|weeks)|0|\\PC{0,4}"),
        ("o", "(uid=[0-9]{1,3}|mode=[0-7]{3}|,|=){0,3}"),
        ("\\PC{0,8}", "\\PC{0,8}"),
    ];
    let options = proptest::collection::vec(pair, 0..4)
        .prop_map(|pairs| pairs.into_iter().collect::<BTreeMap<String, String>>());
    let tried = runner(256).run(&options, |options| {
        let options = json!(options);
        let answer = besieged.serve.call(CREATE, &with_options("new", &options));
        if answer != done() {
            prop_assert_eq!(answer.status, 400, "{:?}", answer);
            prop_assert!(answer.body.starts_with(r#"{"Err":"volume new: "#), "{:?}", answer);
            prop_assert_eq!(besieged.serve.names(), ["known"]);
            return Ok(());
        }
        // What was understood is what is asked for when it is stated again.
        let body = besieged.serve.ok("VolumeDriver.Get", &named("new"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let understood = &body["Volume"]["Status"]["options"];
        prop_assert_eq!(besieged.serve.call(CREATE, &with_options("new", &options)), done());
        prop_assert_eq!(besieged.serve.call(CREATE, &with_options("new", understood)), done());
        besieged.serve.remove("new");
        Ok::<(), TestCaseError>(())
    });
    tried.unwrap();
    assert_eq!(besieged.serve.names(), ["known"]);
    besieged.serve.stop();
}
