//! Two volumes that are directories share no files: option `path`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

use crate::expect::{done, failed, listing};
use crate::harness::{Answer, Serve};
use crate::mounts::{bind, in_own_mounts, mount_memory, unmount_lazily};
use crate::path::{create, setup};

/// Two mounts of one directory have one identity, and two paths in one file system
/// may meet in a third.
#[test]
fn two_volumes_share_nothing_whatever_the_directories_are_called() {
    let setup = setup();
    let srv = setup.path("srv");
    for dir in ["alias", "disk", "deep/disk", "inner", "own"] {
        fs::create_dir_all(srv.join(dir)).unwrap();
    }
    let shared = |serve: &Serve, path: &str, other: &Path, whose: &str| {
        let path = srv.join(path);
        let why = format!(
            "volume new: option \"path\": {} and {}, which is {whose}, are one directory, or one \
             lies in the other: give one apart",
            path.display(),
            other.display()
        );
        assert_eq!(create(serve, "new", &path), failed(400, &why));
    };
    in_own_mounts(|| {
        mount_memory(&srv.join("disk"), "size=1m");
        fs::create_dir(srv.join("disk/x")).unwrap();
        let serve = setup.serve();
        assert_eq!(create(&serve, "db", &srv.join("pg")), done());
        assert_eq!(create(&serve, "deep", &srv.join("deep")), done());
        serve.stop();
        bind(&srv.join("pg"), &srv.join("alias"));
        bind(&srv.join("pg/base"), &srv.join("inner"));
        bind(&srv.join("disk"), &srv.join("deep/disk"));
        bind(setup.dir.path(), &srv.join("own"));
        let serve = setup.serve();
        let before = listing(&setup.root());
        shared(&serve, "alias", &srv.join("pg"), "volume db");
        shared(&serve, "alias/base", &srv.join("pg"), "volume db");
        shared(&serve, "inner", &srv.join("pg"), "volume db");
        // What is mounted in a volume is the volume's.
        shared(&serve, "disk", &srv.join("deep"), "volume deep");
        shared(&serve, "disk/x", &srv.join("deep"), "volume deep");
        // The driver's own directories.
        shared(&serve, "own", &setup.root(), "the driver's root");
        shared(&serve, "own/root", &setup.root(), "the driver's root");
        shared(&serve, "own/root/volumes", &setup.root(), "the driver's root");
        shared(&serve, "own/state", &setup.state(), "its state");
        assert_eq!(listing(&setup.root()), before);
        serve.stop();
        for dir in ["alias", "inner", "deep/disk", "own", "disk"] {
            unmount_lazily(&srv.join(dir));
        }
    });
}

#[test]
fn a_bind_root_may_be_a_symbolic_link_and_two_of_them_one_directory() {
    let setup = setup();
    symlink("srv", setup.path("link")).unwrap();
    let setup_arg = setup.path("link").display().to_string();
    let setup = setup.arg("--bind-root").arg(setup_arg);
    let serve = setup.serve();
    let (link, pg) = (setup.path("link/pg"), setup.path("srv/pg"));
    assert_eq!(create(&serve, "db", &link), done());
    let why = format!(
        "volume new: option \"path\": {} and {}, which is volume db, are one directory, or one lies \
         in the other: give one apart",
        pg.display(),
        link.display()
    );
    assert_eq!(create(&serve, "new", &pg), failed(400, &why));
    serve.stop();
}

#[test]
fn of_those_who_create_volumes_in_one_another_at_once_one_wins() {
    let setup = setup();
    let srv = setup.path("srv");
    let serve = setup.serve();
    for round in 0..20 {
        let top = srv.join(format!("r{round}"));
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        let paths = ["", "a", "a/b", "a/b/c", "a", "a/b"].map(|below| top.join(below));
        let answers: Vec<Answer> = thread::scope(|scope| {
            let all: Vec<_> = paths
                .iter()
                .enumerate()
                .map(|(at, path)| {
                    let (serve, path) = (&serve, path.components().collect::<std::path::PathBuf>());
                    scope.spawn(move || create(serve, &format!("v{round}-{at}"), &path))
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won = answers.iter().filter(|answer| **answer == done()).count();
        assert_eq!(won, 1, "{answers:?}");
        let lost = answers.iter().filter(|answer| answer.body.contains("are one directory"));
        assert_eq!(lost.count(), 5, "{answers:?}");
        assert_eq!(serve.names().len(), round + 1);
    }
    serve.stop();
}
