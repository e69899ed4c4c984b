//! How a directory becomes a root, and which root is served.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::expect::{failed, listing, named, root_with};
use crate::harness::{Serve, Setup, eventually, get, tree};
use crate::program::{Ended, dirvol, failure, run, success, usage};

/// The id in the marker of the root at `root`.
fn id_of(root: &Path) -> String {
    let marker: Value =
        serde_json::from_slice(&fs::read(root.join("dirvol.json")).unwrap()).unwrap();
    marker["id"].as_str().unwrap().to_owned()
}

fn init(dir: &Path) -> Ended {
    dirvol(["init".as_ref(), dir.as_os_str()])
}

/// What `dirvol init` says of a root.
fn is_root(dir: &Path) -> Ended {
    success(format!("{} is root {}\n", dir.display(), id_of(dir)))
}

fn occupied(dir: &Path) -> String {
    format!(
        "root {} has no dirvol.json and is not empty: give an empty directory, or mount the disk \
         that belongs here",
        dir.display()
    )
}

/// The reason that `serve` gives, once it has found one.
fn reason(serve: &Serve) -> String {
    serve.wait_unavailable();
    eventually("there is a reason", || {
        let health: Value = serde_json::from_str(&get(&serve.socket, "/healthz").body).unwrap();
        let reason = health["reason"].as_str().unwrap().to_owned();
        (reason != "its root is being opened").then_some(reason)
    })
}

#[test]
fn a_directory_is_made_a_root_once() {
    let setup = Setup::new();
    let cases = [
        ("empty", (|dir| fs::create_dir(dir).unwrap()) as fn(&Path)),
        ("missing", |_| {}),
        ("deeply/missing", |_| {}),
        ("open to all", |dir| {
            fs::create_dir(dir).unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
        }),
    ];
    let mut ids = Vec::new();
    for (name, prepare) in cases {
        let dir = setup.path(name);
        prepare(&dir);
        let made = init(&dir);
        assert_eq!(made, is_root(&dir));
        assert_eq!(listing(&dir), root_with([]), "{name}");
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700, "{name}");
        // Again: it stays as it is.
        let before = tree(&dir);
        assert_eq!(init(&dir), made);
        assert_eq!(tree(&dir), before);
        ids.push(id_of(&dir));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let parent = fs::metadata(setup.path("deeply")).unwrap().permissions().mode();
    assert_eq!(parent & 0o7777, 0o700);
}

#[test]
fn what_mkfs_leaves_does_not_count() {
    let setup = Setup::new();
    fs::create_dir_all(setup.root().join("lost+found")).unwrap();
    assert_eq!(init(&setup.root()), is_root(&setup.root()));
    let mode = fs::metadata(setup.root().join("lost+found")).unwrap().permissions().mode();
    let found = format!("lost+found/ {:04o} 0:0", mode & 0o7777);
    assert_eq!(listing(&setup.root()), root_with([found]));
    setup.serve().stop();
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let setup = Setup::new();
    let cases = [
        ("file", (|dir| fs::write(dir.join("precious"), "bytes").unwrap()) as fn(&Path)),
        ("hidden", |dir| fs::write(dir.join(".precious"), "").unwrap()),
        ("dir", |dir| fs::create_dir(dir.join("precious")).unwrap()),
        ("link", |dir| symlink("/nothing", dir.join("precious")).unwrap()),
        ("volumes", |dir| fs::create_dir_all(dir.join("volumes/a")).unwrap()),
        ("trash", |dir| fs::create_dir_all(dir.join("trash/a~1~b")).unwrap()),
        ("beside", |dir| {
            fs::create_dir(dir.join("lost+found")).unwrap();
            fs::write(dir.join("precious"), "").unwrap();
        }),
    ];
    for (name, prepare) in cases {
        let dir = setup.path(name);
        fs::create_dir(&dir).unwrap();
        prepare(&dir);
        let before = tree(&dir);
        assert_eq!(init(&dir), failure(&occupied(&dir)), "{name}");
        assert_eq!(tree(&dir), before, "{name}");
    }
    let file = setup.path("file/precious");
    let why = format!("root {} is not a directory: give another --root", file.display());
    assert_eq!(init(&file), failure(&why));
}

#[test]
fn a_root_that_cannot_be_read_is_not_made_anew() {
    let setup = Setup::new();
    setup.serve().stop();
    let marker = setup.root().join("dirvol.json");
    fs::write(&marker, "{").unwrap();
    let before = tree(&setup.root());
    let why = format!(
        "root {}: dirvol.json cannot be used: EOF while parsing an object at line 1 column 1: \
         restore it from a copy",
        setup.root().display()
    );
    assert_eq!(init(&setup.root()), failure(&why));
    assert_eq!(tree(&setup.root()), before);
}

#[test]
fn a_root_is_made_for_a_scope_and_served_with_it() {
    let setup = Setup::new().arg("--scope").arg("global").arg("--init").arg("never");
    let made =
        dirvol(["init".as_ref(), setup.root().as_os_str(), "--scope".as_ref(), "global".as_ref()]);
    assert_eq!(made, is_root(&setup.root()));
    let serve = setup.serve();
    let got = serve.ok("VolumeDriver.Capabilities", "{}\n");
    assert_eq!(got, r#"{"Capabilities":{"Scope":"global"},"Err":""}"#);
    serve.stop();
}

#[test]
fn a_driver_that_must_not_make_a_root_serves_one_as_soon_as_somebody_made_it() {
    let setup = Setup::new().arg("--init").arg("never");
    fs::create_dir(setup.root()).unwrap();
    let serve = setup.start();
    let root = setup.root().display().to_string();
    let unmarked =
        format!("root {root} has no dirvol.json: make it a root with 'dirvol init {root}'");
    assert_eq!(reason(&serve), unmarked);
    assert_eq!(tree(&setup.root()), [""; 0]);
    let made = init(&setup.root());
    assert_eq!(made, is_root(&setup.root()));
    serve.wait_available();
    serve.create("a");
    // A root that is served may be asked for its id.
    assert_eq!(init(&setup.root()), made);
    serve.stop();
}

#[test]
fn a_driver_makes_no_root_of_a_directory_that_holds_something() {
    let setup = Setup::new();
    fs::create_dir(setup.root()).unwrap();
    fs::write(setup.root().join("precious"), "bytes").unwrap();
    let serve = setup.start();
    assert_eq!(reason(&serve), occupied(&setup.root()));
    assert_eq!(tree(&setup.root()), [r#"precious 0644 0:0 "bytes""#]);
    fs::remove_file(setup.root().join("precious")).unwrap();
    serve.wait_available();
    assert_eq!(listing(&setup.root()), root_with([]));
    serve.stop();
}

fn make_dir(dir: &Path) {
    fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
}

fn make_file(path: &Path, text: &str) {
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Everything that making a root does, in its order. What a crash leaves is what
/// the first of them did.
const STEPS: [fn(&Path); 8] = [
    |root| make_file(&root.join("lock"), ""),
    |root| fs::set_permissions(root, fs::Permissions::from_mode(0o700)).unwrap(),
    |root| make_dir(&root.join("volumes")),
    |root| make_dir(&root.join("staging")),
    |root| make_dir(&root.join("trash")),
    |root| make_file(&root.join("dirvol.json.new"), r#"{"format":1,"id":"4f7"#),
    |root| {
        let marker = r#"{"format":1,"id":"4f722919-4626-46b9-8e8f-a4c96d32b809","scope":"local"}"#;
        make_file(&root.join("dirvol.json.new"), &format!("{marker}\n"));
    },
    |root| fs::rename(root.join("dirvol.json.new"), root.join("dirvol.json")).unwrap(),
];

#[test]
fn an_interrupted_start_is_finished_by_the_next_wherever_it_was_interrupted() {
    for steps in 0..=STEPS.len() {
        let interrupted = || {
            let setup = Setup::new();
            fs::create_dir(setup.root()).unwrap();
            STEPS[..steps].iter().for_each(|step| step(&setup.root()));
            setup
        };
        let setup = interrupted();
        setup.serve().stop();
        assert_eq!(listing(&setup.root()), root_with([]), "{steps}");

        let setup = interrupted();
        assert_eq!(init(&setup.root()), is_root(&setup.root()), "{steps}");
        assert_eq!(listing(&setup.root()), root_with([]), "{steps}");
    }
}

#[test]
fn another_root_is_served_when_it_is_accepted_and_the_old_one_no_more() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("old");
    serve.stop();
    let (root, old) = (setup.root(), setup.path("old"));
    let old_id = id_of(&root);
    fs::rename(&root, &old).unwrap();
    assert_eq!(init(&root), is_root(&root));
    let new_id = id_of(&root);
    let other = |found: &str, known: &str| {
        format!(
            "root {} is {found}, and {known} was served last: mount the disk of that one, or \
             accept this one with DIRVOL_ACCEPT_ROOT={found}",
            root.display()
        )
    };

    // Neither without a word nor with the wrong one.
    for accepted in [None, Some(""), Some("other"), Some(&old_id)] {
        let mut command = setup.command();
        command.envs(accepted.map(|id| ("DIRVOL_ACCEPT_ROOT", id)));
        let serve = setup.start_with(command);
        assert_eq!(reason(&serve), other(&new_id, &old_id), "{accepted:?}");
        let refused = failed(503, &format!("dirvol is unavailable: {}", other(&new_id, &old_id)));
        assert_eq!(serve.call("VolumeDriver.Create", &named("new")), refused);
        serve.stop();
    }
    assert_eq!(listing(&root), root_with([]));

    let mut command = setup.command();
    command.env("DIRVOL_ACCEPT_ROOT", &new_id);
    let serve = setup.start_with(command);
    serve.wait_available();
    assert_eq!(serve.names(), [""; 0]);
    serve.create("new");
    serve.stop();

    // From then on it is the one, and needs no word.
    let serve = setup.serve();
    assert_eq!(serve.names(), ["new"]);
    // It is not left again for the old one while it is served.
    fs::rename(&root, setup.path("new")).unwrap();
    fs::rename(&old, &root).unwrap();
    serve.wait_unavailable();
    eventually("the old root is refused", || {
        (reason(&serve) == other(&old_id, &new_id)).then_some(())
    });
    serve.stop();

    let mut command = setup.command();
    command.args(["--accept-root", &old_id]);
    let serve = setup.start_with(command);
    serve.wait_available();
    assert_eq!(serve.names(), ["old"]);
    serve.stop();
}

#[test]
fn a_command_that_makes_no_sense_ends_with_2_and_does_nothing() {
    let setup = Setup::new();
    let before = tree(setup.dir.path());
    let serve = |args: &[&str]| {
        let mut command = setup.command();
        run(command.args(args))
    };
    let root = setup.root();
    let cases = [
        (
            vec!["--trash-retention", "soon"],
            "--trash-retention: \"soon\" is not a duration: give one such as 90m, 24h, 7d or 0",
        ),
        (vec!["--default-opt", "mode"], "--default-opt mode: give K=V"),
        (
            vec!["--default-opt", "mode=9"],
            "--default-opt: option \"mode\" is \"9\": give octal digits, 0000 to 7777",
        ),
        (
            vec!["--listen", "tcp://127.0.0.1:0"],
            "--listen tcp://127.0.0.1:0: TCP has no access control, so only --test-fixture may \
             use it",
        ),
        (
            vec!["--spec-dir", "/nowhere"],
            "--spec-dir announces --listen: give that too, or leave this out",
        ),
    ];
    for (args, why) in cases {
        assert_eq!(serve(&args), usage(why), "{args:?}");
    }
    // What clap finds out is said in clap's words.
    for args in [
        vec!["--init", "always"],
        vec!["--scope", "world"],
        vec!["--log-level", "loud"],
        vec!["--log-format", "xml"],
        vec!["--grow"],
        vec!["surplus"],
    ] {
        let ended = serve(&args);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.starts_with("error: "), "{args:?}: {}", ended.stderr);
    }
    let command_line = |args: &[&str]| {
        let ended = dirvol(args);
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
    };
    command_line(&[]);
    command_line(&["grow"]);
    command_line(&["init"]);
    command_line(&["init", "--scope", "world", &root.display().to_string()]);
    let within = root.join("state");
    let args = ["serve", "--root", root.to_str().unwrap(), "--state-dir", within.to_str().unwrap()];
    let why = format!(
        "--state-dir {} and --root {} lie in one another: give them apart, for the state must be \
         there when the root is not",
        within.display(),
        root.display()
    );
    assert_eq!(dirvol(args), usage(&why));
    assert_eq!(tree(setup.dir.path()), before);
}
