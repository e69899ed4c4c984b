//! The examples of tools that do not run here: their form, and their options, which a
//! real Podman and the driver are given as the tool would give them.

use std::fs;

use serde_json::{Map, Value, json};

use crate::storage::start;

/// The options that both state, as the driver shows them.
fn in_force() -> Value {
    json!({"gid": "1000", "mode": "0750", "protect": "true", "retain": "7days", "uid": "1000"})
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("examples/{name}")).unwrap()
}

/// The lines of a unit that say something, without comments.
fn lines(unit: &str) -> impl Iterator<Item = &str> {
    unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The values of a key of a unit.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let pairs = lines(unit).filter_map(|line| line.split_once('='));
    pairs.filter(|(found, _)| *found == key).map(|(_, value)| value).collect()
}

/// Quadlet writes the command from the unit; here the test does.
#[test]
fn the_volume_of_quadlet_is_created_by_the_command_that_it_stands_for() {
    let unit = read("quadlet/db.volume");
    let (driver, label) = (values(&unit, "Driver").concat(), values(&unit, "Label").concat());
    let (args, name) = (values(&unit, "PodmanArgs").concat(), values(&unit, "VolumeName").concat());
    let (_setup, _serve, podman) = start();
    podman.ok(&format!("volume create --driver {driver} --label {label} {args} {name}"));
    let shown = podman.inspect("db");
    assert_eq!(shown["Status"]["options"], in_force());
    assert_eq!(shown["Labels"], json!({"com.example.backup": "daily"}));
    let user = format!("{}:{}", values(&container(), "User")[0], values(&container(), "Group")[0]);
    podman.run(&format!("--rm --user {user} -v db:/data"), "touch /data/log");
}

fn container() -> String {
    read("quadlet/db.container")
}

#[test]
fn the_units_of_quadlet_name_each_other() {
    let (volume, container) = (read("quadlet/db.volume"), container());
    let sections = |unit: &str| -> Vec<String> {
        lines(unit).filter(|line| line.starts_with('[')).map(str::to_owned).collect()
    };
    assert_eq!(sections(&volume), ["[Unit]", "[Volume]"]);
    assert_eq!(sections(&container), ["[Unit]", "[Container]", "[Service]", "[Install]"]);
    assert_eq!(values(&container, "Volume"), ["db.volume:/data"]);
}

#[test]
fn the_options_of_terraform_are_the_drivers() {
    let text = read("terraform/main.tf");
    let block = text.split_once("driver_opts = {\n").unwrap().1.split_once('}').unwrap().0;
    let options: Map<String, Value> = block
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), json!(value.trim().trim_matches('"'))))
        .collect();
    let setup = crate::harness::Setup::new();
    let serve = setup.serve();
    serve.ok("VolumeDriver.Create", &json!({"Name": "db", "Opts": options}).to_string());
    let shown = serve.ok("VolumeDriver.Get", r#"{"Name":"db"}"#);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["Volume"]["Status"]["options"], in_force());
}
