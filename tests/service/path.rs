//! Volumes that are a directory where it is: option `path`, below a `--bind-root`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::expect::with_options;
use crate::expect::{TIME, done, failed, listing, named, ok, root_with, swept_listing, with_id};
use crate::harness::{Answer, Serve, Setup};

pub const CREATE: &str = "VolumeDriver.Create";

/// A driver that allows directories below `srv`, where there is one with something
/// in it: `pg`.
pub fn setup() -> Setup {
    let setup = Setup::new();
    let setup_arg = setup.path("srv").display().to_string();
    fs::create_dir_all(setup.path("srv/pg/base")).unwrap();
    fs::write(setup.path("srv/pg/base/1"), "precious").unwrap();
    std::os::unix::fs::chown(setup.path("srv/pg"), Some(70), Some(71)).unwrap();
    fs::set_permissions(setup.path("srv/pg"), fs::Permissions::from_mode(0o2750)).unwrap();
    setup.arg("--bind-root").arg(setup_arg)
}

pub fn create(serve: &Serve, name: &str, path: &Path) -> Answer {
    serve.call(CREATE, &with_options(name, &json!({"path": path})))
}

/// Everything of a directory and below it that a change would change.
pub fn exactly(dir: &Path) -> Vec<String> {
    let times = |path: &Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let of = (meta.mode(), meta.uid(), meta.gid(), meta.ino());
        format!("{} {of:?} {} {}", path.display(), meta.mtime_nsec(), meta.ctime_nsec())
    };
    let mut all = vec![times(dir)];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(exactly(&path));
        } else {
            all.push(times(&path) + &String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

/// The listing of the volume `name` that is the directory at `path`.
pub fn placed(name: &str, path: &Path) -> [String; 3] {
    let record = format!(
        r#"{{"format":1,"name":"{name}","created":"{TIME}","options":{{"path":{path:?}}}}}"#
    );
    [
        format!("places/{name} 0600 0:0 \"\""),
        format!("volumes/{name}/ 0700 0:0"),
        format!("volumes/{name}/volume.json 0600 0:0 {:?}", format!("{record}\n")),
    ]
}

pub fn root_of(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    root_with(lines.into_iter().chain(["places/ 0700 0:0".to_owned()]))
}

pub fn status(serve: &Serve, name: &str) -> Value {
    let got: Value = serde_json::from_str(&serve.ok("VolumeDriver.Get", &named(name))).unwrap();
    got["Volume"].clone()
}

/// What `Dirvol.Remove` answers, and the log says.
pub fn is_forgotten(serve: &Serve, name: &str, path: &Path) {
    let removed = json!({"Name": name, "Path": path, "Err": ""});
    let answer = serve.ok("Dirvol.Remove", &json!({"Name": name}).to_string());
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), removed);
    let log = serve.log();
    let line = format!("forgotten; {} stays as it is", path.display());
    assert!(log.lines().any(|said| said.contains(&line)), "{log}");
}

#[test]
fn a_directory_is_a_volume_where_it_is_and_is_never_changed() {
    let setup = setup();
    let pg = setup.path("srv/pg");
    let before = exactly(&pg);
    let serve = setup.serve();
    let options = json!({"path": format!("{}/", pg.display())});
    assert_eq!(serve.call(CREATE, &with_options("db", &options)), done());
    serve.create("other");
    let mountpoint = format!("{{\"Mountpoint\":{pg:?},\"Err\":\"\"}}");
    assert_eq!(serve.call("VolumeDriver.Path", &named("db")), ok(&mountpoint));
    assert_eq!(serve.call("VolumeDriver.Mount", &with_id("db", "x")), ok(&mountpoint));
    let other = setup.root().join("volumes/other/data");
    let list = json!({"Volumes": [
        {"Name": "db", "Mountpoint": pg}, {"Name": "other", "Mountpoint": other}
    ], "Err": ""});
    let listed: Value = serde_json::from_str(&serve.ok("VolumeDriver.List", "{}")).unwrap();
    assert_eq!(listed, list);
    let got = status(&serve, "db");
    assert_eq!(got["Mountpoint"], json!(pg));
    assert_eq!(got["Status"]["health"], "ok");
    assert_eq!(got["Status"]["options"], json!({"path": pg, "protect": "false"}));
    let ours: Value = serde_json::from_str(&serve.ok("Dirvol.List", "{}")).unwrap();
    assert_eq!(ours["Volumes"][0]["Mountpoint"], json!(pg));
    assert_eq!(ours["Volumes"][0]["Options"], json!({"path": pg, "protect": "false"}));
    assert_eq!(serve.call("VolumeDriver.Unmount", &with_id("db", "x")), done());
    serve.remove("other");

    // The same again, in any spelling, is success; another one is not.
    assert_eq!(create(&serve, "db", &pg), done());
    let why = |difference: &str| {
        format!(
            "volume db exists with other options: its path is {difference}; ask for the same, or \
             give another name"
        )
    };
    let differs = [
        (json!({}), why(&format!("{}, not unset", pg.display()))),
        (
            json!({"path": setup.path("srv/other")}),
            why(&format!("{}, not {}", pg.display(), setup.path("srv/other").display())),
        ),
    ];
    for (options, why) in differs {
        assert_eq!(serve.call(CREATE, &with_options("db", &options)), failed(409, &why));
    }

    // What is known of it is on the disk.
    serve.kill();
    let serve = setup.serve();
    assert_eq!(status(&serve, "db")["Mountpoint"], json!(pg));
    assert_eq!(serve.call("VolumeDriver.Mount", &with_id("db", "x")), ok(mountpoint));
    assert_eq!(serve.call("VolumeDriver.Unmount", &with_id("db", "x")), done());
    is_forgotten(&serve, "db", &pg);
    assert_eq!(serve.names(), [""; 0]);
    let left: Vec<String> = swept_listing(&setup.root())
        .into_iter()
        .filter(|line| !line.contains("trash/other"))
        .collect();
    assert_eq!(left, root_of([]));
    assert_eq!(exactly(&pg), before);
    // It may be a volume again.
    assert_eq!(create(&serve, "again", &pg), done());
    serve.stop();
    assert_eq!(exactly(&pg), before);
}

#[test]
fn what_cannot_be_a_volume_is_refused_with_the_reason_and_nothing_is_changed() {
    let setup = setup();
    let srv = setup.path("srv");
    let at = |path: &str| format!("{}{path}", srv.display());
    fs::write(srv.join("file"), "").unwrap();
    symlink("pg", srv.join("link")).unwrap();
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &srv.join("pg")), done());
    serve.create("own");
    let before = (listing(&setup.root()), exactly(&srv));
    let text = |path: &str| {
        format!(
            "option \"path\" is {path:?}: give an absolute path without '.', '..', '//' and control \
             characters"
        )
    };
    let shares = |path: &str, other: &str, whose: &str| {
        format!(
            "option \"path\": {path} and {other}, which is {whose}, are one directory, or one lies \
             in the other: give one apart"
        )
    };
    let with_path = |key: &str| {
        format!(
            "option {key:?} cannot be given with \"path\": that directory stays as it is; leave it \
             out"
        )
    };
    let placed = |why: String| format!("option \"path\": {why}");
    let mut cases = vec![
        (json!({"path": ""}), text("")),
        (json!({"path": "/"}), text("/")),
        (json!({"path": "srv/pg"}), text("srv/pg")),
        (json!({"path": at("/../srv/pg")}), text(&at("/../srv/pg"))),
        (json!({"path": at("/./pg")}), text(&at("/./pg"))),
        (json!({"path": at("//pg")}), text(&at("//pg"))),
        (json!({"path": at("/pg//")}), text(&at("/pg//"))),
        (json!({"path": at("/a\nb")}), text(&at("/a\nb"))),
        (json!({"path": at("/a\0b")}), text(&at("/a\0b"))),
        (
            json!({"path": format!("/{}", "x".repeat(4095))}),
            "option \"path\" is 4096 bytes long: 4095 are the most".into(),
        ),
        (
            json!({"mountpoint": at("/pg")}),
            "option \"mountpoint\" is local-persist's; here it is called path: use path=DIR, below \
             a --bind-root of the driver"
                .into(),
        ),
        (json!({"path": at("/none")}), placed(format!("{} is missing: make it, or mount its disk", at("/none")))),
        (json!({"path": at("/file")}), placed(format!("{} is not a directory", at("/file")))),
        (
            json!({"path": at("/link")}),
            placed(format!(
                "{} goes over a symbolic link: give the path that it leads to",
                at("/link")
            )),
        ),
        (
            json!({"path": at("/link/base")}),
            placed(format!(
                "{} goes over a symbolic link: give the path that it leads to",
                at("/link/base")
            )),
        ),
        (
            json!({"path": srv}),
            placed(format!(
                "{} is a --bind-root: give a directory below it, for that is missing when its disk \
                 is not mounted, and is not taken for an empty volume",
                at("")
            )),
        ),
        (
            json!({"path": "/etc"}),
            placed("/etc lies in /, which cannot be a --bind-root: give a directory below it".into()),
        ),
        (
            json!({"path": "/etc/ssl"}),
            placed(format!("/etc/ssl is below no --bind-root of this driver ({})", at(""))),
        ),
        (
            json!({"path": at("ver/x")}),
            placed(format!("{} is below no --bind-root of this driver ({})", at("ver/x"), at(""))),
        ),
        (json!({"path": at("/pg")}), shares(&at("/pg"), &at("/pg"), "volume db")),
        (json!({"path": at("/pg/base")}), shares(&at("/pg/base"), &at("/pg"), "volume db")),
    ];
    for key in ["from", "gid", "inodes", "mode", "retain", "size", "uid"] {
        cases.push((json!({"path": at("/pg"), (key): "0"}), with_path(key)));
    }
    for (options, why) in cases {
        let answer = serve.call(CREATE, &with_options("new", &options));
        assert_eq!(answer, failed(400, &format!("volume new: {why}")), "{options}");
    }
    let set = |name: &str, options: Value| {
        serve.call("Dirvol.Set", &json!({"Name": name, "Opts": options}).to_string())
    };
    let never = "option \"path\" says how a volume is made: leave it out";
    for name in ["db", "own"] {
        let why = format!("volume {name}: {never}");
        assert_eq!(set(name, json!({"path": at("/pg")})), failed(400, &why));
    }
    for (key, value) in [("mode", "0700"), ("retain", "7d"), ("uid", "0")] {
        let why = format!(
            "volume db: option {key:?} cannot be set: the volume is {}, which stays as it is; \
             protect can be set",
            at("/pg")
        );
        assert_eq!(set("db", json!({(key): value})), failed(400, &why));
    }
    assert_eq!((listing(&setup.root()), exactly(&srv)), before);
    serve.stop();
}

#[test]
fn without_a_bind_root_and_as_a_managed_plugin_there_are_no_such_volumes() {
    let setup = Setup::new();
    let serve = setup.serve();
    let why = "volume db: option \"path\": this driver allows no directories: start it with \
               --bind-root /srv";
    assert_eq!(create(&serve, "db", Path::new("/srv/db")), failed(400, why));
    serve.stop();
    let setup = setup.arg("--plugin");
    let serve = setup.serve();
    let why = "volume db: option \"path\": a managed plugin sees no directory of the host but its \
               root: run the driver as a service for that";
    assert_eq!(create(&serve, "db", Path::new("/srv/db")), failed(400, why));
    assert_eq!(listing(&setup.root()), root_with([]));
    serve.stop();
}

#[test]
fn a_bind_root_is_apart_from_the_drivers_own_directories() {
    let setup = Setup::new();
    let dir = setup.dir.path().display();
    let cases = [
        (
            format!("{dir}"),
            format!(
                "--bind-root {dir} and --root {dir}/root lie in one another: give them apart, for \
                 volumes must not lie in what is the driver's own"
            ),
        ),
        (
            format!("{dir}/state/x"),
            format!(
                "--bind-root {dir}/state/x and --state-dir {dir}/state lie in one another: give \
                 them apart, for volumes must not lie in what is the driver's own"
            ),
        ),
        ("srv".into(), "--bind-root srv: give an absolute path".into()),
        (format!("{dir}/../x"), format!("--bind-root {dir}/../x: give a path without '..'")),
    ];
    for (bind_root, why) in cases {
        let mut command = setup.command();
        let output = command.arg("--bind-root").arg(&bind_root).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bind_root}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("dirvol: {why}\n"));
    }
    let mut command = setup.command();
    let output = command.args(["--default-opt", "path=/srv/a"]).output().unwrap();
    let why = "dirvol: --default-opt: option \"path\" says how one volume is made: give it at \
               its creation\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), why);
}
