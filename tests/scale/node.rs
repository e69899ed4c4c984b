//! A node: a client of the server with a name, an address and mounts of its own, and a
//! driver that runs on it.

use std::fs::{self, File};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::harness::{Serve, Setup};
use crate::server::{ADDRESS, BRIDGE, Share, input};

/// As mounts are where nothing is said.
pub const HARD: &str = "hard";

/// Where calls fail after some seconds instead of waiting.
pub const SOFT: &str = "soft,timeo=10,retrans=1";

pub struct Node {
    pub name: String,
    /// The wire's end at the server.
    wire: String,
    address: String,
    namespaces: Namespaces,
}

/// They last as long as these are open.
struct Namespaces {
    net: File,
    mounts: File,
    names: File,
}

impl Node {
    /// Makes the node of this number, from 1 on. Its name is what tells the server one
    /// client from another.
    pub fn new(number: u8) -> Self {
        let name = format!("node-{number}");
        let wire = format!("wire-{number}");
        let address = format!("10.9.0.{}", 10 + number);
        let links = format!(
            "netns add {name}\n\
             link add {wire} type veth peer name eth0 netns {name}\n\
             link set {wire} master {BRIDGE} up\n"
        );
        input(&["ip", "-batch", "-"], &links);
        let inside =
            format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\n");
        input(&["ip", "-netns", &name, "-batch", "-"], &inside);
        let net = File::open(Path::new("/run/netns").join(&name)).unwrap();
        let namespaces = in_thread(|| {
            setns(&net, CloneFlags::CLONE_NEWNET).unwrap();
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            // It shows, and has, the network of whoever mounted it.
            mount(Some("sys"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
            fs::write("/proc/sys/kernel/hostname", &name).unwrap();
            let namespace =
                |name| File::open(Path::new("/proc/thread-self/ns").join(name)).unwrap();
            (namespace("mnt"), namespace("uts"))
        });
        let (mounts, names) = namespaces;
        Self { name, wire, address, namespaces: Namespaces { net, mounts, names } }
    }

    /// Does something on the node. Processes that it starts stay there.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            // A thread whose directory is also another's cannot have other mounts.
            unshare(CloneFlags::CLONE_FS).unwrap();
            setns(&self.namespaces.net, CloneFlags::CLONE_NEWNET).unwrap();
            setns(&self.namespaces.names, CloneFlags::CLONE_NEWUTS).unwrap();
            setns(&self.namespaces.mounts, CloneFlags::CLONE_NEWNS).unwrap();
            work()
        })
    }

    /// Mounts a share, with what it knows of it to itself: two mounts on one host would
    /// otherwise have one cache.
    pub fn mount(&self, share: &Share, at: &Path, options: &str) {
        let options =
            format!("vers=4.2,nosharecache,addr={ADDRESS},clientaddr={},{options}", self.address);
        let source = share.source();
        self.run(|| {
            mount(
                Some(source.as_str()),
                at,
                Some("nfs4"),
                MsFlags::empty(),
                Some(options.as_str()),
            )
            .unwrap_or_else(|errno| panic!("{source} {options}: {errno}"));
        });
    }

    /// Cuts the wire.
    pub fn cut(&self) {
        input(&["ip", "-batch", "-"], &format!("link set {} down\n", self.wire));
    }

    /// Mends it.
    pub fn mend(&self) {
        input(&["ip", "-batch", "-"], &format!("link set {} up\n", self.wire));
    }

    /// Makes a place for a driver on the node, whose root is the share.
    pub fn driver(&self, share: &Share, options: &str) -> Setup {
        let setup = Setup::new();
        fs::create_dir(setup.root()).unwrap();
        self.mount(share, &setup.root(), options);
        setup
    }

    /// Starts the driver there, and waits until it serves.
    pub fn serve(&self, setup: &Setup) -> Serve {
        self.run(|| setup.serve())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its mounts end with the last of its processes, and then with this.
        self.mend();
        input(
            &["ip", "-batch", "-"],
            &format!("link del {}\nnetns del {}\n", self.wire, self.name),
        );
    }
}

/// Runs something in a thread, which may leave the namespaces of the others.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
