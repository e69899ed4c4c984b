//! `dirvol du`, as a person sees it. What it counts is compared in the tier `life`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::asked::{ask, refused, said};
use crate::harness::{Serve, Setup};
use crate::program::Ended;

/// Two volumes, and what is allocated to each.
fn two(serve: &Serve) -> [u64; 2] {
    [("large", 300_000), ("small", 5)]
        .map(|(name, length)| {
            serve.create(name);
            let data = serve.root.join("volumes").join(name).join("data");
            fs::write(data.join("file"), vec![1; length]).unwrap();
            fs::hard_link(data.join("file"), data.join("again")).unwrap();
            nix::unistd::syncfs(fs::File::open(&data).unwrap()).unwrap();
            [&data, &data.join("file")].map(|path| fs::metadata(path).unwrap().blocks() * 512)
        })
        .map(|sizes| sizes.iter().sum())
}

#[test]
fn exact_numbers_are_for_programs() {
    let setup = Setup::new();
    let serve = setup.serve();
    let [large, small] = two(&serve);
    let all: Value = serde_json::from_str(&said(&serve, "du --format json")).unwrap();
    let large = json!({"Name": "large", "Bytes": large, "Apparent": 300_000, "Inodes": 2});
    let small = json!({"Name": "small", "Bytes": small, "Apparent": 5, "Inodes": 2});
    let total = large["Bytes"].as_u64().unwrap() + small["Bytes"].as_u64().unwrap();
    let total = json!({"Bytes": total, "Apparent": 300_005, "Inodes": 4});
    assert_eq!(all, json!({"Volumes": [large, small], "Total": total}));
    // One that is named twice is one.
    let one: Value = serde_json::from_str(&said(&serve, "du small small --format json")).unwrap();
    assert_eq!(one["Volumes"], json!([small]));
    assert_eq!(one["Total"]["Inodes"], 2);
    serve.stop();
}

#[test]
fn a_volume_that_cannot_be_counted_does_not_keep_the_others_from_it() {
    let setup = Setup::new();
    let serve = setup.serve();
    let none = "NAME       USED  LENGTH  INODES\n0 volumes     0       0       0\n";
    assert_eq!(said(&serve, "du"), none);
    two(&serve);
    serve.create("torn");
    let torn = serve.root.join("volumes/torn/data");
    fs::remove_dir(&torn).unwrap();
    let ended = ask(&serve, "du nosuch small torn ../large");
    let torn = torn.parent().unwrap().display();
    let stderr = format!(
        "dirvol: no such volume: nosuch\n\
         dirvol: volume torn cannot be used: its data directory is missing; mend it or move it \
         away, {torn} is left as it is\n\
         dirvol: no such volume: ../large\n"
    );
    assert_eq!((ended.code, &ended.stderr), (Some(1), &stderr));
    let lines: Vec<Vec<&str>> =
        ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2, "{}", ended.stdout);
    assert_eq!(lines[0], ["NAME", "USED", "LENGTH", "INODES"]);
    assert_eq!([lines[1][0], lines[1][2], lines[1][3]], ["small", "5", "2"]);
    // A record that cannot be read says nothing about the bytes.
    fs::write(serve.root.join("volumes/small/volume.json"), "torn").unwrap();
    let Ended { code, stdout, .. } = ask(&serve, "du small");
    assert_eq!((code, stdout), (Some(0), ended.stdout));
    refused(&serve, "du nosuch", "no such volume: nosuch");
    serve.stop();
}

#[test]
fn a_person_at_a_terminal_sees_how_far_it_is() {
    let setup = Setup::new();
    let serve = setup.serve();
    two(&serve);
    let line = format!("{} --socket {} du", env!("CARGO_BIN_EXE_dirvol"), serve.socket.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let output = script.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let seen = String::from_utf8(output.stdout).unwrap();
    let start = "\r\x1b[K[..........] 0/2 volumes  large\
                 \r\x1b[K[#####.....] 1/2 volumes  small\
                 \r\x1b[KNAME ";
    assert!(seen.starts_with(start), "{seen:?}");
    serve.stop();
}
