//! The times that are told, as they are: the other tests put them in a neutral form.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::expect::neutral;
use crate::harness::Serve;
use crate::program::dirvol;
use crate::prune::without_engine;
use crate::trash::{HOUR, make_entry, stopped};

/// What `dirvol` answers, with no time changed.
fn told(serve: &Serve, args: &[&str]) -> String {
    told_as(serve, args, "json")
}

fn told_as(serve: &Serve, args: &[&str], format: &str) -> String {
    let socket = serve.socket.to_str().unwrap();
    let ended = dirvol(["--socket", socket].iter().chain(args).chain(&["--format", format]));
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended.stdout
}

#[test]
fn a_volume_is_told_with_its_creation_and_its_last_use() {
    without_engine(|setup, serve| {
        serve.create("a");
        let record = r#"{"format":1,"name":"a","created":"2001-02-03T04:05:06Z"}"#;
        fs::write(setup.root().join("volumes/a/volume.json"), record).unwrap();
        let used = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let seen = File::open(setup.state().join("seen/a")).unwrap();
        seen.set_times(FileTimes::new().set_modified(used)).unwrap();
        let data = setup.root().join("volumes/a/data").display().to_string();
        let expected = format!(
            r#"[{{"Name":"a","Mountpoint":"{data}","CreatedAt":"2001-02-03T04:05:06Z","LastUsed":"2020-09-13T12:26:40Z","Holders":0,"Health":"ok","Options":{{"gid":"0","mode":"0755","protect":"false","retain":"1day","uid":"0"}}}}]"#
        );
        assert_eq!(told(serve, &["ls"]), expected + "\n");
        let years = |time: SystemTime| time.elapsed().unwrap().as_secs() / (365 * 86400);
        let age = years(humantime::parse_rfc3339("2001-02-03T04:05:06Z").unwrap());
        let since = years(used);
        let expected = format!(
            "NAME  SIZE  USED  HOLDERS  AGE  LAST USED  RETAIN  PROTECT  HEALTH\n\
             a        -  -           0  {age}y  {since:>8}y  1day    false    ok\n"
        );
        assert_eq!(told_as(serve, &["ls"], "table"), expected);
        let pruned = told(serve, &["prune", "--no-engine"]);
        let entry = "a~0000000000~ffffffffffffffff";
        let start = r#"{"Removed":[{"Name":"a","LastUsed":"2020-09-13T12:26:40Z","Entry":""#;
        assert!(pruned.starts_with(start), "{pruned}");
        assert!(neutral(&pruned).contains(entry), "{pruned}");
    });
}

#[test]
fn volumes_are_told_in_the_order_of_their_age() {
    without_engine(|setup, serve| {
        for (name, year) in [("a", 2003), ("b", 2001), ("c", 0), ("d", 2002)] {
            serve.create(name);
            let record = setup.root().join(format!("volumes/{name}/volume.json"));
            let created = format!("{year}-02-03T04:05:06Z");
            let text = format!(r#"{{"format":1,"name":"{name}","created":"{created}"}}"#);
            fs::write(record, if year == 0 { "torn".to_owned() } else { text }).unwrap();
        }
        let order = |args: &[&str]| -> Vec<String> {
            let table = told_as(serve, args, "table");
            table.lines().skip(1).map(|line| line[..1].to_owned()).collect()
        };
        assert_eq!(order(&["ls"]), ["a", "b", "c", "d"]);
        assert_eq!(order(&["ls", "--sort", "age"]), ["b", "d", "a", "c"], "one is not known");
        assert_eq!(order(&["ls", "--sort", "used"]), ["a", "b", "c", "d"], "none is known");
    });
}

#[test]
fn an_entry_of_the_trash_is_told_with_its_removal_and_the_end_of_its_own_time() {
    let setup = stopped();
    let entry = make_entry(&setup, "a", HOUR * 25, r#"{"retain":"26h"}"#);
    let serve = setup.serve();
    let seconds: u64 = entry.split('~').nth(1).unwrap().parse().unwrap();
    let removed = UNIX_EPOCH + Duration::from_secs(seconds);
    let [removed, expires] = [removed, removed + HOUR * 26].map(humantime::format_rfc3339_seconds);
    let expected = format!(
        r#"[{{"Entry":"{entry}","Name":"a","RemovedAt":"{removed}","ExpiresAt":"{expires}","Health":"ok","Options":{{"retain":"1day 2h"}}}}]"#
    );
    assert_eq!(told(&serve, &["trash", "ls"]), expected + "\n");
    let heads = format!(
        "{:width$}  {:20}  {:20}  HEALTH\n",
        "ENTRY",
        "REMOVED",
        "KEPT UNTIL",
        width = entry.len()
    );
    let expected = format!("{heads}{entry}  {removed}  {expires}  ok\n");
    assert_eq!(told_as(&serve, &["trash", "ls"], "table"), expected);
    serve.stop();
}
