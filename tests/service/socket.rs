//! The socket and its file: whose it is, when it is replaced, and when it goes.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::expect::named;
use crate::handover::{handed_over, with_socket};
use crate::harness::{Client, Setup, get, request};
use crate::program::{failure, run};

/// What is at `path`: type and permissions, owner, and inode.
fn file_at(path: &Path) -> (u32, u32, u64) {
    let file = fs::symlink_metadata(path).unwrap();
    (file.mode(), file.uid(), file.ino())
}

/// The command that serves on the socket `socket`.
fn serve_on(setup: &Setup, socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command
        .arg("serve")
        .env("DIRVOL_ROOT", setup.root())
        .env("DIRVOL_STATE_DIR", setup.state())
        .env("DIRVOL_SOCKET", socket);
    command
}

#[test]
fn the_socket_is_its_owners_alone_whatever_the_umask() {
    let setup = Setup::new();
    let mut command = Command::new("sh");
    let driver = serve_on(&setup, &setup.socket());
    command.args(["-c", r#"umask 0; exec "$0" "$@""#]).arg(driver.get_program());
    command.args(driver.get_args());
    command.envs(driver.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let serve = setup.start_with(command);
    let socket = fs::symlink_metadata(setup.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
    serve.stop();
}

#[test]
fn the_sockets_directory_is_made_where_it_is_missing() {
    let setup = Setup::new();
    let socket = setup.path("run/plugins/dirvol.sock");
    symlink(&socket, setup.socket()).unwrap();
    let serve = setup.start_with(serve_on(&setup, &socket));
    for dir in ["run", "run/plugins"] {
        // As the socket, it is for its own user alone.
        let mode = fs::metadata(setup.path(dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{dir}");
    }
    serve.stop();
}

/// Whoever can write to the directory can move the socket away and answer engines.
#[test]
fn a_directory_where_others_may_replace_the_socket_is_refused() {
    let setup = Setup::new();
    fs::create_dir(setup.root()).unwrap();
    let dir = setup.path("run");
    let inner = dir.join("inner");
    fs::create_dir_all(&inner).unwrap();
    let give = |dir: &Path, mode, owner| {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
        chown(dir, Some(owner), None).unwrap();
    };
    let shown = dir.display();
    let writable = |mode: &str| {
        format!(
            "others may write to the directory {shown} ({mode}), and could put another socket \
             there: run 'chmod go-w {shown}', or give another --socket"
        )
    };
    let owned = format!(
        "the directory {shown} is user 65534's, who could put another socket there: run 'chown 0 \
         {shown}', or give another --socket"
    );
    let cases = [
        (0o777, 0, &dir, writable("0777")),
        (0o770, 0, &dir, writable("0770")),
        (0o702, 0, &dir, writable("0702")),
        (0o700, 65_534, &dir, owned.clone()),
        (0o1777, 65_534, &dir, owned),
        // Above it too: the whole directory can be replaced.
        (0o777, 0, &inner, writable("0777")),
    ];
    for (mode, owner, at, why) in cases {
        give(&dir, mode, owner);
        let socket = at.join("dirvol.sock");
        let refused = failure(&format!("{}: {why}", socket.display()));
        assert_eq!(run(&mut serve_on(&setup, &socket)), refused, "{mode:o} {owner}");
        assert!(!socket.exists(), "{mode:o} {owner}");
    }
    // With the sticky bit nobody replaces what is another's, as in /tmp.
    for (mode, at) in [(0o755, &dir), (0o700, &dir), (0o1777, &dir), (0o775, &inner)] {
        give(&dir, mode, 0);
        let socket = at.join("dirvol.sock");
        symlink(&socket, setup.socket()).unwrap();
        setup.start_with(serve_on(&setup, &socket)).stop();
        fs::remove_file(setup.socket()).unwrap();
    }
}

#[test]
fn the_socket_goes_with_the_driver_that_ends_by_itself() {
    let setup = Setup::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut serve = setup.serve();
        assert!(setup.socket().exists());
        serve.signal(signal);
        let status = serve.wait();
        assert!(status.success(), "{status}");
        assert!(!setup.socket().exists());
        assert!(serve.log().ends_with(" INFO stopped\n"), "{}", serve.log());
    }
}

#[test]
fn a_socket_that_nobody_answers_on_is_replaced() {
    let setup = Setup::new();
    setup.serve().kill();
    assert!(setup.socket().exists());
    let serve = setup.serve();
    serve.create("a");
    serve.stop();
    assert!(!setup.socket().exists());
}

#[test]
fn a_socket_that_somebody_answers_on_is_left_to_him() {
    let setup = Setup::new();
    let serve = setup.serve();
    let before = file_at(&setup.socket());
    let why = format!(
        "{}: somebody answers there: stop it, or give another --socket",
        setup.socket().display()
    );
    assert_eq!(run(&mut setup.command()), failure(&why));
    assert_eq!(file_at(&setup.socket()), before);
    serve.create("a");
    serve.stop();
}

#[test]
fn whatever_else_is_in_the_sockets_place_is_left_alone() {
    let setup = Setup::new();
    let target = setup.path("target.sock");
    let _listener = UnixListener::bind(&target).unwrap();
    let socket = setup.socket();
    let other = "there is something else than a socket: give another path";
    let cases = [
        ("file", Box::new(|| fs::write(&socket, "bytes").unwrap()) as Box<dyn Fn()>),
        ("directory", Box::new(|| fs::create_dir(&socket).unwrap())),
        ("link", Box::new(|| symlink("/nothing", &socket).unwrap())),
        ("link to a socket", Box::new(|| symlink(&target, &socket).unwrap())),
    ];
    for (what, make) in cases {
        make();
        let before = file_at(&socket);
        let why = format!("{}: {other}", socket.display());
        assert_eq!(run(&mut setup.command()), failure(&why), "{what}");
        assert_eq!(file_at(&socket), before, "{what}");
        if what == "directory" {
            fs::remove_dir(&socket).unwrap();
        } else {
            fs::remove_file(&socket).unwrap();
        }
    }
    // Nor is a socket of another kind taken for a stale one.
    let _datagrams = UnixDatagram::bind(&socket).unwrap();
    let why = format!("{}: Protocol wrong type for socket (os error 91)", socket.display());
    assert_eq!(run(&mut setup.command()), failure(&why));
    assert!(socket.exists());
}

#[test]
fn a_file_that_took_the_sockets_place_stays_when_the_driver_ends() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut client = Client::connect(&serve.socket);
    fs::remove_file(&serve.socket).unwrap();
    let other = UnixListener::bind(&serve.socket).unwrap();
    // Who was connected before is served as before.
    assert!(client.call("VolumeDriver.Create", &named("a")).is_some());
    let before = file_at(&serve.socket);
    serve.stop();
    assert_eq!(file_at(&setup.socket()), before);
    drop(UnixStream::connect(setup.socket()).unwrap());
    drop(other);
}

#[test]
fn a_socket_that_was_handed_over_is_served_and_left_to_who_made_it() {
    let setup = Setup::new();
    let listener = UnixListener::bind(setup.socket()).unwrap();
    let before = file_at(&setup.socket());
    for names in [&["a"][..], &["a", "b"]] {
        // Asked before anybody serves it: this waits for the next driver.
        let mut early = Client::connect(&setup.socket());
        early.send(request("VolumeDriver.Create", &named(names.last().unwrap())));
        fs::create_dir_all(setup.root()).unwrap();
        let serve = setup.start_with(with_socket(&setup.command(), &listener));
        assert_eq!(early.answer().map(|answer| answer.status), Some(200));
        serve.wait_available();
        assert_eq!(serve.names(), names);
        serve.stop();
        assert_eq!(file_at(&setup.socket()), before);
    }
}

#[test]
fn a_socket_that_was_handed_to_another_process_is_not_taken() {
    let setup = Setup::new();
    let others = setup.path("others.sock");
    let listener = UnixListener::bind(&others).unwrap();
    let command = handed_over(&setup.command(), listener.try_clone().unwrap().into(), "1", "1");
    let serve = setup.start_with(command);
    assert_eq!(get(&setup.socket(), "/metrics").status, 200);
    // Whoever connects to the other's socket is there for the other to accept.
    let mut client = Client::connect(&others);
    client.send("x");
    listener.set_nonblocking(true).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    let mut bytes = [0; 2];
    assert_eq!((accepted.read(&mut bytes).unwrap(), bytes), (1, *b"x\0"));
    serve.stop();
    assert!(!setup.socket().exists());
    assert!(others.exists());
}

#[test]
fn a_descriptor_that_cannot_be_served_is_refused() {
    let setup = Setup::new();
    let listener = UnixListener::bind(setup.path("some.sock")).unwrap();
    let refused = |command: &mut Command, why: &str| {
        assert_eq!(run(command), failure(&format!("the inherited socket: {why}")));
        assert!(!setup.socket().exists());
    };
    let mut two_names = handed_over(&setup.command(), listener.into(), "1", "$$");
    two_names.env("LISTEN_FDNAMES", "plugin:metrics");
    refused(&mut two_names, "LISTEN_FDNAMES=plugin:metrics has 2 names, and LISTEN_FDS is 1");
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let mut tcp_plugin = handed_over(&setup.command(), tcp(), "1", "$$");
    let why = "it must be a Unix socket: file descriptor did not correspond to a Unix socket";
    refused(&mut tcp_plugin, why);
    let (one_end, _other_end) = UnixStream::pair().unwrap();
    let mut connected = handed_over(&setup.command(), one_end.into(), "1", "$$");
    refused(&mut connected, "descriptor 3 from LISTEN_FDS is not a listening socket");
    let null = File::open("/dev/null").unwrap();
    let mut file = handed_over(&setup.command(), null.into(), "1", "$$");
    refused(&mut file, "Socket operation on non-socket (os error 88)");
}

#[test]
fn a_socket_that_cannot_be_made_is_told_with_its_path() {
    let setup = Setup::new();
    fs::write(setup.path("file"), "").unwrap();
    let cases = [
        (setup.path("file/dirvol.sock"), "File exists (os error 17)"),
        (setup.path(&"x".repeat(120)), "path must be shorter than SUN_LEN"),
    ];
    for (socket, why) in cases {
        let why = format!("{}: {why}", socket.display());
        assert_eq!(run(&mut serve_on(&setup, &socket)), failure(&why));
    }
    assert!(!setup.root().exists() && !setup.state().exists());
}

#[test]
fn the_kernels_longest_queue_of_connections_is_used() {
    // dockerd connects once for each volume it knows as it starts.
    let longest = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let longest: usize = longest.trim().parse().unwrap();
    let setup = Setup::new();
    let serve = setup.serve();
    serve.freeze();
    let address = UnixAddr::new(&serve.socket).unwrap();
    let queued = (0..)
        .take_while(|_| {
            // Closing a connection that waits leaves its place in the queue taken.
            let kind = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let client = socket(AddressFamily::Unix, SockType::Stream, kind, None).unwrap();
            match connect(client.as_raw_fd(), &address) {
                Ok(()) => true,
                Err(Errno::EAGAIN) => false,
                Err(error) => panic!("{error}"),
            }
        })
        .count();
    serve.signal(Signal::SIGCONT);
    // The kernel refuses when more wait than the queue is long.
    assert_eq!(queued, longest + 1);
    assert_eq!(get(&serve.socket, "/healthz").status, 200);
    serve.stop();
}
