use super::*;
use crate::archive::Reader;

#[test]
fn a_file_of_several_names_is_written_with_each_where_they_cannot_be_remembered() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["a", "b"] {
        std::fs::write(dir.path().join(file), "text").unwrap();
        std::fs::hard_link(dir.path().join(file), dir.path().join(format!("{file}2"))).unwrap();
    }
    let packing = Packing::open(dir.path()).unwrap();
    for (room, links) in [(REMEMBERED, 2), (50, 1), (0, 0)] {
        let mut archive = Vec::new();
        let moved = packing.write_within(room, &mut archive, false).unwrap();
        let told = if links == 2 { "" } else { SEVERAL };
        assert_eq!((moved.files, moved.left_out.to_string().as_str()), (5, told), "{room}");
        let mut archive = &archive[..];
        let mut reader = Reader::new(&mut archive);
        let mut found = 0;
        while let Some(entry) = reader.entry().unwrap() {
            match entry.kind {
                Kind::Link(_) => found += 1,
                Kind::File { size, .. } => assert_eq!(size, 4),
                kind => assert_eq!(kind, Kind::Dir),
            }
        }
        assert_eq!(found, links, "{room}");
    }
}
