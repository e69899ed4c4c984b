//! The names in the state directory, where they could not be brought in line.

use std::fs;

use crate::operations::{OPERATIONS, Operation};
use crate::world::World;

#[test]
fn names_that_could_not_be_brought_in_line_with_the_root_are_so_at_the_next_look() {
    let open: &Operation = OPERATIONS.iter().find(|operation| operation.name == "open").unwrap();
    let world = World::before(open);
    let (seen, aside) = (world.setup.state().join("seen"), world.setup.state().join("aside"));
    // It came behind the driver's back.
    fs::remove_file(seen.join("neighbour")).unwrap();
    world.open();
    fs::rename(&seen, &aside).unwrap();
    fs::write(&seen, "").unwrap();
    let failed = world.driver().collect().failed;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].starts_with("the names in the state directory: "), "{failed:?}");
    fs::remove_file(&seen).unwrap();
    fs::rename(&aside, &seen).unwrap();
    assert_eq!(world.names(&seen), ["a"]);
    let failed = world.driver().collect().failed;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(world.names(&seen), ["a", "neighbour"]);
}
