//! The example for Compose, brought up by a real docker-compose.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::harness::{Serve, eventually, tree};
use crate::storage::with_dockerd;

/// Runs a command of docker-compose on the project of the file.
fn compose(daemon: &Daemon, file: &Path, line: &str) -> Output {
    let mut command = daemon.client("docker-compose");
    command.args(["--ansi", "never", "--project-name", "demo", "--file"]).arg(file);
    command.args(line.split_whitespace()).output().unwrap()
}

/// As [`compose`], and it must succeed; returns what it printed, on either stream.
fn said(daemon: &Daemon, file: &Path, line: &str) -> String {
    let output = compose(daemon, file, line);
    let printed = printed(&output);
    assert!(output.status.success(), "docker-compose {line}: {printed}");
    printed
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn example() -> &'static Path {
    Path::new("examples/compose/docker-compose.yml")
}

/// Everything about the volume that a second run must not change.
fn state(daemon: &Daemon, serve: &Serve) -> (Vec<Value>, Vec<String>) {
    (daemon.inspect("demo_db demo_cache"), tree(&serve.root.join("volumes")))
}

#[test]
fn compose_brings_the_example_up_and_a_second_time_changes_nothing() {
    let (_setup, serve, daemon) = with_dockerd();
    let first = said(&daemon, example(), "up -d");
    for volume in ["demo_db", "demo_cache"] {
        let line = format!("Creating volume \"{volume}\" with dirvol driver\n");
        assert!(first.contains(&line), "{first}");
    }
    let log = serve.root.join("volumes/demo_db/data/log");
    eventually("the container has started", || {
        (fs::read_to_string(&log).ok()? == "started\n").then_some(())
    });
    let before = state(&daemon, &serve);
    let in_force = json!({
        "gid": "1000", "mode": "0750", "protect": "true", "retain": "7days", "uid": "1000"
    });
    assert_eq!(before.0[0]["Status"]["options"], in_force);
    assert_eq!(before.0[0]["Labels"]["com.example.backup"], "daily");

    let second = said(&daemon, example(), "up -d");
    assert_eq!(second, "demo_db_1 is up-to-date\n");
    assert_eq!(state(&daemon, &serve), before);

    // The containers go, the volumes stay, and are found again.
    said(&daemon, example(), "down -t 0");
    said(&daemon, example(), "up -d");
    eventually("the container has started again", || {
        (fs::read_to_string(&log).unwrap() == "started\nstarted\n").then_some(())
    });
    // Other containers hold them now, and they are the same.
    let lasting = |volume: &Value| {
        ["CreatedAt", "Labels", "Options", "Mountpoint"].map(|key| volume[key].clone())
    };
    let after = daemon.inspect("demo_db demo_cache");
    assert_eq!(
        after.iter().map(lasting).collect::<Vec<_>>(),
        before.0.iter().map(lasting).collect::<Vec<_>>()
    );
    said(&daemon, example(), "down -t 0");
}

/// `down -v` is the shortest way to lose a database.
#[test]
fn compose_down_with_volumes_stops_at_what_is_protected_and_else_fills_the_trash() {
    let (_setup, serve, daemon) = with_dockerd();
    said(&daemon, example(), "up -d");
    let output = compose(&daemon, example(), "down -v -t 0");
    let why = "volume demo_db is protected; if it is to be removed, run 'dirvol set demo_db \
               protect=false' first";
    assert!(printed(&output).contains(why), "{}", printed(&output));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(serve.names(), ["demo_cache", "demo_db"]);

    serve.ok("Dirvol.Set", r#"{"Name":"demo_db","Opts":{"protect":"false"}}"#);
    said(&daemon, example(), "down -v -t 0");
    assert_eq!(serve.names(), Vec::<String>::new());
    // The cache has gone for good, as its option says.
    let kept = fs::read_dir(serve.root.join("trash")).unwrap();
    let kept: Vec<String> =
        kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(kept.len() == 1 && kept[0].starts_with("demo_db~"), "{kept:?}");
}

/// Compose then makes no guess: it ends, and names the option. What a person has
/// changed with `dirvol set` is no difference.
#[test]
fn compose_refuses_other_options_and_not_what_was_set_by_hand() {
    let (setup, serve, daemon) = with_dockerd();
    said(&daemon, example(), "up -d");
    let body = r#"{"Name":"demo_db","Opts":{"mode":"0700","protect":"false"}}"#;
    serve.ok("Dirvol.Set", body);
    assert_eq!(said(&daemon, example(), "up -d"), "demo_db_1 is up-to-date\n");

    let other = setup.path("other.yml");
    let text = fs::read_to_string(example()).unwrap();
    fs::write(&other, text.replace("retain: \"7d\"", "retain: \"8d\"")).unwrap();
    let before = state(&daemon, &serve);
    let output = compose(&daemon, &other, "up -d");
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    let why = "Configuration for volume db specifies \"retain\" driver_opt 8d, but a volume with \
               the same name uses a different \"retain\" driver_opt (7d). If you wish to use the \
               new configuration, please remove the existing volume \"demo_db\" first:";
    assert!(printed(&output).contains(why), "{}", printed(&output));
    assert_eq!(state(&daemon, &serve), before);
    said(&daemon, example(), "down -t 0");
}

/// What the documentation says of a file that is to change.
#[test]
fn a_changed_option_is_brought_in_line_with_the_file_and_no_byte_is_lost() {
    let (setup, serve, daemon) = with_dockerd();
    said(&daemon, example(), "up -d");
    let log = serve.root.join("volumes/demo_db/data/log");
    eventually("the container has started", || log.exists().then_some(()));
    said(&daemon, example(), "down -t 0");
    let labels = daemon.inspect("demo_db")[0]["Labels"].clone();

    let other = setup.path("other.yml");
    let text = fs::read_to_string(example()).unwrap();
    fs::write(&other, text.replace("retain: \"7d\"", "retain: \"8d\"")).unwrap();
    let set = r#"{"Name":"demo_db","Opts":{"retain":"8d","protect":"false"}}"#;
    serve.ok("Dirvol.Set", set);
    daemon.ok("volume rm demo_db");
    serve.ok("Dirvol.TrashRestore", r#"{"Entry":"demo_db"}"#);
    serve.ok("Dirvol.Set", r#"{"Name":"demo_db","Opts":{"protect":"true"}}"#);
    let mut create = "volume create -d dirvol -o uid=1000 -o gid=1000 -o mode=0750 -o retain=8d \
                      -o protect=true"
        .to_owned();
    for (key, value) in labels.as_object().unwrap() {
        create += &format!(" --label {key}={}", value.as_str().unwrap());
    }
    daemon.ok(&format!("{create} demo_db"));
    said(&daemon, &other, "up -d");
    eventually("the container has started again", || {
        (fs::read_to_string(&log).unwrap() == "started\nstarted\n").then_some(())
    });
    assert_eq!(said(&daemon, &other, "up -d"), "demo_db_1 is up-to-date\n");
    said(&daemon, &other, "down -t 0");
}
