//! What the plugin asks for, what is in it, and the paths that it answers.

use std::fs;

use serde_json::{Value, json};

use crate::plugged::{Plugged, bundle};

#[test]
fn the_plugin_asks_for_one_bind_mount_and_no_privilege() {
    let plugged = Plugged::enabled();
    let shown: Value = serde_json::from_str(&plugged.daemon.ok("plugin inspect dirvol")).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 1);
    assert_eq!(shown[0]["Enabled"], true);
    let config = &shown[0]["Config"];
    // What the engine does not show here, it does not grant.
    let privileges =
        ["IpcHost", "Linux", "Mounts", "Network", "PidHost", "PropagatedMount", "User"];
    let asked: Vec<Value> = privileges.iter().map(|name| config[name].clone()).collect();
    let mounts = json!([{
        "Name": "root",
        "Description": "The directory on the host that holds the volumes; it must exist",
        "Source": plugged.root(),
        "Destination": "/mnt/volumes/root",
        "Type": "bind",
        "Options": ["rbind", "rw"],
        "Settable": ["source"],
    }]);
    let expected = [
        json!(false),
        json!({ "AllowAllDevices": false, "Capabilities": [], "Devices": null }),
        mounts.clone(),
        json!({ "Type": "" }),
        json!(false),
        json!("/mnt/volumes"),
        json!({}),
    ];
    assert_eq!(asked, expected);
    let settings = &shown[0]["Settings"];
    assert_eq!(settings["Mounts"], mounts);
    assert_eq!(settings["Devices"], json!([]));
    assert_eq!(settings["Args"], json!([]));
}

#[test]
fn the_root_file_system_is_the_one_binary() {
    let plugged = Plugged::made();
    // The engine adds its own files when the plugin is enabled.
    let rootfs = format!("/run/engine/data/plugins/{}/rootfs", plugged.id());
    assert_eq!(plugged.inside(&format!("cd {rootfs} && find . | sort")), ".\n./dirvol\n");
    let built = bundle().join("rootfs/dirvol");
    plugged.inside(&format!("cmp {rootfs}/dirvol {}", built.display()));
    let names = fs::read_dir(bundle().join("rootfs")).unwrap();
    assert_eq!(names.count(), 1);
}

/// The engine translates a path below the propagated mount in the answers to Mount,
/// Path and List, and shows that of Get as it is. It compares strings and cleans
/// nothing, so a path that is not strictly below leads it astray.
#[test]
fn a_mountpoint_is_the_same_in_every_answer_and_below_the_propagated_mount() {
    let plugged = Plugged::enabled();
    plugged.fill("db");
    let mounted = plugged.daemon.ok("plugin inspect --format {{.Config.PropagatedMount}} dirvol");
    let data = format!("{}/root/volumes/db/data", mounted.trim());
    let ok = |method: &str, body: &str| -> Value {
        let answer = plugged.call(method, body);
        assert_eq!(answer.status, 200, "{method}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    };
    let named = r#"{"Name":"db"}"#;
    assert_eq!(ok("Get", named)["Volume"]["Mountpoint"], data);
    let listed = json!({"Volumes": [{"Name": "db", "Mountpoint": data}], "Err": ""});
    assert_eq!(ok("List", "{}"), listed);
    let path = json!({"Mountpoint": data, "Err": ""});
    assert_eq!(ok("Path", named), path);
    assert_eq!(ok("Mount", r#"{"Name":"db","ID":"x"}"#), path);
    assert_eq!(ok("Unmount", r#"{"Name":"db","ID":"x"}"#), json!({"Err": ""}));
    assert_eq!(plugged.daemon.inspect("db")[0]["Mountpoint"], data);
    // There the engine finds what it mounts, and it is the host's.
    let scoped = data.strip_prefix("/mnt/volumes").unwrap();
    let plugin = format!("/run/engine/data/plugins/{}/propagated-mount", plugged.id());
    assert_eq!(plugged.inside(&format!("cat {plugin}{scoped}/file")), "bytes of db\n");
    // What the driver remembers of its host lies beside, where upgrades leave it.
    let state = plugged.inside(&format!("cd {plugin}/state && find . | sort"));
    assert_eq!(state, ".\n./root-id\n./seen\n./seen/db\n");
}
