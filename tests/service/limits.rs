//! A limit on a file system that keeps none, as the one of these tests is: this
//! machine's kernel, or its mount, knows no project quota. What keeps one is in the
//! tests of the virtual machine.

use std::fs;

use serde_json::{Value, json};

use crate::doctor::doctor;
use crate::harness::{Serve, Setup, tree};

/// Why, with the cure, which is another one for each file system.
fn why(setup: &Setup, serve: &Serve) -> String {
    let body = json!({"Name": "no", "Opts": {"size": "10G"}}).to_string();
    let answer = serve.call("VolumeDriver.Create", &body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let why = answer["Err"].as_str().unwrap().strip_prefix("volume no: ").unwrap().to_owned();
    let root = setup.root().display().to_string();
    let begin = format!("the file system of {root} does not enforce limits: ");
    assert!(why.starts_with(&begin) && why.ends_with("leave size and inodes out"), "{why}");
    why
}

#[test]
fn a_limit_that_nobody_would_keep_is_refused_and_none_is_what_there_is() {
    let setup = Setup::new();
    let serve = setup.serve();
    let create = |name: &str, options: Value| {
        serve.call("VolumeDriver.Create", &json!({"Name": name, "Opts": options}).to_string())
    };
    assert_eq!(create("free", json!({"size": "0", "inodes": "0"})).status, 200);
    // No limit is no limit, stated or not.
    assert_eq!(create("free", json!({})).status, 200);
    let before = tree(&setup.root());
    let why = why(&setup, &serve);
    let refused = |name: &str| json!({"Err": format!("volume {name}: {why}")});
    for options in [json!({"size": "10G"}), json!({"inodes": "1M"}), json!({"o": "size=1g"})] {
        let answer = create("db", options);
        assert_eq!(answer.status, 400);
        assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), refused("db"));
    }
    let set = json!({"Name": "free", "Opts": {"size": "10G"}}).to_string();
    let answer = serve.call("Dirvol.Set", &set);
    assert_eq!(answer.status, 400);
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), refused("free"));
    assert_eq!(tree(&setup.root()), before);
    serve.stop();
}

/// As one whose root was copied here from a disk that keeps limits.
#[test]
fn a_volume_whose_limit_is_not_kept_is_used_and_says_so_at_each_turn() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    let record = setup.root().join("volumes/db/volume.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"options\":{", "\"options\":{\"size\":\"10G\"")).unwrap();
    let why = why(&setup, &serve);
    let told = format!("not kept: {why}");
    let status = || -> Value {
        let got = serve.ok("VolumeDriver.Get", r#"{"Name":"db"}"#);
        serde_json::from_str::<Value>(&got).unwrap()["Volume"]["Status"].clone()
    };
    // The change is seen when what was read a moment ago is read again.
    crate::harness::eventually("the record is read", || {
        (status()["limit"] == told.as_str()).then_some(())
    });
    assert_eq!(status()["used"], Value::Null);
    serve.ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
    let log = serve.log();
    assert!(log.contains(&format!("its limit is not kept: {why}")), "{log}");
    let listed: Value = serde_json::from_str(&serve.ok("Dirvol.List", "{}")).unwrap();
    assert_eq!(listed["Volumes"][0]["UsedBytes"], Value::Null);
    serve.stop();
}

#[test]
fn the_doctor_finds_a_limit_that_is_not_kept() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    let why = why(&setup, &serve);
    serve.stop();
    let record = setup.root().join("volumes/db/volume.json");
    let text = fs::read_to_string(&record).unwrap();
    let limited = text.replace("\"options\":{", "\"options\":{\"size\":\"10G\"");
    fs::write(&record, limited).unwrap();
    let dir = setup.dir.path().to_str().unwrap();
    let found = format!(
        "volume db: its limit is not kept: {}; 'dirvol set db size=0 inodes=0' takes it away",
        why.replace(dir, "DIR")
    );
    let told = doctor(&setup, &[]).stdout;
    assert!(told.contains(&format!("health       finding  {found}\n")), "{told}");
}
