//! What Prometheus' promtool says of the metrics, the alerts and the snippet.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::harness::{Client, Setup, get, project};
use crate::tools::{Said, promtool};

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let setup = Setup::new();
    let serve = setup.serve();
    for name in ["a", "b", "damaged"] {
        serve.create(name);
    }
    serve.remove("b");
    serve.ok("VolumeDriver.Mount", r#"{"Name":"a","ID":"x"}"#);
    fs::write(setup.root().join("volumes/damaged/volume.json"), "no record").unwrap();
    assert_eq!(serve.call("VolumeDriver.Get", r#"{"Name":"x"}"#).status, 404);
    assert_eq!(Client::connect(&serve.socket).call("VolumeDriver.Get", ""), None);
    let text = get(&serve.socket, "/metrics").body;
    for there in [
        "dirvol_trash_entries 1\n",
        "dirvol_errors_total{kind=\"no_such_volume\"} 1\n",
        "dirvol_volume_mounts{volume=\"a\"} 1\n",
        "dirvol_volume_health_status_abnormal{volume=\"damaged\"} 1\n",
    ] {
        assert!(text.contains(there), "{there}{text}");
    }
    let silent = Said { code: Some(0), stdout: String::new(), stderr: String::new() };
    assert_eq!(promtool(&["check", "metrics"], &text), silent);
    // Nor without a root, when some families have no samples.
    fs::rename(setup.root(), setup.path("away")).unwrap();
    serve.wait_unavailable();
    let text = get(&serve.socket, "/metrics").body;
    assert!(!text.contains("dirvol_filesystem_files{"), "{text}");
    assert_eq!(promtool(&["check", "metrics"], &text), silent);
    serve.stop();
}

#[test]
fn a_root_with_any_name_can_be_scraped() {
    let setup = Setup::new();
    // The path of a root is the one label that is not made of plain letters.
    let root = setup.path("a \"root\"\\with\nü{}");
    fs::create_dir(&root).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("serve").env("DIRVOL_ROOT", &root);
    command.env("DIRVOL_STATE_DIR", setup.state()).env("DIRVOL_SOCKET", setup.socket());
    let serve = setup.start_with(command);
    serve.wait_available();
    let text = get(&serve.socket, "/metrics").body;
    let root = json!(root.to_str().unwrap()).to_string();
    let files = format!("dirvol_filesystem_files{{root={root}}} ");
    assert!(text.contains(&files), "{files}\n{text}");
    let silent = Said { code: Some(0), stdout: String::new(), stderr: String::new() };
    assert_eq!(promtool(&["check", "metrics"], &text), silent);
    serve.stop();
}

#[test]
fn the_alerts_and_the_snippet_are_taken_as_they_are() {
    let said = promtool(&["check", "rules", "packaging/monitoring/alerts.yml"], "");
    let checked = "Checking packaging/monitoring/alerts.yml\n  SUCCESS: 12 rules found\n\n";
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), checked), "{said:?}");
    let said = promtool(&["check", "config", "packaging/monitoring/prometheus.yml"], "");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("SUCCESS: 1 rule files found"), "{said:?}");
    assert!(said.stdout.ends_with(checked), "{said:?}");
}

#[test]
fn each_alert_fires_when_it_must_and_says_what_to_do() {
    let said = promtool(&["test", "rules", "tests/monitoring/alerts_test.yml"], "");
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    // Each one does in some case, and stays silent in another.
    let alerts = fs::read_to_string(project("packaging/monitoring/alerts.yml"));
    let cases = fs::read_to_string(project("tests/monitoring/alerts_test.yml"));
    let (alerts, cases) = (alerts.unwrap(), cases.unwrap());
    let names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        let of_it = format!("alertname: {name}\n        exp_alerts:");
        assert!(cases.contains(&format!("{of_it}\n")), "{name} never fires");
        assert!(cases.contains(&format!("{of_it} []\n")), "{name} is never silent");
    }
}
