//! How many series there are, whatever clients do: Prometheus keeps each of them.

use std::collections::BTreeSet;

use crate::harness::{Client, Serve, Setup, get};

const VOLUMES: usize = 1000;
const HOSTILE: usize = 2000;

/// The series that there always are: 16 for each of 25 endpoints, 18 kinds of
/// errors, 4 of the file system, 3 of the purges, and 8 alone.
const SERIES: usize = 16 * 25 + 18 + 4 + 3 + 8;

/// The series of each of the first 200 volumes.
const OF_VOLUMES: usize = 4 * 200;

/// The names and labels of all samples.
fn series(serve: &Serve) -> BTreeSet<String> {
    let text = get(&serve.socket, "/metrics").body;
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let keys: BTreeSet<String> =
        samples.iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(keys.len(), samples.len(), "a series is there twice:\n{text}");
    keys
}

#[test]
fn neither_volumes_nor_hostile_clients_make_more_series_than_was_said() {
    let setup = Setup::new().log_level("error");
    let serve = setup.serve();
    assert_eq!(series(&serve).len(), SERIES);
    let mut client = Client::connect(&serve.socket);
    for number in 0..VOLUMES {
        let body = format!(r#"{{"Name":"volume-{number:04}"}}"#);
        assert_eq!(client.call("VolumeDriver.Create", &body).unwrap().status, 200);
    }
    let before = series(&serve);
    assert_eq!(before.len(), SERIES + OF_VOLUMES);
    assert_eq!(serve.metric("dirvol_volumes_omitted", ""), 800);
    for number in 0..HOSTILE {
        let junk = format!("{number}\\\"}}\\n{{ü/../{number}");
        let (method, body) = match number % 8 {
            0 => (format!("VolumeDriver.Create{number}"), String::new()),
            1 => (format!("metrics/{number}?x={number}"), junk),
            2 => ("VolumeDriver.Create".into(), format!(r#"{{"Name":"{junk}"}}"#)),
            3 => ("VolumeDriver.Get".into(), format!(r#"{{"Name":"none-{number}"}}"#)),
            4 => ("VolumeDriver.Get".into(), junk),
            5 => (
                "VolumeDriver.Mount".into(),
                format!(r#"{{"Name":"volume-{:04}","ID":"{junk}"}}"#, number % 400),
            ),
            6 => (
                "VolumeDriver.Create".into(),
                format!(r#"{{"Name":"x","Opts":{{"option-{number}":"{junk}"}}}}"#),
            ),
            _ => {
                ("VolumeDriver.Unmount".into(), format!(r#"{{"Name":"y{number}","ID":"{junk}"}}"#))
            }
        };
        // A Get that makes no sense is not answered, and its connection closed.
        Client::connect(&serve.socket).call(&method, &body);
    }
    assert!(serve.metric("dirvol_requests_total", "") >= (VOLUMES + HOSTILE) as u64);
    assert_eq!(series(&serve), before);
    serve.stop();
}
