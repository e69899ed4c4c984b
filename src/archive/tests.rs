use std::io::{self, Cursor, Read};

use proptest::prelude::*;

use super::*;

fn entry(path: &str, kind: Kind) -> Entry {
    let mtime = Time { seconds: 981_173_106, nanoseconds: 123_456_789 };
    Entry { path: path.into(), kind, mode: 0o640, uid: 1, gid: 2, mtime, xattrs: Vec::new() }
}

/// Writes entries, with `x` for each byte of their data.
fn written(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    for entry in entries {
        writer.entry(entry).unwrap();
        if let Kind::File { pieces, .. } = &entry.kind {
            for piece in pieces {
                writer.data(&vec![b'x'; usize::try_from(piece.len).unwrap()]).unwrap();
            }
        }
    }
    writer.finish().unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut bytes = Cursor::new(bytes);
    let mut reader = Reader::new(&mut bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry()? {
        if let Kind::File { pieces, .. } = &entry.kind {
            reader.data::<Error>(pieces, |_, bytes| {
                assert!(bytes.iter().all(|&byte| byte == b'x'));
                Ok(())
            })?;
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back() {
    let long = "n".repeat(300);
    let whole = |len| Kind::File { size: len, pieces: vec![Piece { at: 0, len }] };
    let holes = vec![Piece { at: 4096, len: 512 }, Piece { at: 1 << 40, len: 7 }];
    let entries = [
        entry("./", Kind::Dir),
        entry("./a", whole(0)),
        entry("./b", whole(513)),
        entry(&long, whole(1)),
        entry("./link", Kind::Link(long.clone().into())),
        entry("./symlink", Kind::Symlink(long.into())),
        entry("./fifo", Kind::Fifo),
        entry("./char", Kind::Char(1, 3)),
        entry("./block", Kind::Block(4095, 1_048_575)),
        entry("./holes", Kind::File { size: (1 << 40) + 7, pieces: holes }),
        Entry { uid: 3_000_000, gid: u32::MAX - 1, ..entry("./owner", whole(1)) },
        Entry { mtime: Time { seconds: -2, nanoseconds: 1 }, ..entry("./old", Kind::Fifo) },
        Entry { mtime: Time { seconds: -2, nanoseconds: 0 }, ..entry("./older", Kind::Fifo) },
        Entry {
            xattrs: vec![(b"user.%3D=b".to_vec(), b"\0\n\xff".to_vec())],
            ..entry("x", whole(1))
        },
    ];
    let bytes = written(&entries);
    assert_eq!(bytes.len() % BLOCK, 0);
    assert_eq!(read(&bytes).unwrap(), entries);
}

#[test]
fn a_file_that_ends_with_a_hole_keeps_its_length() {
    let pieces = vec![Piece { at: 0, len: 5 }];
    let bytes = written(&[entry("a", Kind::File { size: 1 << 20, pieces: pieces.clone() })]);
    let pieces = [pieces, vec![Piece { at: 1 << 20, len: 0 }]].concat();
    assert_eq!(read(&bytes).unwrap(), [entry("a", Kind::File { size: 1 << 20, pieces })]);
}

#[test]
fn an_archive_without_its_end_is_refused_wherever_it_is_cut() {
    let file = Kind::File { size: 700, pieces: vec![Piece { at: 0, len: 700 }] };
    let bytes = written(&[entry(&"n".repeat(150), file), entry("b", Kind::Dir)]);
    for end in BLOCK..=bytes.len() - 2 * BLOCK {
        let why = refusal(&bytes[..end]);
        assert!(why.starts_with("the archive is cut off after "), "{end}: {why}");
    }
    for start in [&b""[..], &bytes[..BLOCK - 1]] {
        assert_eq!(refusal(start), "the archive is empty, or cut off in its first block");
    }
    // GNU tar too is content with one of the two blocks.
    assert_eq!(read(&bytes[..bytes.len() - BLOCK]).unwrap().len(), 2);
}

#[test]
fn what_is_no_archive_is_called_what_it_is() {
    let mut damaged = written(&[entry("a", Kind::Dir), entry("b", Kind::Dir)]);
    // The first entry has a pax header, for its nanoseconds.
    damaged[3 * BLOCK + 5] ^= 1;
    let twice = [written(&[entry("a", Kind::Fifo)]), written(&[entry("b", Kind::Fifo)])].concat();
    let padded = |magic: &[u8]| [magic, &[b'x'; BLOCK]].concat();
    let compressed = |with: &str, undo: &str| {
        format!(
            "the archive is compressed with {with}; undo that on the way, as in '{undo} FILE | \
             dirvol import NAME -'"
        )
    };
    let cases = [
        (padded(b"\x1f\x8b\x08"), compressed("gzip", "zcat")),
        (padded(b"\x28\xb5\x2f\xfd"), compressed("zstd", "zstdcat")),
        (padded(b"\xfd7zXZ\0"), compressed("xz", "xzcat")),
        (padded(b"BZh9"), compressed("bzip2", "bzcat")),
        (padded(b"hello"), "this is not a tar archive".to_owned()),
        (
            damaged,
            "at byte 2048: this is not the head of an entry: the archive is damaged".to_owned(),
        ),
        (
            twice,
            "at byte 2048: something follows the end of the archive: if these are several archives, \
             import each by itself"
                .to_owned(),
        ),
    ];
    for (bytes, why) in cases {
        assert_eq!(refusal(&bytes), why);
    }
}

#[test]
fn what_is_remembered_of_an_entry_stays_bounded_however_many_headers_it_has() {
    let value = vec![b'x'; 600 << 10];
    let whole = |name: &str| {
        let xattrs = vec![(name.into(), value.clone())];
        written(&[Entry { xattrs, ..entry("a", Kind::Fifo) }])
    };
    // Without the entry's own block, and the two that end an archive.
    let head = |name: &str| {
        let bytes = whole(name);
        bytes[..bytes.len() - 3 * BLOCK].to_vec()
    };
    let for_all = |name: &str| {
        let mut bytes = head(name);
        let block: &mut header::Header = (&mut bytes[..BLOCK]).try_into().unwrap();
        block[header::TYPE] = b'g';
        let sum = format!("{:06o}\0 ", header::checksum(block));
        block[header::CHECKSUM].copy_from_slice(sum.as_bytes());
        bytes
    };
    assert_eq!(read(&whole("user.a")).unwrap().len(), 1);
    let at = head("user.a").len() + BLOCK;
    let why = format!("at byte {at}: a pax header or a name is too long");
    assert_eq!(refusal(&[head("user.a"), whole("user.b")].concat()), why);
    assert_eq!(refusal(&[for_all("user.a"), whole("user.b")].concat()), why);
    assert_eq!(refusal(&[for_all("user.a"), for_all("user.b")].concat()), why);
    let between = written(&[entry("a", Kind::Fifo)]);
    let between = &between[..between.len() - 2 * BLOCK];
    let at = at + between.len();
    let why = format!("at byte {at}: a pax header or a name is too long");
    assert_eq!(refusal(&[&for_all("user.a"), between, &for_all("user.b")].concat()), why);
}

fn kind() -> impl Strategy<Value = Kind> {
    let path = proptest::collection::vec(1u8..=255, 1..300);
    let pieces = proptest::collection::vec((0u64..5000, 1u64..5000), 0..6);
    let file = (pieces, 1u64..100).prop_map(|(gaps, end)| {
        let mut at = 0;
        let pieces: Vec<Piece> = gaps
            .into_iter()
            .map(|(gap, len)| {
                at += gap + len;
                Piece { at: at - len, len }
            })
            .collect();
        match pieces.len() {
            // Without a hole the one piece is the file.
            0 => Kind::File { size: end, pieces: vec![Piece { at: 0, len: end }] },
            _ => Kind::File { size: at, pieces },
        }
    });
    prop_oneof![
        Just(Kind::Dir),
        Just(Kind::Fifo),
        path.clone().prop_map(Kind::Link),
        path.prop_map(Kind::Symlink),
        (0u32..4096, 0u32..1_048_576).prop_map(|(major, minor)| Kind::Char(major, minor)),
        (0u32..4096, 0u32..1_048_576).prop_map(|(major, minor)| Kind::Block(major, minor)),
        file,
    ]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let path = proptest::collection::vec(1u8..=255, 1..300);
    let name = "[a-z.]{1,20}".prop_map(String::into_bytes);
    let xattrs = proptest::collection::vec(any::<u8>(), 0..50);
    let xattrs = proptest::collection::btree_map(name, xattrs, 0..3);
    let time = (any::<i64>().prop_map(|s| s / 2), 0u32..1_000_000_000);
    (path, kind(), 0u32..0o10000, 0..u32::MAX, 0..u32::MAX, time, xattrs).prop_map(
        |(mut path, kind, mode, uid, gid, (seconds, nanoseconds), xattrs)| {
            // A regular file with such a name is a directory of the oldest archives.
            path.push(b'.');
            let mtime = Time { seconds, nanoseconds };
            let xattrs = xattrs.into_iter().collect();
            Entry { path, kind, mode, uid, gid, mtime, xattrs }
        },
    )
}

proptest! {
    #[test]
    fn every_entry_is_read_back_as_it_was_written(
        entries in proptest::collection::vec(any_entry(), 0..5)
    ) {
        prop_assert_eq!(read(&written(&entries)).unwrap(), entries);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let _any = passed_over(&bytes);
    }

    #[test]
    fn no_change_of_an_archive_makes_the_reader_panic(
        entries in proptest::collection::vec(any_entry(), 1..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = written(&entries);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // With a sum that is right it is read on.
            let start = at / BLOCK * BLOCK;
            let block: &mut header::Header = (&mut bytes[start..start + BLOCK]).try_into().unwrap();
            let sum = format!("{:06o}\0 ", header::checksum(block));
            if block[header::MAGIC].starts_with(b"ustar") {
                block[header::CHECKSUM].copy_from_slice(sum.as_bytes());
            }
        }
        let _any = passed_over(&bytes);
    }
}

/// Reads an archive without its data.
fn passed_over(bytes: &[u8]) -> Result<(), Error> {
    let mut bytes = Cursor::new(bytes);
    let mut reader = Reader::new(&mut bytes);
    while reader.entry()?.is_some() {}
    Ok(())
}

#[test]
fn an_archive_that_is_followed_by_zeros_without_end_is_refused() {
    let bytes = written(&[entry("a", Kind::Fifo)]);
    let read_all = |zeros: u64| {
        let mut from = bytes.as_slice().chain(io::repeat(0).take(zeros));
        let mut reader = Reader::new(&mut from);
        assert!(reader.entry().unwrap().is_some());
        reader.entry().map(|entry| entry.is_none()).map_err(|error| error.to_string())
    };
    assert_eq!(read_all(32 << 20), Ok(true));
    let why = read_all(u64::MAX).unwrap_err();
    assert!(why.ends_with("zeros follow the end of the archive, and do not end"), "{why}");
}
