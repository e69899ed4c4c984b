//! `--test-fixture`: the driver as the reference plugin that tests engines, with
//! all of its misbehaviour, and with a word about it wherever one looks.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;

use crate::asked::refused;
use crate::expect::{TIME, done, failed, named, ok, response, with_id, with_options};
use crate::harness::{DEADLINE, Serve, Setup, eventually, get, request, tree};
use crate::program::{run, usage};

const CREATE: &str = "VolumeDriver.Create";
const GET: &str = "VolumeDriver.Get";
const MOUNT: &str = "VolumeDriver.Mount";

fn fixture() -> Setup {
    Setup::new().arg("--test-fixture")
}

/// The log's lines about one operation, without their times.
fn told(serve: &Serve, op: &str) -> Vec<String> {
    let of_op = format!("op=\"{op}\"");
    let log = serve.log();
    let lines = log.lines().filter(|line| line.contains(&of_op));
    lines.map(|line| line[line.find(['I', 'D', 'W', 'E']).unwrap()..].to_owned()).collect()
}

#[test]
fn a_fixture_says_what_it_is() {
    let setup = fixture();
    let serve = setup.serve();
    let health = r#"{"status":"ok","test_fixture":"on: never for real data"}"#;
    assert_eq!(get(&serve.socket, "/healthz"), response(200, "application/json", health));
    let notice = " WARN this is the test fixture: volumes may misbehave; never for real data\n";
    assert!(serve.log().contains(notice), "{}", serve.log());
    serve.stop();

    let setup = Setup::new().env("DIRVOL_TEST_FIXTURE", "false");
    let serve = setup.serve();
    assert_eq!(get(&serve.socket, "/healthz").body, r#"{"status":"ok"}"#);
    assert!(!serve.log().contains("fixture"), "{}", serve.log());
    serve.stop();
}

#[test]
fn the_status_of_a_fixtures_volume_is_the_one_of_the_reference() {
    let setup = fixture();
    let serve = setup.serve();
    serve.create("a");
    serve.ok(MOUNT, &with_id("a", "x"));
    let data = setup.root().join("volumes/a/data");
    let expected = format!(
        r#"{{"Volume":{{"Name":"a","Mountpoint":"{}","CreatedAt":"{TIME}","Status":{{"Hello":"world"}}}},"Err":""}}"#,
        data.display()
    );
    assert_eq!(serve.call(GET, &named("a")).neutral(), ok(expected));
    serve.stop();
}

#[test]
fn a_ninja_is_seen_by_nobody() {
    let setup = fixture();
    let serve = setup.serve();
    serve.create("a");
    assert_eq!(serve.call(CREATE, &with_options("ninja", &json!({"ninja": "1"}))), done());
    assert_eq!(serve.call(GET, &named("ninja")), ok(r#"{"Volume":null,"Err":""}"#));
    refused(&serve, "inspect ninja", "no such volume: ninja");
    assert_eq!(serve.names(), ["a"]);
    let bent = r#"INFO test fixture: the volume will misbehave op="create" volume="ninja""#;
    assert!(told(&serve, "create")[1].starts_with(bent), "{}", serve.log());
    let bent = r#"DEBUG test fixture: answered a null volume op="get" volume="ninja""#;
    assert!(told(&serve, "get")[0].starts_with(bent), "{}", serve.log());
    // It is there all the same, and stays a ninja.
    serve.stop();
    let serve = setup.serve();
    assert_eq!(serve.call(GET, &named("ninja")), ok(r#"{"Volume":null,"Err":""}"#));
    let refused = serve.call(CREATE, &named("ninja"));
    assert_eq!(refused.status, 409, "{refused:?}");
    serve.remove("ninja");
    assert_eq!(serve.call(GET, &named("ninja")), failed(404, "no such volume: ninja"));
    serve.stop();
}

#[test]
fn each_answer_that_a_fixture_bends_is_told_in_the_log() {
    let setup = fixture();
    let serve = setup.serve();
    serve.create("a");
    assert_eq!(serve.call(CREATE, &with_options("ninja", &json!({"ninja": "1"}))), done());
    serve.ok(GET, &named("a"));
    assert_eq!(serve.names(), ["a"]);
    for op in ["get", "list"] {
        let lines = told(&serve, op);
        assert!(lines.iter().all(|line| line.contains(" test fixture: ")), "{lines:?}");
    }
    serve.stop();
}

#[test]
fn a_volume_that_is_to_fail_its_mount_fails_it_and_has_no_holder() {
    let setup = fixture();
    let serve = setup.serve();
    let options = json!({"invalidOption": "invalid"});
    assert_eq!(serve.call(CREATE, &with_options("a", &options)), done());
    assert_eq!(serve.call(MOUNT, &with_id("a", "x")), failed(500, "invalid argument"));
    assert_eq!(tree(&setup.root().join("volumes/a/data")), [""; 0]);
    let line = r#"ERROR invalid argument op="mount" volume="a" mount_id="x" outcome="error""#;
    assert!(told(&serve, "mount")[0].starts_with(line), "{}", serve.log());
    // Nobody holds it, so it may go.
    serve.remove("a");
    serve.stop();
}

#[test]
fn a_mount_writes_where_it_is_served_and_for_whom() {
    let setup = fixture();
    let serve = setup.serve();
    serve.create("a");
    let data = setup.root().join("volumes/a/data");
    for id in ["first", "second"] {
        serve.ok(MOUNT, &with_id("a", id));
        let url = format!("unix://{}", setup.socket().display());
        let written = [format!("mountID 0600 0:0 {id:?}"), format!("test 0600 0:0 {url:?}")];
        assert_eq!(tree(&data), written);
    }
    let bent = "INFO test fixture: wrote into the volume, or failed as told op=\"mount\"";
    let lines = told(&serve, "mount");
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with(bent)), "{lines:?}");
    serve.stop();
}

#[test]
fn without_the_flag_nothing_of_it_is_known() {
    let setup = fixture();
    let serve = setup.serve();
    assert_eq!(serve.call(CREATE, &with_options("ninja", &json!({"ninja": "1"}))), done());
    serve.stop();
    let real = Setup::new();
    let serve = real.serve();
    let known = "(known: from, gid, inodes, live, mode, path, protect, retain, size, uid)";
    for (option, shown) in [("ninja", "ninja"), ("invalidOption", "invalidoption")] {
        let why = format!("volume a: option \"{shown}\" is unknown {known}");
        let refused = serve.call(CREATE, &with_options("a", &json!({option: "1"})));
        assert_eq!(refused, failed(400, &why));
    }
    serve.create("a");
    serve.ok(MOUNT, &with_id("a", "x"));
    assert_eq!(tree(&real.root().join("volumes/a/data")), [""; 0]);
    serve.stop();
}

/// The address in the only file of the directory `dir`, whose name is `name`.
fn announced(dir: &Path, name: &str) -> String {
    let lines = tree(dir);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{name} ")), "{lines:?}");
    let text = fs::read_to_string(dir.join(name)).unwrap();
    let address = text.strip_prefix("tcp://").and_then(|rest| rest.strip_suffix('\n'));
    address.unwrap().to_owned()
}

#[test]
fn a_fixture_on_tcp_is_announced_while_it_lives() {
    let setup = fixture().arg("--listen").arg("tcp://127.0.0.1:0");
    let specs = setup.path("specs");
    let setup = setup.arg("--spec-dir").arg(specs.display().to_string());
    let serve = setup.serve();
    let address = announced(&specs, "dirvol.spec");
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request(CREATE, &named("a")).as_bytes()).unwrap();
    let expected = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.docker.plugins.v1.2+json\r\n\
                    content-length: 10\r\n\r\n{\"Err\":\"\"}";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
    // It is the same driver as on the socket, and names its address to volumes.
    assert_eq!(serve.names(), ["a"]);
    serve.ok(MOUNT, &with_id("a", "x"));
    let url = fs::read_to_string(setup.root().join("volumes/a/data/test")).unwrap();
    assert_eq!(url, format!("tcp://{address}"));
    serve.stop();
    assert_eq!(tree(&specs), [""; 0]);
    eventually("nobody listens there", || TcpStream::connect(&address).err());
}

#[test]
fn a_spec_file_of_one_that_was_killed_is_overwritten() {
    let setup = fixture().arg("--listen").arg("tcp://127.0.0.1:0");
    let specs = setup.path("specs");
    let setup = setup.arg("--spec-dir").arg(specs.display().to_string());
    setup.serve().kill();
    let before = announced(&specs, "dirvol.spec");
    let serve = setup.serve();
    let after = announced(&specs, "dirvol.spec");
    assert!(TcpStream::connect(&after).is_ok());
    assert!(before == after || TcpStream::connect(&before).is_err());
    serve.stop();
    assert_eq!(tree(&specs), [""; 0]);
}

#[test]
fn tcp_is_for_the_fixture_and_for_this_machine_alone() {
    let setup = Setup::new();
    let no_fixture = "TCP has no access control, so only --test-fixture may use it";
    let not_loopback = "TCP has no access control: give a loopback address";
    let cases = [
        (
            vec!["--listen", "tcp://127.0.0.1:0"],
            format!("--listen tcp://127.0.0.1:0: {no_fixture}"),
        ),
        (vec!["--listen", "tcp://[::1]:0"], format!("--listen tcp://[::1]:0: {no_fixture}")),
        (
            vec!["--listen", "tcp://0.0.0.0:0", "--test-fixture"],
            format!("--listen tcp://0.0.0.0:0: {not_loopback}"),
        ),
        (
            vec!["--listen", "tcp://[::]:0", "--test-fixture"],
            format!("--listen tcp://[::]:0: {not_loopback}"),
        ),
        (
            vec!["--listen", "tcp://192.0.2.1:80", "--test-fixture"],
            format!("--listen tcp://192.0.2.1:80: {not_loopback}"),
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--test-fixture"],
            "--listen \"127.0.0.1:0\": give tcp://ADDRESS:PORT, as tcp://127.0.0.1:0".into(),
        ),
    ];
    for (args, why) in cases {
        assert_eq!(run(setup.command().args(&args)), usage(&why), "{args:?}");
    }
    assert!(!setup.socket().exists());
}
