//! A driver that is not root: what it cannot give away it refuses, before it makes
//! anything.

use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::expect::{done, failed, named, with_options};
use crate::harness::{Serve, Setup, tree};

const USER: u32 = 65_534;

/// Serves as a command before the driver's own makes it.
fn serve_as(setup: &Setup, before: &[&str]) -> Serve {
    let serve = setup.command();
    let mut command = Command::new(before[0]);
    command.args(&before[1..]).arg(serve.get_program()).args(serve.get_args()).stdin(Stdio::null());
    let serve = setup.start_with(command);
    serve.wait_available();
    serve
}

fn refused(option: &str, asked: u32, own: &str) -> crate::harness::Answer {
    failed(
        400,
        &format!(
            "volume a: option \"{option}\" is \"{asked}\": this driver runs as {own}, and may not \
             give a volume to another; leave it out, or run the driver as root"
        ),
    )
}

/// What is refused at Create and at Set, for each option, and that it leaves nothing.
fn assert_refused(serve: &Serve, options: &[(&str, u32, &str)]) {
    let before = (tree(&serve.root), tree(&serve.state));
    for (option, asked, own) in options {
        let body = with_options("a", &json!({*option: asked.to_string()}));
        let create = serve.call("VolumeDriver.Create", &body);
        assert_eq!(create, refused(option, *asked, own));
        assert_eq!((tree(&serve.root), tree(&serve.state)), before, "{option}={asked}");
    }
    serve.create("a");
    let before = tree(&serve.root);
    for (option, asked, own) in options {
        let body = with_options("a", &json!({*option: asked.to_string()}));
        assert_eq!(serve.call("Dirvol.Set", &body), refused(option, *asked, own));
        assert_eq!(tree(&serve.root), before, "{option}={asked}");
    }
    assert_eq!(serve.call("VolumeDriver.Remove", &named("a")), done());
}

#[test]
fn an_owner_that_a_user_cannot_give_is_refused_and_leaves_nothing() {
    let setup = Setup::new();
    std::fs::create_dir(setup.root()).unwrap();
    for dir in [setup.dir.path(), &setup.root()] {
        chown(dir, Some(USER), Some(USER)).unwrap();
    }
    let as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=65534,20"];
    let serve = serve_as(&setup, &as_user);
    let (user, group) = ("user 65534", "group 65534");
    assert_refused(&serve, &[("uid", 0, user), ("uid", 5, user), ("gid", 5, group)]);
    // His own, and his groups, he may.
    for (name, options) in
        [("own", json!({"uid": "65534", "gid": "65534"})), ("shared", json!({"gid": "20"}))]
    {
        assert_eq!(serve.call("VolumeDriver.Create", &with_options(name, &options)), done());
    }
    let tree = tree(&setup.root());
    for line in ["volumes/own/data/ 0755 65534:65534", "volumes/shared/data/ 0755 65534:20"] {
        assert!(tree.iter().any(|there| there == line), "{line}: {tree:?}");
    }
    serve.stop();
}

/// As in a rootless container, where root is root of few.
#[test]
fn an_owner_that_the_user_namespace_does_not_have_is_refused() {
    let setup = Setup::new();
    std::fs::create_dir(setup.root()).unwrap();
    let serve = serve_as(&setup, &["unshare", "--user", "--map-root-user"]);
    assert_refused(&serve, &[("uid", 5, "user 0"), ("gid", 5, "group 0")]);
    serve.stop();
}
