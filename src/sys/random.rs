//! Random bytes from the kernel.

use std::io;

use nix::libc;

/// Returns `N` bytes from getrandom(2). It needs no `/dev`, which a plugin's
/// root file system may lack.
///
/// # Errors
/// Whatever getrandom(2) says; after boot it does not fail for 256 bytes or less.
fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    const { assert!(N <= 256, "getrandom(2) may return less for longer requests") };
    let mut buffer = [0u8; N];
    // SAFETY: the pointer and the length are those of one live, writable array.
    let filled = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), N, 0) };
    match usize::try_from(filled) {
        Ok(length) if length == N => Ok(buffer),
        Ok(length) => Err(io::Error::other(format!("getrandom gave {length} of {N} bytes"))),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Returns 16 lower-case hexadecimal digits: a name that nobody else has taken.
///
/// # Errors
/// Those of getrandom(2).
pub fn token() -> io::Result<String> {
    Ok(hex(&bytes::<8>()?))
}

/// Returns a number, any of all that there are.
///
/// # Errors
/// Those of getrandom(2).
pub fn number() -> io::Result<u32> {
    bytes::<4>().map(u32::from_ne_bytes)
}

/// Returns a random (version 4) UUID in its usual form, as RFC 9562 lays it out.
///
/// # Errors
/// Those of getrandom(2).
pub fn uuid() -> io::Result<String> {
    let mut id = bytes::<16>()?;
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let text = hex(&id);
    Ok([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_version_and_variant_of_a_random_one() {
        let id = uuid().unwrap();
        let groups: Vec<&str> = id.split('-').collect();
        assert_eq!(groups.iter().map(|g| g.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(groups[2].starts_with('4'), "{id}");
        assert!(groups[3].starts_with(['8', '9', 'a', 'b']), "{id}");
        assert_ne!(id, uuid().unwrap());
    }

    #[test]
    fn a_token_is_sixteen_hexadecimal_digits() {
        let token = token().unwrap();
        assert_eq!(token.len(), 16);
        assert!(token.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
    }
}
