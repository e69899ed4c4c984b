//! The header block: where its fields are, and how numbers stand in it.

use std::ops::Range;

use super::BLOCK;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
/// Of an old GNU sparse file: four pieces, whether more follow, and its real size.
pub(super) const PIECES: Range<usize> = 386..482;
pub(super) const MORE_PIECES: usize = 482;
pub(super) const REAL_SIZE: Range<usize> = 483..495;

/// What POSIX archives have as magic and version.
pub(super) const USTAR: &[u8; 8] = b"ustar\x0000";

/// One header block.
pub(super) type Header = [u8; BLOCK];

/// Returns the text of a field, which ends at a NUL or with the field.
pub(super) fn text(header: &Header, field: Range<usize>) -> &[u8] {
    let bytes = &header[field];
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Reads a number: octal digits with blanks around them, or GNU's bytes behind a bit.
/// An empty field is 0. `None` where it is no number.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, &byte) in field.iter().enumerate() {
            // The first bit says that these are bytes.
            let byte = if at == 0 && !negative { byte & 0x7f } else { byte };
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).ok();
    }
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let digits = field[..end].trim_ascii();
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Writes a number as octal digits, or returns `false` where they do not fit.
pub(super) fn put_number(field: &mut [u8], value: u64) -> bool {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    let fits = digits.len() < field.len();
    if fits {
        field[..digits.len()].copy_from_slice(digits.as_bytes());
    }
    fits
}

/// Returns the sum of a header's bytes, its own field counted as blanks.
pub(super) fn checksum(header: &Header) -> u32 {
    let byte =
        |(at, &byte): (usize, &u8)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { byte });
    header.iter().enumerate().map(byte).sum()
}

/// Returns whether a header's sum is the one it states. Some old programs added the
/// bytes with their signs.
pub(super) fn is_sound(header: &Header) -> bool {
    let Some(stated) = number(&header[CHECKSUM]) else { return false };
    let sum = i64::from(checksum(header));
    let negative = header.iter().enumerate();
    let negative = negative.filter(|(at, byte)| **byte >= 0x80 && !CHECKSUM.contains(at)).count();
    stated == sum || i64::try_from(negative).is_ok_and(|n| stated == sum - 256 * n)
}
