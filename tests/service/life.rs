//! The life of a volume, over the wire and on the disk.

use crate::harness::Setup;

#[test]
fn a_volume_that_was_created_is_listed() {
    let setup = Setup::new();
    let serve = setup.serve();
    serve.create("a");
    assert_eq!(serve.names(), ["a"]);
    serve.stop();
}
