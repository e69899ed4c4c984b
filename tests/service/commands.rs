//! Each command, with all that it prints, and each exit code.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::asked::{ask, ask_with, refused, said};
use crate::expect::{TIME, root_with, swept_listing, volume, with_id, young};
use crate::harness::{DONE, Setup};
use crate::mounts::{bind, in_own_mounts};
use crate::program::{Ended, dirvol, failure, success, usage};

/// The name of an entry of the trash, in neutral form.
const ENTRY: &str = "db~0000000000~ffffffffffffffff";

#[test]
fn the_life_of_a_volume_is_told_as_tables() {
    let setup = Setup::new();
    let serve = setup.serve();
    let data = setup.root().join("volumes/db/data").display().to_string();
    assert_eq!(
        said(&serve, "ls"),
        "NAME  SIZE  USED  HOLDERS  AGE  LAST USED  RETAIN  PROTECT  HEALTH\n"
    );
    assert_eq!(said(&serve, "create db -o mode=0750 --opt retain=7d"), "db\n");
    assert_eq!(said(&serve, "create db -o mode=0750 --opt retain=7d"), "db\n");
    assert_eq!(
        young(&said(&serve, "ls")),
        "NAME  SIZE  USED  HOLDERS  AGE  LAST USED  RETAIN  PROTECT  HEALTH\n\
         db       -  -           0   0s         0s  7days   false    ok\n"
    );
    assert_eq!(
        said(&serve, "inspect db"),
        format!(
            "FIELD       VALUE\n\
             CreatedAt   {TIME}\n\
             Mountpoint  {data}\n\
             Name        db\n\
             created     {TIME}\n\
             health      ok\n\
             holders     none\n\
             options     gid=0 mode=0750 protect=false retain=7days uid=0\n"
        )
    );
    assert_eq!(
        said(&serve, "set db protect=true uid=5"),
        "OPTION   VALUE\n\
         gid      0\n\
         mode     0750\n\
         protect  true\n\
         retain   7days\n\
         uid      5\n"
    );
    serve.ok("VolumeDriver.Mount", &with_id("db", "x"));
    serve.ok("VolumeDriver.Mount", &with_id("db", "y"));
    serve.ok("VolumeDriver.Mount", &with_id("db", "y"));
    assert_eq!(
        said(&serve, "holders db"),
        format!(
            "PID  CONTAINER  MOUNT ID     SINCE                 MOUNTED AT\n\
             -    -          x            {TIME}  -\n\
             -    -          y (2 times)  {TIME}  -\n"
        )
    );
    let why = "volume db is protected; if it is to be removed, run 'dirvol set db protect=false' \
               first";
    refused(&serve, "rm db", why);
    said(&serve, "set db protect=false");
    let why = format!(
        "volume db: volume is in use by mount ID x, which asked for it at {TIME}; stop its \
         containers first"
    );
    refused(&serve, "rm db", &why);
    for id in ["x", "y", "y"] {
        assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("db", id)), DONE);
    }
    let removed =
        format!("db: in the trash for 7days; 'dirvol trash restore {ENTRY}' takes it back\n");
    assert_eq!(said(&serve, "rm db"), removed);
    assert_eq!(
        said(&serve, "trash ls"),
        format!(
            "ENTRY                           REMOVED               KEPT UNTIL            HEALTH\n\
             {ENTRY}  {TIME}  {TIME}  ok\n"
        )
    );
    assert_eq!(
        said(&serve, "trash restore db"),
        "db is restored, with its bytes, owner and options.\n\
         Labels are Docker's own and are not kept in the trash. If it had some, bring them back,\n\
         before anything uses or inspects it, with\n  \
         docker volume create -d dirvol -o mode=0750 -o retain=7days --label KEY=VALUE db\n"
    );
    said(&serve, "rm db");
    assert_eq!(said(&serve, "trash purge"), "ENTRY  WHAT BECAME OF IT\n", "nothing is due");
    assert_eq!(
        said(&serve, "trash purge db"),
        format!("ENTRY                           WHAT BECAME OF IT\n{ENTRY}  purged\n")
    );
    // What it says can be handed to a shell, also where a duration has two parts.
    said(&serve, "create long -o retain=36h");
    said(&serve, "rm long");
    let told = said(&serve, "trash restore long");
    let line = "\n  docker volume create -d dirvol -o retain=1day12h --label KEY=VALUE long\n";
    assert!(told.ends_with(line), "{told}");
    said(&serve, "create other -o retain=1day12h");
    said(&serve, "rm long other");
    said(&serve, "trash purge --all");
    said(&serve, "create scratch -o retain=0 -o size=0");
    let told = said(&serve, "ls");
    let limit = told.lines().last().and_then(|line| line.split_whitespace().nth(1));
    assert_eq!(limit, Some("-"), "no limit is no limit: {told}");
    assert_eq!(said(&serve, "rm scratch"), "scratch: deleted for good\n");
    assert_eq!(swept_listing(&setup.root()), root_with([]));
    serve.stop();
}

#[test]
fn the_life_of_a_volume_is_told_as_json() {
    let setup = Setup::new();
    let serve = setup.serve();
    let data = setup.root().join("volumes/db/data").display().to_string();
    let json = |line: &str| said(&serve, &format!("{line} --format json"));
    let in_force =
        r#"{"gid":"0","mode":"0755","protect":"false","retain":"1day","uid":"0"}"#.to_owned();
    assert_eq!(json("ls"), "[]\n");
    assert_eq!(json("create db"), "{\"Name\":\"db\"}\n");
    assert_eq!(
        json("ls"),
        format!(
            r#"[{{"Name":"db","Mountpoint":"{data}","CreatedAt":"{TIME}","LastUsed":"{TIME}","Holders":0,"Health":"ok","Options":{in_force}}}]"#
        ) + "\n"
    );
    assert_eq!(
        json("inspect db"),
        format!(
            r#"{{"CreatedAt":"{TIME}","Mountpoint":"{data}","Name":"db","Status":{{"created":"{TIME}","health":"ok","holders":[],"options":{in_force}}}}}"#
        ) + "\n"
    );
    assert_eq!(json("set db mode=0755"), format!("{in_force}\n"));
    assert_eq!(json("holders db"), "{\"Mounts\":[],\"MountIDs\":[]}\n");
    serve.ok("VolumeDriver.Mount", &with_id("db", "x"));
    assert_eq!(
        json("holders db"),
        format!(r#"{{"Mounts":[],"MountIDs":[{{"ID":"x","Count":1,"Since":"{TIME}"}}]}}"#) + "\n"
    );
    assert_eq!(serve.ok("VolumeDriver.Unmount", &with_id("db", "x")), DONE);
    assert_eq!(
        json("rm db"),
        format!(r#"[{{"Name":"db","Entry":"{ENTRY}","Retain":"1day"}}]"#) + "\n"
    );
    assert_eq!(
        json("trash ls"),
        format!(
            r#"[{{"Entry":"{ENTRY}","Name":"db","RemovedAt":"{TIME}","ExpiresAt":"{TIME}","Health":"ok","Options":{{}}}}]"#
        ) + "\n"
    );
    assert_eq!(
        json("trash restore db"),
        format!(r#"{{"Name":"db","Mountpoint":"{data}","Health":"ok","Options":{{}}}}"#) + "\n"
    );
    said(&serve, "rm db");
    assert_eq!(json("trash purge --expired"), "{\"Purged\":[],\"Kept\":[]}\n");
    assert_eq!(json("trash purge --all"), format!("{{\"Purged\":[\"{ENTRY}\"],\"Kept\":[]}}\n"));
    serve.stop();
}

#[test]
fn of_many_volumes_those_are_removed_that_can_be() {
    let setup = Setup::new();
    let serve = setup.serve();
    said(&serve, "create a");
    said(&serve, "create b -o protect=true");
    said(&serve, "create c -o retain=0");
    let ended = ask(&serve, "rm a nosuch b c");
    let entry = ENTRY.replace("db", "a");
    let expected = Ended {
        code: Some(1),
        stdout: format!(
            "a: in the trash for 1day; 'dirvol trash restore {entry}' takes it back\n\
             c: deleted for good\n"
        ),
        stderr: "dirvol: no such volume: nosuch\n\
                 dirvol: volume b is protected; if it is to be removed, run 'dirvol set b \
                 protect=false' first\n"
            .into(),
    };
    assert_eq!(ended, expected);
    assert_eq!(serve.names(), ["b"]);
    serve.stop();
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_and_changes_nothing() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let known = "(known: from, gid, inodes, live, mode, path, protect, retain, size, uid)";
    let name = "is not allowed: use letters, digits, '_', '.' and '-', beginning with a letter or \
                digit, at most 200 characters";
    let cases = [
        ("inspect nosuch", "no such volume: nosuch".to_owned()),
        ("inspect ../a", "no such volume: ../a".into()),
        ("holders nosuch", "no such volume: nosuch".into()),
        ("rm ../a", "no such volume: ../a".into()),
        ("create ../a", format!("volume name \"../a\" {name}")),
        ("create b -o sise=1", format!("volume b: option \"sise\" is unknown {known}")),
        (
            "create a -o mode=0700",
            "volume a exists with other options: its mode is 0755, not 0700; ask for the same, or \
             change it with 'dirvol set a'"
                .into(),
        ),
        ("set nosuch mode=0700", "no such volume: nosuch".into()),
        ("set a sise=1", format!("volume a: option \"sise\" is unknown {known}")),
        (
            "set a mode=u+x",
            "volume a: option \"mode\" is \"u+x\": give octal digits, 0000 to 7777".into(),
        ),
        // Of the fixture, nothing is known here.
        ("set a ninja=1", format!("volume a: option \"ninja\" is unknown {known}")),
        ("set a protect=on", "volume a: option \"protect\" is \"on\": give true or false".into()),
        (
            "trash restore nosuch",
            "no such entry in the trash: nosuch; see 'dirvol trash ls'".into(),
        ),
        (
            "trash purge ../volumes/a",
            "no such entry in the trash: ../volumes/a; see 'dirvol trash ls'".into(),
        ),
    ];
    for (line, why) in cases {
        refused(&serve, line, &why);
    }
    let ended = ask_with(&serve, &["trash", "restore", "x\u{1b}[31m"]);
    let why = "no such entry in the trash: x\\u{1b}[31m; see 'dirvol trash ls'";
    assert_eq!(ended, failure(why));
    for command in ["inspect", "holders", "rm"] {
        let ended = ask_with(&serve, &[command, "x\u{1b}[31m"]);
        assert_eq!(ended, failure("no such volume: x\\u{1b}[31m"), "{command}");
    }
    assert_eq!(swept_listing(&setup.root()), root_with(volume("a")));
    serve.stop();
}

/// A container chooses the path at which it has a volume.
#[test]
fn no_container_gives_orders_to_the_terminal() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let mountpoint = setup.path("\u{1b}[31m");
    fs::create_dir(&mountpoint).unwrap();
    in_own_mounts(|| {
        bind(&setup.root().join("volumes/a/data"), &mountpoint);
        let shown = mountpoint.display().to_string().replace('\u{1b}', "?");
        let ended = ask(&serve, "rm a");
        assert!(ended.stderr.contains(&shown) && ended.code == Some(1), "{ended:?}");
        let table = said(&serve, "holders a");
        assert!(table.contains(&shown), "{table:?}");
        assert!(!(ended.stderr + &table).contains('\u{1b}'));
    });
    serve.stop();
}

#[test]
fn what_makes_no_sense_is_said_before_anybody_is_asked() {
    let nobody = "--socket /nonexistent/dirvol.sock ";
    let cases = [
        ("set a mode", "what to set: \"mode\": give K=V"),
        ("create a -o mode", "--opt: \"mode\": give K=V"),
        (
            "create a -o mode=1 -o mode=2",
            "--opt: mode is given twice, as \"1\" and as \"2\"; give it once",
        ),
        (
            "prune --unused-for soon",
            "--unused-for: \"soon\" is not a duration: give one such as 90m, 24h, 7d or 0",
        ),
        ("call /etc/passwd", "\"etc/passwd\" is no method: give one such as VolumeDriver.Get"),
        ("call /", "\"\" is no method: give one such as VolumeDriver.Get"),
        ("man", "--socket says which driver to ask: leave it out"),
        ("completions bash", "--socket says which driver to ask: leave it out"),
        ("init /nonexistent/root", "--socket says which driver to ask: leave it out"),
        ("serve", "--socket says which driver to ask: give it after 'serve'"),
    ];
    for (line, why) in cases {
        assert_eq!(dirvol(format!("{nobody}{line}").split_whitespace()), usage(why), "{line}");
    }
    // What clap refuses has the same exit code.
    for line in ["", "frobnicate", "rm", "set a", "trash purge --all --expired", "ls --format xml"]
    {
        let ended = dirvol(line.split_whitespace());
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{line}: {ended:?}");
    }
}

#[test]
fn a_call_is_sent_as_it_is_and_its_answer_printed_as_it_comes() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    let data = setup.root().join("volumes/a/data").display().to_string();
    let list = format!(r#"{{"Volumes":[{{"Name":"a","Mountpoint":"{data}"}}],"Err":""}}"#);
    assert_eq!(ask(&serve, "call VolumeDriver.List"), success(format!("{list}\n")));
    assert_eq!(ask(&serve, "call /VolumeDriver.List"), success(format!("{list}\n")));
    let path = format!(r#"{{"Mountpoint":"{data}","Err":""}}"#);
    let args = ["call", "VolumeDriver.Path", r#"{"Name":"a"}"#];
    assert_eq!(ask_with(&serve, &args), success(format!("{path}\n")));
    let answered = |method: &str, status: u16, body: &str| Ended {
        code: Some(1),
        stdout: format!("{body}\n"),
        stderr: format!("dirvol: {method} was answered with status {status}\n"),
    };
    let args = ["call", "VolumeDriver.Get", r#"{"Name":"b"}"#];
    let expected = answered("VolumeDriver.Get", 404, r#"{"Err":"no such volume: b"}"#);
    assert_eq!(ask_with(&serve, &args), expected);
    let error = r#"{"Err":"the request's body is not a JSON object"}"#;
    let expected = answered("VolumeDriver.Create", 400, error);
    assert_eq!(ask_with(&serve, &["call", "VolumeDriver.Create", "[]"]), expected);
    // Where an engine's call is dropped, so is a person's.
    let ended = ask_with(&serve, &["call", "VolumeDriver.Get", "torn"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let start = format!(
        "dirvol: the connection at {} was closed without an answer: ",
        serve.socket.display()
    );
    assert!(ended.stderr.starts_with(&start), "{}", ended.stderr);
    serve.stop();
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(complaint, "");
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    // Where nothing can be said, the exit code says it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.args(["--socket", "/nonexistent/dirvol.sock", "ls"]).stderr(full());
    assert_eq!(command.status().unwrap().code(), Some(3));
    let ended = Command::new(env!("CARGO_BIN_EXE_dirvol"))
        .arg("man")
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let why = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(why, "dirvol: standard output: No space left on device (os error 28)\n");
}
