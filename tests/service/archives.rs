//! `dirvol import` and `dirvol export` at the command line: what they print, what they
//! leave behind, and their exit codes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::asked::{ask, refused, said};
use crate::expect::{named, root_with, swept_listing, volume, volume_at};
use crate::harness::{Client, Setup, eventually, metric, request};
use crate::program::{dirvol, run, success, usage};

/// Makes a directory with one file in it, and returns its path.
fn sample(setup: &Setup) -> String {
    let dir = setup.path("sample");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(dir.join("file"), "text").unwrap();
    fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    dir.display().to_string()
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_directory_becomes_a_volume_and_that_an_archive_and_that_a_volume() {
    let setup = Setup::new();
    let serve = setup.serve();
    let dir = sample(&setup);
    let file = setup.path("a.tar").display().to_string();
    assert_eq!(said(&serve, &format!("import one {dir}")), "one: 2 files, 4 bytes\n");
    assert_eq!(said(&serve, &format!("export one {file}")), "");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let data = setup.root().join("volumes/two/data").display().to_string();
    assert_eq!(
        said(&serve, &format!("import two {file} -o retain=7d --format json")),
        format!(r#"{{"Name":"two","Mountpoint":"{data}","Files":2,"Bytes":4}}"#) + "\n"
    );
    // Through a pipe, as over a network.
    let mut export = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    export.arg("--socket").arg(&serve.socket).args(["export", "two", "-"]);
    let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut import = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    import.arg("--socket").arg(&serve.socket).args(["import", "three", "-", "-o", "mode=0700"]);
    let imported = run(import.stdin(export.stdout.take().unwrap()));
    assert_eq!(imported, success("three: 2 files, 4 bytes\n".into()));
    assert!(export.wait().unwrap().success());
    let mut expected = Vec::new();
    let kept = json!({"retain": "7days"});
    let other = json!({"mode": "0700"});
    for (name, mode, stated) in
        [("one", "0750", json!({})), ("two", "0750", kept), ("three", "0700", other)]
    {
        let path = format!("volumes/{name}");
        expected.extend(volume_at(&path, name, &format!("{mode} 0:0"), &stated));
        expected.push(format!("volumes/{name}/data/file 0600 0:0 \"text\""));
    }
    assert_eq!(swept_listing(&setup.root()), root_with(expected));
    assert_eq!(names(setup.dir.path()), ["a.tar", "dirvol.sock", "log", "root", "sample", "state"]);
    let label = |endpoint: &str| format!(r#"endpoint="{endpoint}",outcome="ok""#);
    assert_eq!(metric(&serve.socket, "dirvol_requests_total", &label("dirvol_import")), 3);
    assert_eq!(metric(&serve.socket, "dirvol_requests_total", &label("dirvol_export")), 2);
    let log = serve.log();
    assert!(
        log.contains(r#"INFO imported: 2 files, 4 bytes op="dirvol_import" volume="one""#),
        "{log}"
    );
    assert!(
        log.contains(r#"INFO exported op="dirvol_export" volume="two" files=2 bytes=4"#),
        "{log}"
    );
    serve.stop();
}

#[test]
fn what_cannot_be_imported_is_refused_with_its_reason_and_changes_nothing() {
    let setup = Setup::new();
    let serve = setup.serve();
    let dir = sample(&setup);
    serve.create("db");
    let exists = "volume db exists and is left as it is: give another name, or remove it first";
    refused(&serve, &format!("import db {dir}"), exists);
    let elsewhere = "volume other was not made: option \"from\" says that its data is not the \
                     archive's: leave it out";
    refused(&serve, &format!("import other {dir} -o from=db"), elsewhere);
    let said = ask(&serve, &format!("import other {dir} -o mode=x"));
    let create = ask(&serve, "create other -o mode=x");
    assert_eq!((said.code, &said), (Some(1), &create));
    refused(
        &serve,
        &format!("import ../x {dir}"),
        "volume name \"../x\" is not allowed: use letters, digits, '_', '.' and '-', beginning \
         with a letter or digit, at most 200 characters",
    );
    let missing = setup.path("missing").display().to_string();
    let why = format!("{missing}: No such file or directory (os error 2)");
    refused(&serve, &format!("import other {missing}"), &why);
    refused(
        &serve,
        "export nosuch /nonexistent/a.tar",
        "/nonexistent/a.tar: No such file or directory (os error 2)",
    );
    let file = setup.path("a.tar").display().to_string();
    refused(&serve, &format!("export nosuch {file}"), "no such volume: nosuch");
    refused(&serve, "export nosuch -", "no such volume: nosuch");
    let full = "/dev/full: No space left on device (os error 28)";
    refused(&serve, "export db /dev/full", full);
    fs::write(&file, "no archive, but more than a block long: ".repeat(20)).unwrap();
    let why = "volume other was not made: this is not a tar archive";
    refused(&serve, &format!("import other {file}"), why);
    assert_eq!(fs::read_to_string(&file).unwrap().len(), 800, "a failed export replaces nothing");
    let why = "--opt: \"x\": give K=V";
    assert_eq!(ask(&serve, &format!("import other {dir} -o x")), usage(why));
    assert_eq!(metric(&serve.socket, "dirvol_errors_total", "bad_archive"), 2);
    assert_eq!(swept_listing(&setup.root()), root_with(volume("db")));
    assert_eq!(names(setup.dir.path()), ["a.tar", "dirvol.sock", "log", "root", "sample", "state"]);
    serve.stop();
    let socket = setup.socket().display().to_string();
    for line in [["import", "a", &dir], ["export", "a", &file]] {
        let ended = dirvol(["--socket", &socket].into_iter().chain(line));
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let start = format!("dirvol: cannot connect to {socket}: ");
        assert!(ended.stderr.starts_with(&start), "{ended:?}");
    }
}

#[test]
fn a_request_that_makes_no_sense_is_told() {
    let setup = Setup::new();
    let serve = setup.serve();
    let call = |headers: &str| {
        let mut client = Client::connect(&serve.socket);
        client.send(format!("POST /Dirvol.Import HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
        let answer = client.answer().unwrap();
        (answer.status, answer.body)
    };
    let told = |why: &str| (400, json!({"Err": why}).to_string());
    let empty = "Content-Length: 0\r\n";
    assert_eq!(call(empty), told("the request has no header dirvol-request"));
    let (status, body) = call(&format!("Dirvol-Request: {{}}\r\n{empty}"));
    let why = "the request's header dirvol-request cannot be used: missing field `Name`";
    assert!(status == 400 && body.contains(why), "{body}");
    let why = "volume a was not made: the archive is empty, or cut off in its first block";
    assert_eq!(call(&format!("Dirvol-Request: {{\"Name\":\"a\"}}\r\n{empty}")), told(why));
    assert_eq!(swept_listing(&setup.root()), root_with([]));
    serve.stop();
}

#[test]
fn an_archive_that_breaks_off_leaves_no_file() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    let big = setup.root().join("volumes/db/data/big");
    fs::write(&big, vec![b'x'; 64 << 20]).unwrap();
    let out = setup.path("out");
    fs::create_dir(&out).unwrap();
    let export = |to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        command.arg("--socket").arg(&serve.socket).args(["export", "db", to]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    // A driver that stands still holds the export where it is.
    let file = out.join("a.tar").display().to_string();
    fs::write(&file, "the one before").unwrap();
    serve.freeze();
    let child = export(&file);
    eventually("it has begun", || (names(&out).len() == 2).then_some(()));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), said.as_str()), (Some(1), "dirvol: interrupted\n"));
    serve.signal(Signal::SIGCONT);
    assert_eq!(names(&out), ["a.tar"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "the one before");
    // One whose end is not there is not taken for an archive either.
    let child = export("-");
    serve.kill();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let known = [
        "dirvol: the archive broke off: the driver's log says why; try again\n".to_owned(),
        format!(
            "dirvol: the connection at {} was closed without an answer: ",
            setup.socket().display()
        ),
        format!("dirvol: cannot connect to {}: ", setup.socket().display()),
    ];
    assert!(ended.status.code() != Some(0), "{said}");
    assert!(known.iter().any(|known| said.starts_with(known)), "{said}");
}

#[test]
fn a_volume_that_is_used_while_it_is_read_is_not_archived() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    fs::write(setup.root().join("volumes/db/data/big"), vec![b'x'; 64 << 20]).unwrap();
    let mut export = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    export.arg("--socket").arg(&serve.socket).args(["export", "db", "-"]);
    export.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut export = export.spawn().unwrap();
    // Nobody reads, so it cannot be through with the 64 MiB.
    let mut out = export.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut [0; 4096]).unwrap();
    let id = r#"{"Name":"db","ID":"x"}"#;
    serve.ok("VolumeDriver.Mount", id);
    serve.ok("VolumeDriver.Unmount", id);
    let mut archive = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut archive).unwrap();
    let ended = export.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let why = "dirvol: the archive broke off: the driver's log says why; try again\n";
    assert_eq!((ended.status.code(), said.as_str()), (Some(1), why));
    let log = serve.log();
    let why = "the archive broke off: volume db: volume is in use by somebody, who has used it \
               while it was read; stop its containers first, or take with --live what may be torn";
    assert!(log.contains(why), "{log}");
    assert_eq!(metric(&serve.socket, "dirvol_errors_total", "in_use"), 1);
    // It is left as it is where that is wanted.
    let live = ask(&serve, "export db /dev/null --live");
    assert_eq!(live, success(String::new()));
    serve.stop();
}

#[test]
fn a_terminal_is_neither_read_nor_written() {
    // `script` has a terminal of its own for the command.
    let setup = Setup::new();
    let serve = setup.serve();
    let run = |line: &str| {
        let program = env!("CARGO_BIN_EXE_dirvol");
        let line = format!("{program} --socket {} {line}", serve.socket.display());
        let mut script = Command::new("script");
        let output = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap().replace('\r', ""))
    };
    let why = "dirvol: an archive is not written to a terminal: give a file, or pipe it on\n";
    assert_eq!(run("export db -"), (Some(2), why.to_owned()));
    let why = "dirvol: an archive is not typed: give a file, or pipe it in\n";
    assert_eq!(run("import db -"), (Some(2), why.to_owned()));
    serve.stop();
}

#[test]
fn an_export_whose_root_is_gone_ends_and_does_not_keep_it_from_being_opened_anew() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("db");
    let big = fs::File::create(setup.root().join("volumes/db/data/big")).unwrap();
    let bytes = vec![b'x'; 1 << 20];
    (0..256).for_each(|_| (&big).write_all(&bytes).unwrap());
    let mut stream = UnixStream::connect(&serve.socket).unwrap();
    stream.write_all(request("Dirvol.Export", &named("db")).as_bytes()).unwrap();
    let mut part = vec![0; 1 << 16];
    let mut read = |stream: &mut UnixStream| stream.read(&mut part).unwrap();
    let mut taken = read(&mut stream);
    let away = setup.path("away");
    fs::rename(setup.root(), &away).unwrap();
    serve.wait_unavailable();
    fs::rename(&away, setup.root()).unwrap();
    // It is read on, and never waited for.
    loop {
        match read(&mut stream) {
            0 => break,
            more => taken += more,
        }
        assert!(taken < 64 << 20, "it goes on");
    }
    serve.wait_available();
    serve.stop();
}
