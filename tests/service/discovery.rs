//! Which driver a command asks that is not told.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Serve, Setup};
use crate::mounts::{in_own_mounts, mount_memory};
use crate::program::{Ended, run, success};

/// Runs `dirvol` as a person does who says nothing of a socket.
fn ask(args: &[&str], socket: Option<&Path>) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.args(args).env_remove("DIRVOL_SOCKET").stdin(Stdio::null());
    run(command.envs(socket.map(|socket| ("DIRVOL_SOCKET", socket))))
}

fn list(socket: Option<&Path>) -> Ended {
    ask(&["ls", "--format", "json"], socket)
}

/// A driver that has one volume, which is called as it is told.
fn serve(setup: &Setup, name: &str) -> Serve {
    let serve = setup.serve();
    serve.create(name);
    serve
}

/// That the driver with the volume `name` was asked, and `told` of it.
fn assert_asked(ended: &Ended, name: &str, told: &str) {
    let start = format!("[{{\"Name\":\"{name}\",");
    assert!(ended.stdout.starts_with(&start), "{ended:?}");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), told));
}

/// That nobody was asked, for the reason `why`.
fn assert_unreachable(ended: &Ended, why: &str) {
    let stderr = format!("dirvol: {why}\n");
    assert_eq!(ended, &Ended { code: Some(3), stdout: String::new(), stderr });
}

#[test]
fn a_driver_is_looked_for_where_engines_find_it() {
    let (one, two, three) = (Setup::new(), Setup::new(), Setup::new());
    let own = Path::new("/run/docker/plugins/dirvol.sock");
    let managed = |id: &str| Path::new("/run/docker/plugins").join(id);
    in_own_mounts(|| {
        mount_memory(Path::new("/run"), "");
        let nowhere = "there is no driver at /run/docker/plugins/dirvol.sock and \
                       /run/docker/plugins/*/dirvol.sock: start one with 'dirvol serve', or give \
                       --socket";
        assert_unreachable(&list(None), nowhere);
        fs::create_dir_all("/run/docker/plugins/other").unwrap();
        assert_unreachable(&list(None), nowhere);

        // A managed plugin has its socket in a directory of its own.
        let second = serve(&two, "two");
        fs::create_dir(managed("b1")).unwrap();
        symlink(&second.socket, managed("b1").join("dirvol.sock")).unwrap();
        assert_asked(&list(None), "two", "");

        let third = serve(&three, "three");
        fs::create_dir(managed("a1")).unwrap();
        symlink(&third.socket, managed("a1").join("dirvol.sock")).unwrap();
        let told = "dirvol: asking /run/docker/plugins/a1/dirvol.sock, not \
                    /run/docker/plugins/b1/dirvol.sock; --socket chooses\n";
        assert_asked(&list(None), "three", told);

        // The driver's own place comes first; one that is dead is passed over.
        drop(UnixListener::bind(own).unwrap());
        let told = "dirvol: asking /run/docker/plugins/a1/dirvol.sock, not \
                    /run/docker/plugins/dirvol.sock or /run/docker/plugins/b1/dirvol.sock; \
                    --socket chooses\n";
        assert_asked(&list(None), "three", told);
        fs::remove_file(own).unwrap();
        let first = serve(&one, "one");
        symlink(&first.socket, own).unwrap();
        let told = "dirvol: asking /run/docker/plugins/dirvol.sock, not \
                    /run/docker/plugins/a1/dirvol.sock or /run/docker/plugins/b1/dirvol.sock; \
                    --socket chooses\n";
        assert_asked(&list(None), "one", told);

        // Who says which is asked just that one, in whichever place it is said.
        assert_asked(&list(Some(&second.socket)), "two", "");
        let three = third.socket.to_str().unwrap();
        for args in [
            ["--socket", three, "ls", "--format", "json"],
            ["ls", "--socket", three, "--format", "json"],
        ] {
            assert_asked(&ask(&args, Some(&second.socket)), "three", "");
        }
        for serve in [first, second, third] {
            serve.stop();
        }
    });
}

#[test]
fn a_driver_that_does_not_answer_is_not_reached() {
    let setup = Setup::new();
    let socket = setup.socket();
    let why = |error: &str| {
        format!(
            "cannot connect to {}: {error}; start the driver, or give another --socket",
            socket.display()
        )
    };
    assert_unreachable(&list(Some(&socket)), &why("No such file or directory (os error 2)"));
    drop(UnixListener::bind(&socket).unwrap());
    let refused = why("Connection refused (os error 111)");
    assert_unreachable(&list(Some(&socket)), &refused);
    assert_unreachable(&ask(&["rm", "a", "b"], Some(&socket)), &refused);
    assert_unreachable(&ask(&["trash", "ls"], Some(&socket)), &refused);
    assert_unreachable(&ask(&["call", "VolumeDriver.List"], Some(&socket)), &refused);
    let long = "/x".repeat(20_000);
    let why = format!(
        "{long:.60}... is too long for the path of a socket; start the driver, or give another \
         --socket"
    );
    assert_unreachable(&list(Some(Path::new(&long))), &why);
    // The driver itself replaces a socket on which nobody answers.
    let serve = setup.serve();
    assert_eq!(list(Some(&socket)), success("[]\n".into()));
    serve.stop();
}
