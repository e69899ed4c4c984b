//! Whose space is taken first.

use std::fs::File;
use std::io::Write;

use crate::expect::listing;
use crate::harness::eventually;
use crate::trash::{on_a_small_disk, removed};

/// A name as an engine makes one up: such a volume is deleted at once.
const ANONYMOUS: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

#[test]
fn what_is_removed_for_good_gives_its_space_before_the_trash_does() {
    on_a_small_disk(|setup, serve| {
        serve.create(ANONYMOUS);
        let data = setup.root().join("volumes").join(ANONYMOUS).join("data");
        let mut file = File::create(data.join("bytes")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);
        serve.remove(ANONYMOUS);
        let staging = setup.root().join("staging");
        eventually("its bytes are deleted", || listing(&staging).is_empty().then_some(()));
        assert_eq!(removed(&setup.root()), ["a", "b"]);
        // As is done for a Create that finds the disk full.
        serve.create("d");
        assert_eq!(removed(&setup.root()), ["a", "b"]);
    });
}
