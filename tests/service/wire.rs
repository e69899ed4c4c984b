//! The bytes on the socket: what each engine sends, and the whole of what it gets.

use std::net::Shutdown;
use std::time::SystemTime;

use crate::expect::{TIME, done, failed, listing, neutral, ok, response, root_with, volume};
use crate::harness::{Answer, Client, DONE, Serve, Setup, eventually, get, request};
use crate::scraped::{Described, Scraped, scrape};

/// Podman's one mount ID for everything.
const PODMANS_ID: &str = "2f73349cfc4630255319c6c8dfc1b46a8996ace9d14d8e07563b165915918ec2";

/// A mount ID as dockerd makes them up.
const DOCKERDS_ID: &str = "9d14d8e07563b165915918ec22f73349cfc4630255319c6c8dfc1b46a8996ace";

/// The bytes that Podman 4.3 sends.
fn podmans_request(method: &str, body: &str) -> String {
    format!(
        "POST /{method} HTTP/1.1\r\nHost: plugin\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {}\r\nContent-Type: application/vnd.docker.plugins.v1.1+json\r\n\r\n{body}",
        body.len()
    )
}

/// What Get answers for the volume `db` of `serve`, created without options.
fn db(serve: &Serve, holders: &str) -> Answer {
    let root = serve.root.display();
    ok(format!(
        r#"{{"Volume":{{"Name":"db","Mountpoint":"{root}/volumes/db/data","CreatedAt":"{TIME}","#
    ) + &format!(r#""Status":{{"created":"{TIME}","health":"ok","holders":{holders},"#)
        + r#""options":{"gid":"0","mode":"0755","protect":"false","retain":"1day","uid":"0"}}},"Err":""}"#)
}

fn mountpoint(serve: &Serve) -> Answer {
    ok(format!(r#"{{"Mountpoint":"{}/volumes/db/data","Err":""}}"#, serve.root.display()))
}

fn list_of_db(serve: &Serve) -> Answer {
    let root = serve.root.display();
    ok(format!(r#"{{"Volumes":[{{"Name":"db","Mountpoint":"{root}/volumes/db/data"}}],"Err":""}}"#))
}

fn holder(id: &str) -> String {
    format!(r#"[{{"id":"{id}","count":1,"since":"{TIME}"}}]"#)
}

/// Sends each request on one connection, and compares each answer.
fn converse<'a>(serve: &Serve, calls: impl IntoIterator<Item = (&'a str, String, Answer)>) {
    let mut client = Client::connect(&serve.socket);
    for (what, bytes, expected) in calls {
        client.send(bytes);
        assert_eq!(client.answer().map(Answer::neutral), Some(expected), "{what}");
    }
}

#[test]
fn dockerd_is_answered_through_the_life_of_a_volume() {
    let setup = Setup::new();
    let serve = setup.serve();
    let implements = ok(r#"{"Implements":["VolumeDriver"]}"#);
    let scope = ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#);
    let name = "{\"Name\":\"db\"}\n";
    let create = "{\"Name\":\"db\",\"Opts\":null}\n";
    let id = format!("{{\"Name\":\"db\",\"ID\":\"{DOCKERDS_ID}\"}}\n");
    let absent = failed(404, "no such volume: db");
    let none = ok(r#"{"Volumes":[],"Err":""}"#);
    let call = |method: &str, body: &str| request(method, body);
    converse(
        &serve,
        [
            ("it is a volume driver", call("Plugin.Activate", ""), implements),
            ("its volumes are local", call("VolumeDriver.Capabilities", "{}\n"), scope),
            ("there is none", call("VolumeDriver.List", "{}\n"), none.clone()),
            ("it is not there yet", call("VolumeDriver.Get", name), absent.clone()),
            ("it is created", call("VolumeDriver.Create", create), done()),
            ("it is there", call("VolumeDriver.Get", name), db(&serve, "[]")),
            ("it is listed", call("VolumeDriver.List", "{}\n"), list_of_db(&serve)),
            ("it has a path", call("VolumeDriver.Path", name), mountpoint(&serve)),
            ("it is mounted", call("VolumeDriver.Mount", &id), mountpoint(&serve)),
            ("it has a holder", call("VolumeDriver.Get", name), db(&serve, &holder(DOCKERDS_ID))),
            ("it is unmounted", call("VolumeDriver.Unmount", &id), done()),
            ("it has no holder", call("VolumeDriver.Get", name), db(&serve, "[]")),
        ],
    );
    assert_eq!(listing(&setup.root()), root_with(volume("db")));
    converse(
        &serve,
        [
            ("it is removed", call("VolumeDriver.Remove", name), done()),
            ("it is not there any more", call("VolumeDriver.Get", name), absent),
            ("there is none again", call("VolumeDriver.List", "{}\n"), none),
        ],
    );
    serve.stop();
}

#[test]
fn podman_is_answered_through_the_life_of_a_volume() {
    let setup = Setup::new();
    let serve = setup.serve();
    let implements = ok(r#"{"Implements":["VolumeDriver"]}"#);
    let name = r#"{"Name":"db"}"#;
    let id = format!(r#"{{"Name":"db","ID":"{PODMANS_ID}"}}"#);
    let absent = failed(404, "no such volume: db");
    let call = podmans_request;
    converse(
        &serve,
        [
            ("it is a volume driver", call("Plugin.Activate", ""), implements),
            ("it is not there yet", call("VolumeDriver.Get", name), absent.clone()),
            ("it is created", call("VolumeDriver.Create", name), done()),
            ("it is listed", call("VolumeDriver.List", ""), list_of_db(&serve)),
            ("it is mounted", call("VolumeDriver.Mount", &id), mountpoint(&serve)),
            ("it has a holder", call("VolumeDriver.Get", name), db(&serve, &holder(PODMANS_ID))),
            ("it has a path", call("VolumeDriver.Path", name), mountpoint(&serve)),
            ("it is unmounted", call("VolumeDriver.Unmount", &id), done()),
            ("it is removed", call("VolumeDriver.Remove", name), done()),
            ("it is not there any more", call("VolumeDriver.Get", name), absent),
        ],
    );
    serve.stop();
}

#[test]
fn a_client_that_writes_and_hangs_up_gets_its_work_done() {
    // Podman does not read the body of a success, and closes the connection.
    let setup = Setup::new();
    let serve = setup.serve();
    for name in ["a", "b", "c"] {
        let mut client = Client::connect(&serve.socket);
        client.send(podmans_request("VolumeDriver.Create", &format!(r#"{{"Name":"{name}"}}"#)));
        drop(client);
    }
    eventually("all three are created", || (serve.names() == ["a", "b", "c"]).then_some(()));
    serve.stop();
}

#[test]
fn a_volume_was_created_when_it_was_created() {
    let setup = Setup::new();
    let serve = setup.serve();
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = seconds(SystemTime::now());
    serve.create("db");
    let after = seconds(SystemTime::now());
    let answer: serde_json::Value =
        serde_json::from_str(&serve.ok("VolumeDriver.Get", r#"{"Name":"db"}"#)).unwrap();
    let created = answer["Volume"]["CreatedAt"].as_str().unwrap();
    assert_eq!(neutral(created), TIME);
    assert_eq!(answer["Volume"]["Status"]["created"], created);
    let created = seconds(humantime::parse_rfc3339(created).unwrap());
    assert!((before..=after).contains(&created), "{before} {created} {after}");
    serve.stop();
}

#[test]
fn a_shared_root_says_so() {
    let setup = Setup::new().arg("--scope").arg("global");
    let serve = setup.serve();
    let scope = ok(r#"{"Capabilities":{"Scope":"global"},"Err":""}"#);
    assert_eq!(serve.call("VolumeDriver.Capabilities", "{}\n"), scope);
    serve.stop();
}

#[test]
fn requests_that_are_sent_at_once_are_answered_in_their_order() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut client = Client::connect(&serve.socket);
    let names: Vec<String> = (0..500).map(|i| format!("v{i}")).collect();
    let body = |name: &str| format!("{{\"Name\":\"{name}\"}}\n");
    let gets: String = names.iter().map(|name| request("VolumeDriver.Get", &body(name))).collect();
    client.send(
        gets + &request("VolumeDriver.Create", &body("v1"))
            + &request("VolumeDriver.Get", &body("v1")),
    );
    for name in &names {
        assert_eq!(client.answer(), Some(failed(404, &format!("no such volume: {name}"))));
    }
    assert_eq!(client.answer(), Some(done()));
    let created = client.answer().unwrap();
    assert!(created.body.starts_with(r#"{"Volume":{"Name":"v1","#), "{created:?}");
    serve.stop();
}

#[test]
fn a_request_that_comes_in_single_bytes_is_answered() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut client = Client::connect(&serve.socket);
    for method in ["Create", "List", "Remove"] {
        for byte in request(&format!("VolumeDriver.{method}"), "{\"Name\":\"db\"}\n").bytes() {
            client.send([byte]);
        }
        let expected = if method == "List" { list_of_db(&serve) } else { done() };
        assert_eq!(client.answer(), Some(expected), "{method}");
    }
    serve.stop();
}

#[test]
fn a_client_that_has_sent_its_last_request_is_answered() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut client = Client::connect(&serve.socket);
    client.send(request("VolumeDriver.Create", "{\"Name\":\"db\"}\n"));
    client.send(request("VolumeDriver.List", "{}\n"));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer(), Some(done()));
    assert_eq!(client.answer(), Some(list_of_db(&serve)));
    assert_eq!(client.answer(), None);
    serve.stop();
}

#[test]
fn other_shapes_of_http_are_understood() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    let path = "POST /VolumeDriver.Path";
    let body = r#"{"Name":"db"}"#;
    let go_on = Answer { status: 100, headers: vec![], body: String::new() };
    let cases = [
        // In chunks, of no known length.
        (
            format!(
                "{path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\n{}\r\n8\r\n{}\r\n0\r\n\r\n",
                &body[..5],
                &body[5..]
            ),
            vec![mountpoint(&serve)],
        ),
        // Asking whether the body is wanted.
        (
            format!(
                "{path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n\
                 {body}"
            ),
            vec![go_on, mountpoint(&serve)],
        ),
        // As of 1996.
        (format!("{path} HTTP/1.0\r\nContent-Length: 13\r\n\r\n{body}"), vec![mountpoint(&serve)]),
        // With a query, which says nothing to us, and as curl likes it.
        (
            format!(
                "{path}?x=y HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/7.88.1\r\n\
                 Accept: */*\r\nContent-Length: 13\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
            ),
            vec![mountpoint(&serve)],
        ),
    ];
    for (bytes, expected) in cases {
        let mut client = Client::connect(&serve.socket);
        client.send(&bytes);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let answers: Vec<Answer> = std::iter::from_fn(|| client.answer()).collect();
        assert_eq!(answers, expected, "{bytes}");
    }
    serve.stop();
}

#[test]
fn health_and_metrics_are_on_the_same_socket() {
    let setup = Setup::new();
    let serve = setup.serve();
    let healthy = response(200, "application/json", r#"{"status":"ok"}"#);
    assert_eq!(get(&serve.socket, "/healthz"), healthy);
    serve.create("a");
    serve.create("b");
    serve.remove("a");
    assert_eq!(serve.ok("VolumeDriver.Unmount", r#"{"Name":"a","ID":"x"}"#), DONE);
    assert_eq!(serve.call("VolumeDriver.Get", r#"{"Name":"x"}"#).status, 404);
    assert_eq!(Client::connect(&serve.socket).call("VolumeDriver.Get", ""), None);
    assert_eq!(serve.call("VolumeDriver.Grow", "").status, 404);
    let expected = Scraped {
        calls: vec![
            ("create", [2, 0, 0]),
            ("remove", [1, 0, 0]),
            ("unmount", [1, 0, 0]),
            ("get", [0, 1, 1]),
            ("other", [0, 1, 0]),
        ],
        errors: vec![("bad_request", 2), ("no_such_volume", 1)],
        volumes: 1,
        trash_entries: 1,
        described: vec![Described::new("b")],
        ..Scraped::of(&setup.root())
    };
    assert_eq!(scrape(&serve), expected.answer());
    serve.stop();
}
