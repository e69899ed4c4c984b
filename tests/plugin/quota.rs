//! The plugin that asks for the capability that limits need, and the one that does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::disk::{Disk, FileSystem, run};
use crate::plugged::{PLUGIN, Plugged, bundle};

/// What the plugin asks of its engine, as `make plugin` with this `QUOTA` writes it.
fn config(quota: &str) -> Vec<u8> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/plugin");
    let output = Command::new(script).arg("config").env("QUOTA", quota).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Makes the plugin that asks for the capability.
fn create(plugged: &Plugged) {
    let at = plugged.path("bundle");
    fs::create_dir(&at).unwrap();
    fs::write(at.join("config.json"), config("1")).unwrap();
    fs::create_dir(at.join("rootfs")).unwrap();
    fs::copy(bundle().join("rootfs/dirvol"), at.join("rootfs/dirvol")).unwrap();
    plugged.daemon.ok(&format!("plugin create {PLUGIN} {}", at.display()));
}

#[test]
fn the_variant_for_limits_asks_for_one_capability_more_and_for_nothing_else() {
    assert_eq!(config(""), fs::read(bundle().join("../../config.json")).unwrap());
    let [mut without, with] =
        ["", "1"].map(|quota| -> Value { serde_json::from_slice(&config(quota)).unwrap() });
    without["linux"]["capabilities"] = json!(["CAP_SYS_ADMIN"]);
    assert_eq!(with, without);
}

#[test]
fn a_limit_is_kept_by_the_variant_for_limits_and_refused_by_the_other() {
    let disk = Disk::new(FileSystem::Btrfs);
    let root = disk.path("root");
    fs::create_dir(&root).unwrap();
    run(Command::new("btrfs").args(["quota", "enable"]).arg(disk.path("")));
    let plugged = Plugged::bare("{}");

    plugged.daemon.ok(&format!("plugin create {PLUGIN} {}", bundle().display()));
    plugged.set_root(&root);
    plugged.enable();
    let limited = format!("volume create -d {PLUGIN} -o size=8M -o mode=0777 db");
    let refused = plugged.daemon.fails(&limited);
    assert!(refused.contains("volume db: the driver may not set limits"), "{refused}");
    plugged.disable();
    plugged.daemon.ok(&format!("plugin rm --force {PLUGIN}"));

    create(&plugged);
    plugged.set_root(&root);
    plugged.enable();
    plugged.daemon.ok(&limited);
    let full = plugged.daemon.run_fails(
        "--rm -u 1000 -v db:/x",
        "busybox dd if=/dev/zero of=/x/file bs=64k count=256 conv=fsync",
    );
    assert!(full.contains("Disk quota exceeded"), "{full}");
    let length = fs::metadata(root.join("volumes/db/data/file")).unwrap().len();
    assert!(length > 4 << 20 && length <= 8 << 20, "{length}");
}
