//! What is written in the examples, where nothing runs it here.

use std::fs;

/// Quadlet is younger than the Podman of these tests, so only the form is looked at.
#[test]
fn each_unit_of_quadlet_has_the_sections_and_the_names_of_the_other() {
    let read = |name: &str| fs::read_to_string(format!("examples/quadlet/{name}")).unwrap();
    let sections = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('[')).map(str::to_owned).collect()
    };
    let (volume, container) = (read("db.volume"), read("db.container"));
    assert_eq!(sections(&volume), ["[Unit]", "[Volume]"]);
    assert_eq!(sections(&container), ["[Unit]", "[Container]", "[Service]", "[Install]"]);
    assert!(container.contains("\nVolume=db.volume:/"), "{container}");
    for text in [&volume, &container] {
        let odd: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(['#', '[']) && !line.contains('='))
            .collect();
        assert_eq!(odd, Vec::<&str>::new());
    }
}
