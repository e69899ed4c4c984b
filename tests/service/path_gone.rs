//! Volumes that are directories, when these are gone, held, forgotten or not allowed
//! any more: option `path`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::expect::with_options;
use crate::expect::{TIME, done, failed, listing, named, neutral, swept_listing, with_id};
use crate::harness::{Serve, eventually};
use crate::mounts::{Container, in_own_mounts, mount_memory, unmount_lazily};
use crate::path::{CREATE, create, exactly, is_forgotten, placed, root_of, setup, status};

#[test]
fn a_directory_that_is_gone_is_told_of_and_back_it_is_used_again() {
    let setup = setup();
    let (srv, pg, away) = (setup.path("srv"), setup.path("srv/pg"), setup.path("srv/away"));
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    let unusable = |why: &str| {
        format!(
            "volume db cannot be used: {why}; bring it back, or forget the volume with 'dirvol rm \
             db', which leaves the directory as it is"
        )
    };
    let told = |serve: &Serve, why: &str| {
        let mount = serve.call("VolumeDriver.Mount", &with_id("db", "x"));
        assert_eq!(mount, failed(500, &unusable(why)));
        assert_eq!(serve.call("Dirvol.Usage", &named("db")), failed(500, &unusable(why)));
        let all: Value = serde_json::from_str(&serve.ok("Dirvol.List", "{}")).unwrap();
        assert_eq!(all["Volumes"][0]["Health"], format!("damaged: {why}"));
        assert_eq!(all["Volumes"][0]["Mountpoint"], json!(pg));
        let metrics = serve.metric("dirvol_volume_health_status_abnormal", "db");
        assert_eq!(metrics, 1);
        let doctor = Command::new(env!("CARGO_BIN_EXE_dirvol"))
            .args(["doctor", "--root"])
            .arg(setup.root())
            .arg("--state-dir")
            .arg(setup.state())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let finding = format!("{} is missing", pg.display());
        assert!(said.contains(&finding), "{said}");
    };
    fs::rename(&pg, &away).unwrap();
    told(&serve, &format!("{} is missing", pg.display()));
    fs::rename(&away, &pg).unwrap();
    serve.ok("VolumeDriver.Mount", &with_id("db", "x"));
    serve.ok("VolumeDriver.Unmount", &with_id("db", "x"));
    // Its disk, which is a link's other end, or nothing.
    fs::rename(&srv, setup.path("gone")).unwrap();
    told(&serve, &format!("{} is missing, which is a --bind-root: mount its disk", srv.display()));
    // To be forgotten, it need not be there.
    is_forgotten(&serve, "db", &pg);
    assert_eq!(swept_listing(&setup.root()), root_of([]));
    fs::rename(setup.path("gone"), &srv).unwrap();
    assert_eq!(fs::read(pg.join("base/1")).unwrap(), b"precious");
    serve.stop();
}

/// A link that was put in its place later is not followed.
#[test]
fn a_link_in_the_place_of_the_directory_is_not_followed() {
    let setup = setup();
    let (pg, away) = (setup.path("srv/pg"), setup.path("srv/away"));
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    fs::rename(&pg, &away).unwrap();
    symlink("/etc", &pg).unwrap();
    let why = format!(
        "volume db cannot be used: {} goes over a symbolic link: give the path that it leads to; \
         bring it back, or forget the volume with 'dirvol rm db', which leaves the directory as it is",
        pg.display()
    );
    let mount = serve.call("VolumeDriver.Mount", &with_id("db", "x"));
    assert_eq!(mount, failed(500, &why));
    serve.stop();
}

#[test]
fn a_protected_one_is_not_forgotten() {
    let setup = setup();
    let pg = setup.path("srv/pg");
    let serve = setup.serve();
    let options = json!({"path": pg, "protect": "true"});
    assert_eq!(serve.call(CREATE, &with_options("db", &options)), done());
    let why = "volume db is protected; if it is to be removed, run 'dirvol set db protect=false' \
               first";
    assert_eq!(serve.call("VolumeDriver.Remove", &named("db")), failed(409, why));
    let set =
        serve.ok("Dirvol.Set", &json!({"Name": "db", "Opts": {"protect": "false"}}).to_string());
    let options = json!({"Options": {"path": pg, "protect": "false"}, "Err": ""});
    assert_eq!(serde_json::from_str::<Value>(&set).unwrap(), options);
    serve.remove("db");
    assert_eq!(swept_listing(&setup.root()), root_of([]));
    serve.stop();
}

#[test]
fn one_that_is_mounted_is_not_forgotten_and_who_has_it_is_told() {
    let setup = setup();
    let (srv, pg) = (setup.path("srv"), setup.path("srv/pg"));
    fs::create_dir(srv.join("pg2")).unwrap();
    fs::create_dir(srv.join("disk")).unwrap();
    in_own_mounts(|| {
        // The mount by which the host has a directory is no use of it.
        mount_memory(&srv.join("disk"), "size=1m");
        let serve = setup.serve();
        for (name, dir) in [("db", "pg"), ("db2", "pg2"), ("disk", "disk")] {
            assert_eq!(create(&serve, name, &srv.join(dir)), done());
        }
        for mounted in [pg.clone(), pg.join("base"), srv.join("disk")] {
            let name = if mounted.starts_with(&pg) { "db" } else { "disk" };
            let container = Container::with(&mounted);
            let why = format!(
                "volume {name}: volume is in use by process {}, which has it mounted at /mnt; stop \
                 its containers first",
                container.pid()
            );
            assert_eq!(serve.call("VolumeDriver.Remove", &named(name)), failed(409, &why));
            let body = json!({"Name": name}).to_string();
            let holders: Value = serde_json::from_str(&serve.ok("Dirvol.Holders", &body)).unwrap();
            assert_eq!(holders["Mounts"][0]["Pid"], container.pid());
            assert_eq!(holders["Mounts"][0]["Mountpoint"], "/mnt");
            assert_eq!(holders["Mounts"].as_array().unwrap().len(), 1);
            let all: Value = serde_json::from_str(&serve.ok("Dirvol.List", "{}")).unwrap();
            let counted = all["Volumes"].as_array().unwrap().iter().map(|one| &one["Holders"]);
            let counted: Vec<_> = counted.cloned().collect();
            let expected = if name == "db" { [1, 0, 0] } else { [0, 0, 1] };
            assert_eq!(counted, expected.map(|holders| json!(holders)));
        }
        // One that was just mounted waits, as for any volume.
        serve.ok("VolumeDriver.Mount", &with_id("db", "x"));
        assert_eq!(serve.call("VolumeDriver.Remove", &named("db")).status, 409);
        serve.ok("VolumeDriver.Unmount", &with_id("db", "x"));
        for name in ["db", "db2", "disk"] {
            serve.remove(name);
        }
        assert_eq!(swept_listing(&setup.root()), root_of([]));
        serve.stop();
        unmount_lazily(&srv.join("disk"));
    });
}

#[test]
fn a_prune_forgets_those_that_nobody_uses_and_says_so() {
    let setup = setup();
    let pg = setup.path("srv/pg");
    let before = exactly(&pg);
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    let prune = |dry_run: bool| {
        let body = json!({"UnusedFor": "0", "DryRun": dry_run, "Needed": []}).to_string();
        let mut pruned: Value = serde_json::from_str(&serve.ok("Dirvol.Prune", &body)).unwrap();
        pruned["Removed"][0]["LastUsed"] =
            json!(neutral(pruned["Removed"][0]["LastUsed"].as_str().unwrap()));
        pruned
    };
    let removed = json!({
        "Removed": [{"Name": "db", "LastUsed": TIME, "Path": pg}], "Kept": [], "Err": ""
    });
    assert_eq!(prune(true), removed);
    assert_eq!(serve.names(), ["db"]);
    assert_eq!(prune(false), removed);
    assert_eq!(swept_listing(&setup.root()), root_of([]));
    assert_eq!(exactly(&pg), before);
    serve.stop();
}

/// As a backup that is put back while nobody serves the root.
#[test]
fn one_that_was_put_into_the_root_is_found_by_its_record() {
    let setup = setup();
    let pg = setup.path("srv/pg");
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    fs::remove_dir_all(setup.root().join("places")).unwrap();
    assert_eq!(status(&serve, "db")["Mountpoint"], json!(pg));
    serve.stop();
    let serve = setup.serve();
    serve.ok("VolumeDriver.Get", &named("db"));
    assert_eq!(listing(&setup.root()), root_of(placed("db", &pg)));
    assert_eq!(create(&serve, "new", &pg).status, 400);
    serve.stop();
    // Nobody has asked for it, and the driver that starts does not know the root.
    fs::remove_dir_all(setup.root().join("places")).unwrap();
    fs::remove_dir_all(setup.state()).unwrap();
    let serve = setup.serve();
    eventually("its record is read", || setup.root().join("places/db").exists().then_some(()));
    assert_eq!(create(&serve, "new", &pg).status, 400);
    serve.stop();
}

/// One that lies below no `--bind-root` any more is told of, and can be forgotten.
#[test]
fn one_that_is_allowed_no_more_is_not_mounted() {
    let setup = setup();
    let pg = setup.path("srv/pg");
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    serve.stop();
    let plain = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    let mut command = plain;
    command.args(["serve", "--root"]).arg(setup.root());
    command.arg("--state-dir").arg(setup.state()).arg("--socket").arg(setup.socket());
    let serve = setup.start_with(command);
    serve.wait_available();
    let why = format!(
        "volume db cannot be used: this driver allows no directories: start it with --bind-root {}; \
         bring it back, or forget the volume with 'dirvol rm db', which leaves the directory as it is",
        setup.path("srv").display()
    );
    let mount = serve.call("VolumeDriver.Mount", &with_id("db", "x"));
    assert_eq!(mount, failed(500, &why));
    is_forgotten(&serve, "db", &pg);
    serve.stop();
}

/// Whoever may change a directory above it may have engines mount another one.
#[test]
fn the_doctor_names_what_others_may_change_above_it() {
    let setup = setup();
    let (srv, pg) = (setup.path("srv"), setup.path("srv/pg"));
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    let found = || {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_dirvol"));
        doctor.args(["doctor", "--format", "json", "--root"]).arg(setup.root());
        let output = doctor.arg("--state-dir").arg(setup.state()).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = report["Findings"].as_array().unwrap().iter();
        all.filter(|one| one["Check"] == "permissions").cloned().collect::<Vec<_>>()
    };
    let mode = |mode| fs::set_permissions(&srv, fs::Permissions::from_mode(mode)).unwrap();
    let open = |user: u32, mode: &str| {
        let shown = srv.display();
        json!([{
            "Check": "permissions",
            "Subject": srv,
            "Finding": format!(
                "it is above volume db, and others than root may put another directory in its \
                 place (user {user}, mode {mode})"
            ),
            "Cure": format!("chown root {shown} && chmod go-w {shown}"),
        }])
    };
    assert_eq!(json!(found()), json!([]));
    mode(0o1777);
    assert_eq!(json!(found()), json!([]));
    mode(0o0775);
    assert_eq!(json!(found()), open(0, "0775"));
    mode(0o0755);
    chown(&srv, Some(5), None).unwrap();
    assert_eq!(json!(found()), open(5, "0755"));
    serve.stop();
}

#[test]
fn a_volume_that_is_elsewhere_and_has_a_directory_here_too_is_not_forgotten() {
    let setup = setup();
    let pg = setup.path("srv/pg");
    let serve = setup.serve();
    assert_eq!(create(&serve, "db", &pg), done());
    let volume = setup.root().join("volumes/db");
    fs::create_dir(volume.join("data")).unwrap();
    fs::write(volume.join("data/file"), "precious").unwrap();
    let before = listing(&setup.root());
    let why = format!(
        "volume db cannot be used: its record says that it is a directory elsewhere, and it has \
         one here; mend it or move it away, {} is left as it is",
        volume.display()
    );
    for method in ["VolumeDriver.Remove", "Dirvol.Remove"] {
        assert_eq!(serve.call(method, &named("db")), failed(500, &why));
    }
    assert_eq!(serve.call("VolumeDriver.Mount", &with_id("db", "x")), failed(500, &why));
    assert_eq!(listing(&setup.root()), before);
    serve.stop();
}
