//! The calls that are not Docker's, as bytes on the socket.

use std::fs;

use serde_json::json;

use crate::expect::{failed, listing, ok, root_with, volume};
use crate::harness::{Client, Setup, get};

const VERBS: [&str; 8] =
    ["List", "Holders", "Remove", "Set", "Prune", "TrashList", "TrashRestore", "TrashPurge"];

#[test]
fn a_body_that_makes_no_sense_is_refused_and_changes_nothing() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let before = listing(&setup.root());
    let empty = "the request's body is empty, as in a retry of a dropped call: try again";
    let unusable = |why: &str| format!("the request's body cannot be used: {why}");
    for verb in VERBS {
        let call = |body: &str| serve.call(&format!("Dirvol.{verb}"), body);
        assert_eq!(call(""), failed(400, empty), "{verb}");
        let no_object = "the request's body is not a JSON object";
        for body in ["[]", "null", "\"a\"", "7"] {
            assert_eq!(call(body), failed(400, no_object), "{verb} {body}");
        }
        let torn = unusable("EOF while parsing an object at line 1 column 1");
        assert_eq!(call("{"), failed(400, &torn), "{verb}");
        let unknown = call(r#"{"name":"a"}"#);
        assert_eq!(unknown.status, 400, "{verb}");
        let why = r#"{"Err":"the request's body cannot be used: unknown field `name`, expected "#;
        let there_are_none = r#"{"Err":"the request's body cannot be used: unknown field `name`, there are no fields"#;
        let body = &unknown.body;
        assert!(body.starts_with(why) || body.starts_with(there_are_none), "{verb}: {body}");
        assert_eq!(get(&serve.socket, &format!("/Dirvol.{verb}")).status, 405, "{verb}");
    }
    let cases = [
        ("Holders", json!({}), unusable("missing field `Name` at line 1 column 2")),
        ("Remove", json!({}), unusable("missing field `Name` at line 1 column 2")),
        ("Set", json!({"Name": "a"}), unusable("missing field `Opts` at line 1 column 12")),
        ("Set", json!({"Name": "a", "Opts": {}}), "volume a: nothing is to be set".into()),
        ("Prune", json!({}), unusable("missing field `UnusedFor` at line 1 column 2")),
        (
            "Prune",
            json!({"UnusedFor": "-1"}),
            "\"-1\" is not a duration: give one such as 90m, 24h, 7d or 0".into(),
        ),
        ("TrashRestore", json!({}), unusable("missing field `Entry` at line 1 column 2")),
        ("TrashPurge", json!({}), "one is to be given of Entry, Expired and All".into()),
        (
            "TrashPurge",
            json!({"Entry": "a", "All": true}),
            "one is to be given of Entry, Expired and All".into(),
        ),
    ];
    for (verb, body, why) in cases {
        let answer = serve.call(&format!("Dirvol.{verb}"), &body.to_string());
        assert_eq!(answer, failed(400, &why), "{verb} {body}");
    }
    let why = "\"/Dirvol.Grow\" is no call of the VolumeDriver protocol";
    assert_eq!(serve.call("Dirvol.Grow", "{}"), failed(404, why));
    assert_eq!(listing(&setup.root()), before);
    assert_eq!(before, root_with(volume("a")));
    serve.stop();
}

#[test]
fn without_its_root_the_driver_says_why_and_nothing_is_lost() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let away = setup.path("away");
    fs::rename(setup.root(), &away).unwrap();
    serve.wait_unavailable();
    let health: serde_json::Value =
        serde_json::from_str(&get(&serve.socket, "/healthz").body).unwrap();
    let why = format!("dirvol is unavailable: {}", health["reason"].as_str().unwrap());
    let bodies = [
        json!({}),
        json!({"Name": "a"}),
        json!({"Name": "a"}),
        json!({"Name": "a", "Opts": {"mode": "0700"}}),
        json!({"UnusedFor": "0"}),
        json!({}),
        json!({"Entry": "a"}),
        json!({"All": true}),
    ];
    for (verb, body) in VERBS.into_iter().zip(bodies) {
        let answer = serve.call(&format!("Dirvol.{verb}"), &body.to_string());
        assert_eq!(answer, failed(503, &why), "{verb}");
    }
    fs::rename(&away, setup.root()).unwrap();
    serve.wait_available();
    assert_eq!(serve.names(), ["a"]);
    serve.stop();
}

#[test]
fn a_remove_that_is_sent_twice_says_that_there_is_none() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let mut client = Client::connect(&serve.socket);
    let body = json!({"Name": "a"}).to_string();
    let removed = client.call("Dirvol.Remove", &body).unwrap().neutral();
    let entry = "a~0000000000~ffffffffffffffff";
    let expected = format!(r#"{{"Name":"a","Entry":"{entry}","Retain":"1day","Err":""}}"#);
    assert_eq!(removed, ok(expected));
    let again = client.call("Dirvol.Remove", &body);
    assert_eq!(again, Some(failed(404, "no such volume: a")));
    serve.stop();
}
