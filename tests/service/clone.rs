//! A volume that begins as a copy of another one: what it has, and what is refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use crate::asked::{ask, refused, said};
use crate::expect::{TIME, done, failed, named, swept_listing, with_id, with_options};
use crate::harness::{Serve, Setup};
use crate::mounts::Container;
use crate::program::{Ended, usage};

const CREATE: &str = "VolumeDriver.Create";
const CLONE: &str = "Dirvol.Clone";

fn from(source: &str) -> Value {
    json!({"from": source})
}

fn status(serve: &Serve, name: &str) -> Value {
    let got: Value = serde_json::from_str(&serve.ok("VolumeDriver.Get", &named(name))).unwrap();
    got["Volume"]["Status"].clone()
}

#[test]
fn a_clone_has_the_bytes_the_owner_and_the_options_of_its_original_but_no_protection() {
    let setup = Setup::new().arg("--default-opt").arg("mode=0711");
    let serve = setup.serve();
    let stated = json!({"uid": "5", "retain": "7d", "protect": "true"});
    serve.ok(CREATE, &with_options("a", &stated));
    serve.ok("Dirvol.Set", &with_options("a", &json!({"retain": "3d"})));
    let data = setup.root().join("volumes/a/data");
    fs::write(data.join("file"), "text").unwrap();
    // As an engine does that fills an empty volume from an image.
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2750)).unwrap();
    chown(&data, Some(70), Some(71)).unwrap();

    assert_eq!(serve.call(CREATE, &with_options("b", &from("a"))), done());
    let record = "{\"format\":1,\"name\":\"b\",\"created\":\"0000-00-00T00:00:00Z\",\
                  \"options\":{\"from\":\"a\"},\"defaults\":{\"gid\":\"71\",\"mode\":\"2750\",\
                  \"retain\":\"3days\",\"uid\":\"70\"}}\n";
    let listed = |name: &str| -> Vec<String> {
        let start = format!("volumes/{name}");
        let lines = swept_listing(&setup.root()).into_iter();
        lines.filter_map(|line| line.strip_prefix(&start).map(str::to_owned)).collect()
    };
    let expected = [
        "/ 0700 0:0".to_owned(),
        "/data/ 2750 70:71".to_owned(),
        format!("/data/file {} 0:0 \"text\"", mode(&data.join("file"))),
        format!("/volume.json 0600 0:0 {record:?}"),
    ];
    assert_eq!(listed("b"), expected);
    let options = json!({"from": "a", "gid": "71", "mode": "2750", "protect": "false",
                         "retain": "3days", "uid": "70"});
    assert_eq!(status(&serve, "b")["options"], options);
    assert_eq!(status(&serve, "b")["copied"], Value::Null);

    // What is stated goes before what the original has, and a copy of a copy has it too.
    let stated = json!({"from": "b", "uid": "9", "mode": "0700"});
    assert_eq!(serve.call(CREATE, &with_options("c", &stated)), done());
    assert_eq!(listed("c")[1], "/data/ 0700 9:71");
    let options = json!({"from": "b", "gid": "71", "mode": "0700", "protect": "false",
                         "retain": "3days", "uid": "9"});
    assert_eq!(status(&serve, "c")["options"], options);
    serve.stop();
}

/// The permissions of a file that a test has made.
fn mode(file: &std::path::Path) -> String {
    format!("{:04o}", fs::metadata(file).unwrap().permissions().mode() & 0o7777)
}

/// What is told of a copy, wherever the tests' files lie.
fn same_everywhere(told: &str) -> String {
    told.replace("reflink", "copy")
}

#[test]
fn the_same_call_again_is_success_also_when_the_original_is_gone() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    assert_eq!(serve.call(CREATE, &with_options("b", &from("a"))), done());
    let file = setup.root().join("volumes/b/data/own");
    fs::write(&file, "its own").unwrap();
    serve.remove("a");
    assert_eq!(serve.call(CREATE, &with_options("b", &from("a"))), done());
    let again = serve.ok(CLONE, r#"{"Name":"b","From":"a"}"#);
    assert_eq!(again, r#"{"Name":"b","From":"a","Skipped":[],"Err":""}"#);
    assert_eq!(fs::read_to_string(&file).unwrap(), "its own");
    let other = |why: &str| {
        let line = format!(
            "volume b exists with other options: {why}; ask for the same, or give another name"
        );
        failed(409, &line)
    };
    let refused = serve.call(CREATE, &with_options("b", &from("c")));
    assert_eq!(refused, other("its from is a, not c"));
    assert_eq!(serve.call(CREATE, &named("b")), other("its from is a, not unset"));
    serve.create("a");
    let itself = failed(400, "volume a cannot be a copy of itself: name another volume");
    assert_eq!(serve.call(CREATE, &with_options("a", &from("a"))), itself);
    let live = json!({"from": "a", "live": "true"});
    let refused = serve.call(CREATE, &with_options("b", &live));
    assert_eq!(refused, other("its live is unset, not true"));
    // A record that says where it came from outlives the driver.
    serve.stop();
    let serve = setup.serve();
    assert_eq!(serve.call(CREATE, &with_options("b", &from("a"))), done());
    // One that took the name of its original is what it says.
    serve.remove("a");
    serve.remove("b");
    serve.ok("Dirvol.TrashRestore", r#"{"Entry":"b","Name":"a"}"#);
    assert_eq!(serve.call(CREATE, &with_options("a", &from("a"))), done());
    serve.stop();
}

#[test]
fn what_cannot_be_copied_is_refused_and_makes_nothing() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    serve.create("torn");
    fs::write(setup.root().join("volumes/torn/volume.json"), "{").unwrap();
    let before = swept_listing(&setup.root());
    let torn = setup.root().join("volumes/torn").display().to_string();
    let cases = [
        (from("nosuch"), 404, "volume b: there is no volume nosuch to copy".to_owned()),
        (from("b"), 400, "volume b cannot be a copy of itself: name another volume".to_owned()),
        (
            from("../a"),
            400,
            "volume b: option \"from\" is \"../a\": give the name of the volume to copy".to_owned(),
        ),
        (
            json!({"live": "true"}),
            400,
            "volume b: option \"live\" is about the volume to copy: give that as \"from\" too"
                .to_owned(),
        ),
        (
            json!({"from": "a", "live": "now"}),
            400,
            "volume b: option \"live\" is \"now\": give true or false".to_owned(),
        ),
        (
            from("torn"),
            500,
            format!(
                "volume torn cannot be used: its record cannot be used: EOF while parsing an object \
                 at line 1 column 1; mend it or move it away, {torn} is left as it is"
            ),
        ),
    ];
    for (options, code, why) in cases {
        assert_eq!(serve.call(CREATE, &with_options("b", &options)), failed(code, &why));
    }
    let path = setup.root().display().to_string();
    let limit =
        format!(r#"{{"Err":"volume b: the file system of {path} does not enforce limits: "#);
    let limited = json!({"from": "a", "size": "1G"});
    let unlimited = serve.call(CREATE, &with_options("b", &limited));
    assert!(unlimited.status == 400 && unlimited.body.starts_with(&limit), "{}", unlimited.body);
    let why = "volume b: \"from\" and \"live\" are no options here";
    let twice = r#"{"Name":"b","From":"a","Opts":{"From":"a"}}"#;
    assert_eq!(serve.call(CLONE, twice), failed(400, why));
    let why = "volume a: option \"from\" says how a volume is made: leave it out";
    assert_eq!(serve.call("Dirvol.Set", &with_options("a", &from("b"))), failed(400, why));
    let bad = "volume name \"../b\" is not allowed: use letters, digits, '_', '.' and '-', \
               beginning with a letter or digit, at most 200 characters";
    assert_eq!(serve.call(CLONE, r#"{"Name":"../b","From":"a"}"#), failed(400, bad));
    assert_eq!(swept_listing(&setup.root()), before);
    serve.stop();
    let why = "--default-opt: option \"from\" says how one volume is made: give it at its creation";
    let mut command = setup.command();
    assert_eq!(crate::program::run(command.args(["--default-opt", "from=a"])), usage(why));
}

#[test]
fn a_volume_that_is_in_use_is_copied_only_where_that_is_asked_for() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    fs::write(setup.root().join("volumes/a/data/file"), "text").unwrap();
    let refusal = |by: &str| {
        let why = format!(
            "volume b: volume a is in use by {by}; stop its containers first, or give live=true \
             ('dirvol clone --live') if a copy of files that are being written is of use"
        );
        failed(409, &why)
    };
    let container = Container::with(&setup.root().join("volumes/a/data"));
    let by = format!("process {}, which has it mounted at /mnt", container.pid());
    assert_eq!(serve.call(CREATE, &with_options("b", &from("a"))), refusal(&by));
    drop(container);
    // In the moment between an engine's Mount and the mount itself.
    serve.ok("VolumeDriver.Mount", &with_id("a", "x"));
    let refused = serve.call(CREATE, &with_options("b", &from("a"))).neutral();
    assert_eq!(refused, refusal(&format!("mount ID x, which asked for it at {TIME}")));
    assert_eq!(serve.names(), ["a"]);

    let live = json!({"from": "a", "live": "true"});
    assert_eq!(serve.call(CREATE, &with_options("b", &live)), done());
    assert_eq!(status(&serve, "b")["copied"], "live");
    assert_eq!(status(&serve, "b")["options"]["live"], "true");
    assert_eq!(fs::read_to_string(setup.root().join("volumes/b/data/file")).unwrap(), "text");
    let told = same_everywhere(&said(&serve, "clone a c --live"));
    assert_eq!(told, "c: a copy of a by copy, 1 files, 4 bytes\n");
    assert_eq!(status(&serve, "c")["copied"], "live");
    // Of a copy that was made so, a copy of its own is not.
    serve.ok("VolumeDriver.Unmount", &with_id("a", "x"));
    assert_eq!(serve.call(CREATE, &with_options("d", &from("c"))), done());
    assert_eq!(status(&serve, "d")["copied"], Value::Null);
    serve.stop();
}

#[test]
fn a_person_is_told_how_it_was_copied_and_so_is_the_log() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let data = setup.root().join("volumes/a/data");
    fs::create_dir(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), vec![1; 3 << 20]).unwrap();
    drop(std::os::unix::net::UnixListener::bind(data.join("sock")).unwrap());
    let skipped = "sock: a socket, which means something to its program alone";
    let ended = ask(&serve, "clone a b -o retain=2d");
    assert_eq!(
        Ended { stdout: same_everywhere(&ended.stdout), ..ended },
        Ended {
            code: Some(0),
            stdout: "b: a copy of a by copy, 2 files, 3.0M bytes\n".into(),
            stderr: format!("dirvol: not copied: {skipped}\n"),
        }
    );
    assert_eq!(
        said(&serve, "clone a b -o retain=2d"),
        "b: it was there already, made as a copy of a\n"
    );
    let json = ask(&serve, "clone a c --format json");
    let expected = json!({"Name": "c", "From": "a", "Method": "copy", "Files": 2,
                          "Bytes": 3 << 20, "Skipped": [skipped]});
    assert_eq!(serde_json::from_str::<Value>(&same_everywhere(&json.stdout)).unwrap(), expected);
    refused(&serve, "clone nosuch d", "volume d: there is no volume nosuch to copy");
    assert_eq!(serve.call(CREATE, &with_options("e", &from("a"))), done());
    let log = same_everywhere(&serve.log());
    let how = format!("cloned by copy: 2 files, {} bytes; not copied: {skipped}", 3 << 20);
    let told: Vec<&str> = log.lines().filter(|line| line.contains(&how)).collect();
    let ops = [("dirvol_clone", "b"), ("dirvol_clone", "c"), ("create", "e")];
    assert_eq!(told.len(), ops.len(), "{log}");
    for (line, (op, name)) in told.iter().zip(ops) {
        assert!(line.contains(&format!("op=\"{op}\" volume=\"{name}\"")), "{line}");
    }
    serve.stop();
}
