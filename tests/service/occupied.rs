//! A name that is held for long, by an import that does not come to its end.

use std::io::Write;
use std::os::unix::net::UnixStream;

use crate::expect::failed;
use crate::harness::{DONE, Setup, eventually};

#[test]
fn who_waits_for_a_name_that_an_import_holds_is_told_in_time_and_others_are_served() {
    let setup = Setup::new();
    let serve = setup.serve();
    let mut half = UnixStream::connect(setup.socket()).unwrap();
    let head = "POST /Dirvol.Import HTTP/1.1\r\nHost: x\r\nContent-Length: 10240\r\n\
                Dirvol-Request: {\"Name\":\"db\"}\r\n\r\n";
    half.write_all(head.as_bytes()).unwrap();
    eventually("the import has begun", || {
        (setup.root().join("staging").read_dir().unwrap().count() == 1).then_some(())
    });
    let create = |name: &str| {
        let body = format!("{{\"Name\":{name:?}}}");
        serve.call("VolumeDriver.Create", &body)
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| create("db"));
        assert_eq!(create("other").body, DONE);
        let why = "volume db: another operation on it has not ended after 40 s, such as an \
                   import; try again when it has";
        assert_eq!(waiting.join().unwrap(), failed(503, why));
    });
    drop(half);
    eventually("the name is free", || (create("db").status == 200).then_some(()));
    assert_eq!(serve.names(), ["db", "other"]);
    serve.stop();
}
