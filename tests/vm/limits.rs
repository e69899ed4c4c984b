//! Limits that the kernel keeps.

use std::fs;

use dirvol::sys::quota::Amount;
use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::statvfs;
use serde_json::json;

use crate::disk::{LIMITING, MIB, Served, write, writer};
use crate::harness::eventually;

/// What a container's `df` shows: how large the volume is, in bytes.
fn df(served: &Served, name: &str) -> u64 {
    let stat = statvfs(&served.inside(name)).unwrap();
    stat.blocks() * stat.fragment_size()
}

/// A file system keeps some of its own blocks in a project's account.
fn about(bytes: u64, limit: u64) {
    assert!(bytes <= limit && bytes + MIB > limit, "{bytes} bytes under a limit of {limit}");
}

#[test]
fn a_limit_is_kept_shown_and_changed_while_the_volume_is_written_to() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "8M", "inodes": "20"}));
        served.create("free", json!({}));
        let file = served.inside("db").join("file");
        about(write(&file, 16), 8 * MIB);
        assert_eq!(df(&served, "db"), 8 * MIB, "{disk:?}");
        // The others have room.
        assert_eq!(write(&served.inside("free").join("file"), 16), 16 * MIB);

        served.set("db", json!({"size": "12M"}));
        about(write(&file, 16), 12 * MIB);
        assert_eq!(df(&served, "db"), 12 * MIB, "{disk:?}");
        // Below what is there already: nothing is lost, and nothing more goes in.
        served.set("db", json!({"size": "4M"}));
        about(fs::metadata(&file).unwrap().len(), 12 * MIB);
        assert_eq!(write(&served.inside("db").join("more"), 1), 0, "{disk:?}");
        served.set("db", json!({"size": "0"}));
        assert_eq!(write(&file, 16), 16 * MIB, "{disk:?}");
        assert_eq!(write(&served.inside("db").join("more"), 1), MIB, "{disk:?}");

        // Of the twenty inodes the directory and two files are three.
        let made = (0..30)
            .take_while(|n| {
                write(&served.inside("db").join(n.to_string()), 0) == 0
                    && served.data("db").join(n.to_string()).exists()
            })
            .count();
        assert_eq!(made, 17, "{disk:?}");
    }
}

#[test]
fn what_a_volume_holds_is_told_without_a_walk() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "8M"}));
        served.create("free", json!({}));
        write(&served.inside("db").join("file"), 4);
        write(&served.inside("free").join("file"), 3);
        // xfs counts what is to be allocated when it is.
        nix::unistd::sync();
        let used = eventually("it is counted", || {
            let used = served.status("db")["used"].clone();
            (used["bytes"].as_u64()? >= 4 * MIB).then_some(used)
        });
        about(4 * MIB, used["bytes"].as_u64().unwrap());
        assert_eq!(used["inodes"], 2, "{disk:?}");
        let table = served.said("ls");
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
        assert_eq!(rows[0], ["NAME", "SIZE", "USED", "HOLDERS", "AGE"], "{disk:?}");
        assert_eq!(rows[1][..2], ["db", "8M"], "{disk:?}");
        assert!(rows[1][2].starts_with("4."), "{disk:?}: {table}");
        assert_eq!(rows[1][3], "[#####.....]", "{disk:?}");
        assert_eq!(rows[2][..2], ["free", "-"], "{disk:?}");
        assert!(rows[2][2].starts_with("3."), "{disk:?}: {table}");
    }
}

#[test]
fn a_limit_outlasts_a_reboot_and_is_set_again_where_the_kernel_lost_it() {
    for disk in LIMITING {
        let mut served = disk.serve("root");
        served.create("db", json!({"size": "8M"}));
        served.unplug();
        served.plug_in(disk.options);
        about(write(&served.inside("db").join("file"), 16), 8 * MIB);
        let project = served.project("db");
        served.lose_limit(project);
        assert_eq!(write(&served.inside("db").join("file"), 16), 16 * MIB, "{disk:?}");
        served.serve().ok("VolumeDriver.Mount", r#"{"Name":"db","ID":"x"}"#);
        assert_eq!(served.account(project).limit, Amount { bytes: 8 * MIB, inodes: 0 });
        assert_eq!(write(&served.inside("db").join("more"), 1), 0, "{disk:?}");
    }
}

/// Its files were made while the disk was mounted without limits.
#[test]
fn a_volume_that_is_in_no_project_is_put_into_one_with_all_that_it_holds() {
    for disk in LIMITING {
        let mut served = disk.serve("root");
        served.unplug();
        let none = if disk.fs == "xfs" { "noquota" } else { "" };
        served.plug_in(none);
        served.create("db", json!({}));
        fs::create_dir(served.data("db").join("deep")).unwrap();
        fs::write(served.data("db").join("deep/file"), vec![0; 2 << 20]).unwrap();
        served.unplug();
        served.plug_in(disk.options);
        served.set("db", json!({"size": "4M"}));
        nix::unistd::sync();
        let used = served.account(served.project("db")).used;
        assert_eq!(used.inodes, 3, "{disk:?}");
        about(2 * MIB, used.bytes);
        about(write(&served.inside("db").join("more"), 16) + 2 * MIB, 4 * MIB);
    }
}

#[test]
fn a_name_that_is_created_again_and_a_volume_from_the_trash_have_their_own_limits() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "8M"}));
        let project = served.project("db");
        write(&served.inside("db").join("file"), 8);
        served.leave();
        served.serve().remove("db");
        served.create("db", json!({"size": "4M"}));
        assert_ne!(served.project("db"), project);
        about(write(&served.inside("db").join("file"), 16), 4 * MIB);

        served.said("trash restore db --as old");
        assert_eq!(served.project("old"), project);
        assert_eq!(served.account(project).limit.bytes, 8 * MIB);
        assert_eq!(served.status("old")["options"]["size"], "8M");
        // It is as full as it was.
        assert_eq!(write(&served.inside("old").join("more"), 1), 0, "{disk:?}");
    }
}

#[test]
fn the_limit_of_a_volume_that_is_gone_for_good_is_taken_away() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "8M", "retain": "0"}));
        let project = served.project("db");
        write(&served.inside("db").join("file"), 4);
        served.leave();
        served.serve().remove("db");
        eventually("nothing is known of the project", || {
            (served.account(project) == Default::default()).then_some(())
        });
    }
}

#[test]
fn writers_at_once_do_not_pass_the_limit_together() {
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "16M"}));
        let files: Vec<_> = (0..4).map(|n| served.inside("db").join(n.to_string())).collect();
        let writers: Vec<_> = files.iter().map(|file| writer(file, 8).spawn().unwrap()).collect();
        for mut writer in writers {
            writer.wait().unwrap();
        }
        let all: u64 = files.iter().map(|file| fs::metadata(file).map_or(0, |f| f.len())).sum();
        assert!(all <= 16 * MIB && all > 14 * MIB, "{disk:?}: {all}");
    }
}

#[test]
fn two_roots_on_one_disk_do_not_share_a_limit() {
    for disk in LIMITING {
        let served = disk.serve("root");
        let (_setup, other) = served.beside("other");
        served.create("db", json!({"size": "4M"}));
        let body = json!({"Name": "db", "Opts": {"size": "8M", "mode": "0777"}}).to_string();
        other.ok("VolumeDriver.Create", &body);
        let data = other.root.join("volumes/db/data");
        let at = served.setup.path("container-other");
        fs::create_dir(&at).unwrap();
        mount(Some(&data), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let file = at.join("file");
        about(write(&served.inside("db").join("file"), 16), 4 * MIB);
        about(write(&file, 16), 8 * MIB);
        other.stop();
    }
}

/// Whoever owns a file may take it out of its project, in the host's own user
/// namespace: a limit stops accidents, and not attackers.
#[test]
fn the_owner_of_a_file_can_take_it_out_of_its_project() {
    use std::os::fd::AsFd;
    for disk in LIMITING {
        let served = disk.serve("root");
        served.create("db", json!({"size": "4M"}));
        let file = served.inside("db").join("file");
        about(write(&file, 16), 4 * MIB);
        let open = fs::File::open(&file).unwrap();
        dirvol::sys::quota::set_project(open.as_fd(), 0, false).unwrap();
        about(write(&served.inside("db").join("more"), 16), 4 * MIB);
    }
}

/// Its top directory would else tell that all of it is counted.
#[test]
fn a_walk_that_broke_off_is_made_anew_and_counts_all() {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dirvol::store::{Init, Scope, Settings, Step};
    use dirvol::volume::{self, Driver, Fixture, Options, VolumeName};

    for disk in LIMITING {
        let mut served = disk.serve("root");
        served.unplug();
        served.plug_in(if disk.fs == "xfs" { "noquota" } else { "" });
        served.create("db", json!({}));
        for name in ["a", "b", "c"] {
            fs::create_dir(served.data("db").join(name)).unwrap();
            fs::write(served.data("db").join(name).join("file"), vec![0; 1 << 20]).unwrap();
        }
        served.unplug();
        served.plug_in(disk.options);
        served.serve.take().unwrap().stop();
        let steps = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&steps);
        let probe = move |step: &Step<'_>| {
            let second = step.op == "fssetxattr" && seen.fetch_add(1, Ordering::Relaxed) == 1;
            if second { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        };
        let driver = Driver::new(volume::Settings {
            root: Settings {
                path: served.setup.root(),
                state_dir: served.setup.state(),
                init: Init::Auto,
                scope: Scope::Local,
                accept: None,
                plugin: false,
                node: None,
                unusable: None,
                probe: Some(Arc::new(probe)),
            },
            retention: std::time::Duration::ZERO,
            defaults: Options::default(),
            bind_roots: Vec::new(),
            fixture: None,
        });
        driver.check();
        let name = VolumeName::new("db").unwrap();
        let size = Options::parse([("size", "64M")], Fixture::Off).unwrap();
        driver.set(&name, &size).unwrap_err();
        assert_eq!(steps.load(Ordering::Relaxed), 2, "{disk:?}");
        driver.set(&name, &size).unwrap();
        drop(driver);
        nix::unistd::sync();
        assert_eq!(served.account(served.project("db")).used.inodes, 7, "{disk:?}");
    }
}
