//! Requests that make no sense: each is answered with what is wrong with it, and
//! none changes anything. A Get is never answered with an error for that: dockerd
//! would forget the volume's labels and options.

use std::io::Write;
use std::thread;

use serde_json::json;

use crate::expect::{done, failed, named, ok, with_id};
use crate::harness::{Answer, Client, Serve, Setup, get, request, tree};

/// The calls about one volume, but for Get.
const WITH_NAME: [&str; 5] = [
    "VolumeDriver.Create",
    "VolumeDriver.Remove",
    "VolumeDriver.Path",
    "VolumeDriver.Mount",
    "VolumeDriver.Unmount",
];

const GET: &str = "VolumeDriver.Get";

/// Bodies that name no volume, and what is said of each.
const BODIES: [(&str, &str); 16] = [
    ("", "the request's body is empty, as in a retry of a dropped call: try again"),
    (
        "{\"Name\":\"db\"",
        "the request's body cannot be used: EOF while parsing an object at line 1 column 12",
    ),
    (
        "{\"Name\":\"db",
        "the request's body cannot be used: EOF while parsing a string at line 1 column 11",
    ),
    (
        "{\"Name\":\"db\"}}",
        "the request's body cannot be used: trailing characters at line 1 column 14",
    ),
    ("Name=db", "the request's body is not a JSON object"),
    ("null", "the request's body is not a JSON object"),
    ("\"db\"", "the request's body is not a JSON object"),
    // The name in the first field's place.
    ("[\"db\"]", "the request's body is not a JSON object"),
    (
        "{\"Name\":7}",
        "the request's body cannot be used: invalid type: integer `7`, expected a string at line 1 column 9",
    ),
    (
        "{\"Name\":null}",
        "the request's body cannot be used: invalid type: null, expected a string at line 1 column 12",
    ),
    (
        "{\"Name\":[\"db\"]}",
        "the request's body cannot be used: invalid type: sequence, expected a string at line 1 column 8",
    ),
    (
        "{\"Name\":\"db\",\"Opts\":[]}",
        "the request's body cannot be used: invalid type: sequence, expected a map at line 1 column 20",
    ),
    (
        "{\"Name\":\"db\",\"Opts\":{\"uid\":5}}",
        "the request's body cannot be used: invalid type: integer `5`, expected a string at line 1 column 28",
    ),
    (
        "{\"Name\":\"db\",\"Name\":\"db\"}",
        "the request's body cannot be used: duplicate field `Name` at line 1 column 19",
    ),
    ("{\"Name\":\"\",\"ID\":\"x\"}\n", "the request names no volume"),
    ("{\"ID\":\"x\"}\n", "the request names no volume"),
];

/// The calls that need no body, and what each answers where there is a volume `db`.
fn without_name(serve: &Serve) -> [(&'static str, Answer); 3] {
    let root = serve.root.display();
    let list = format!(
        r#"{{"Volumes":[{{"Name":"db","Mountpoint":"{root}/volumes/db/data"}}],"Err":""}}"#
    );
    [
        ("Plugin.Activate", ok(r#"{"Implements":["VolumeDriver"]}"#)),
        ("VolumeDriver.Capabilities", ok(r#"{"Capabilities":{"Scope":"local"},"Err":""}"#)),
        ("VolumeDriver.List", ok(list)),
    ]
}

/// Serves a volume `db`, lets `test` do its worst, and checks that it was in vain.
fn in_vain(test: impl FnOnce(&Serve)) {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    let before = (tree(&setup.root()), tree(&setup.state()));
    test(&serve);
    assert_eq!((tree(&setup.root()), tree(&setup.state())), before);
    assert_eq!(serve.names(), ["db"]);
    assert!(!serve.log().contains("panic"));
    // The same process ends in good order.
    serve.stop();
}

/// Sends raw bytes, and reads all the answers until the connection is closed.
fn answers_to(serve: &Serve, bytes: &[u8]) -> Vec<Answer> {
    let mut client = Client::connect(&serve.socket);
    let mut sending = client.stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // It may be closed before everything is sent.
            let _closed = sending.write_all(bytes);
            let _closed = sending.shutdown(std::net::Shutdown::Write);
        });
        std::iter::from_fn(|| client.answer()).collect()
    })
}

/// As [`answers_to`], without the headers: where a body is not read to its end,
/// hyper says `connection: close` or just closes, as it happens.
fn told_to(serve: &Serve, bytes: &[u8]) -> Vec<(u16, String)> {
    answers_to(serve, bytes).into_iter().map(|answer| (answer.status, answer.body)).collect()
}

#[test]
fn a_body_that_names_no_volume_is_refused_by_every_call_about_one() {
    in_vain(|serve| {
        for (body, why) in BODIES {
            for method in WITH_NAME {
                assert_eq!(serve.call(method, body), failed(400, why), "{method} {body}");
            }
        }
    });
}

#[test]
fn a_get_that_names_no_volume_is_not_answered() {
    in_vain(|serve| {
        for (body, _) in BODIES {
            let answer = Client::connect(&serve.socket).call(GET, body);
            assert_eq!(answer, None, "{body}");
        }
        assert_eq!(serve.metric("dirvol_requests_total", "closed"), BODIES.len() as u64);
    });
}

#[test]
fn the_calls_that_need_no_body_are_answered_whatever_it_is() {
    in_vain(|serve| {
        let huge = " ".repeat(64 << 20);
        for (method, expected) in without_name(serve) {
            for body in BODIES.iter().map(|(body, _)| *body) {
                // Twice on one connection: the body was read to its end.
                let mut client = Client::connect(&serve.socket);
                assert_eq!(client.call(method, body), Some(expected.clone()), "{method} {body}");
                assert_eq!(client.call(method, body), Some(expected.clone()), "{method} {body}");
            }
            let answers = told_to(serve, request(method, &huge).as_bytes());
            assert_eq!(answers, [(expected.status, expected.body)], "{method}");
        }
    });
}

#[test]
fn a_body_that_comes_after_its_head_is_waited_for() {
    in_vain(|serve| {
        let mut calls = without_name(serve).to_vec();
        calls.push(("VolumeDriver.Unmount", done()));
        let grow = "\"/VolumeDriver.Grow\" is no call of the VolumeDriver protocol";
        calls.push(("VolumeDriver.Grow", failed(404, grow)));
        for (method, expected) in calls {
            let whole = request(method, &with_id("db", "x"));
            let (head, body) = whole.split_at(whole.find("\r\n\r\n").unwrap() + 4);
            let mut client = Client::connect(&serve.socket);
            for _ in 0..2 {
                client.send(head);
                // By the time that others were answered, the head was read.
                assert_eq!([serve.names(), serve.names()], [["db"], ["db"]]);
                assert!(client.stream.write_all(body.as_bytes()).is_ok(), "{method} hung up");
                assert_eq!(client.answer().as_ref(), Some(&expected), "{method}");
            }
        }
    });
}

#[test]
fn a_mount_needs_an_id_of_a_sensible_length() {
    in_vain(|serve| {
        let long = "x".repeat(256);
        for method in ["VolumeDriver.Mount", "VolumeDriver.Unmount"] {
            let missing = failed(400, "volume db: the request has no mount ID");
            assert_eq!(serve.call(method, &named("db")), missing);
            assert_eq!(serve.call(method, &with_id("db", "")), missing);
            let too_long = failed(400, "volume db: the mount ID is longer than 255 bytes");
            assert_eq!(serve.call(method, &with_id("db", &long)), too_long);
            assert_eq!(serve.call(method, &with_id("db", &long[1..])).status, 200);
        }
    });
}

#[test]
fn a_path_or_a_method_that_is_none_of_the_protocols_is_refused() {
    in_vain(|serve| {
        for path in ["VolumeDriver.Grow", "volumedriver.Get", "", "VolumeDriver.Get/", "healthz"] {
            let why = format!("{:?} is no call of the VolumeDriver protocol", format!("/{path}"));
            assert_eq!(serve.call(path, &named("db")), failed(404, &why));
        }
        let without_name = without_name(serve).map(|(path, _)| path);
        for path in WITH_NAME.into_iter().chain(without_name).chain([GET]) {
            let why = format!("/{path} is called with POST, not with GET");
            assert_eq!(get(&serve.socket, &format!("/{path}")), failed(405, &why));
        }
    });
}

#[test]
fn a_body_may_have_a_mebibyte_and_no_more() {
    in_vain(|serve| {
        let padded = |length: usize| {
            let body = json!({"Name": "db"}).to_string();
            format!("{}{body}", " ".repeat(length - body.len()))
        };
        let full = padded(1 << 20);
        let too_long = failed(413, "the request's body is longer than 1048576 bytes").body;
        for method in WITH_NAME.iter().filter(|method| !method.ends_with("ount")) {
            if !method.ends_with("Remove") {
                let answers = answers_to(serve, request(method, &full).as_bytes());
                let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
                assert_eq!(statuses, [200], "{method}");
            }
            for length in [(1 << 20) + 1, 2 << 20, 64 << 20] {
                let answers = told_to(serve, request(method, &padded(length)).as_bytes());
                assert_eq!(answers, [(413, too_long.clone())], "{method} {length}");
            }
        }
        assert_eq!(answers_to(serve, request(GET, &padded(2 << 20)).as_bytes()), []);
    });
}

#[test]
fn a_head_that_is_none_is_refused_without_a_body() {
    in_vain(|serve| {
        let many = "X: y\r\n".repeat(10_000);
        let long = "y".repeat(1 << 20);
        let cases = [
            (431, format!("POST /{GET} HTTP/1.1\r\nHost: x\r\n{many}\r\n")),
            (431, format!("POST /{GET} HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n")),
            (431, format!("POST /{long} HTTP/1.1\r\nHost: x\r\n\r\n")),
            (400, "\u{0}\u{1}\u{2}\r\n\r\n".into()),
            (400, "POST\r\n\r\n".into()),
            (400, format!("POST /{GET} HTTP/1.1\r\nContent-Length: -1\r\n\r\n")),
            (400, format!("POST /{GET} HTTP/1.1\r\nContent-Length: x\r\n\r\n")),
            (400, format!("POST /{GET} HTTP/9.9\r\n\r\n")),
        ];
        for (status, bytes) in cases {
            let answers = answers_to(serve, bytes.as_bytes());
            let headers = vec!["connection: close".to_owned(), "content-length: 0".to_owned()];
            let expected = Answer { status, headers, body: String::new() };
            assert_eq!(answers, [expected], "{bytes:.60?}");
        }
        // What HTTP/2 begins with: hyper closes without a word.
        assert_eq!(answers_to(serve, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), []);
    });
}

#[test]
fn a_request_that_is_cut_off_changes_nothing() {
    in_vain(|serve| {
        for method in WITH_NAME {
            let whole = request(method, &with_id("other", "x"));
            for length in [1, 10, whole.len() / 2] {
                assert_eq!(answers_to(serve, &whole.as_bytes()[..length]), [], "{method} {length}");
            }
            let cut = &whole.as_bytes()[..whole.len() - 1];
            let why = "the request's body cannot be read: error reading a body from connection";
            assert_eq!(answers_to(serve, cut), [failed(400, why)], "{method}");
        }
        let whole = request(GET, &named("db"));
        assert_eq!(answers_to(serve, &whole.as_bytes()[..whole.len() - 1]), []);
    });
}
