//! Who holds a lock of flock(2), as proc_locks(5) shows it. Asking takes no lock,
//! so nobody who wants it meanwhile is refused.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::stat::fstat;

use super::mountinfo;

/// Returns the processes that hold a lock of flock(2) on an open file. One that
/// lives in a process namespace which is not visible from here is not shown.
///
/// # Errors
/// `/proc` does not say.
pub fn holders(file: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    // The device is that of the file system, as in mountinfo; on btrfs, stat(2) says
    // another one.
    let device = mountinfo::locate(file)?.device().to_owned();
    let inode = fstat(file)?.st_ino;
    let table = fs::read_to_string("/proc/locks")?;
    Ok(table.lines().filter_map(|line| holder(line, &device, inode)).collect())
}

/// Reads one line: `number: FLOCK ADVISORY WRITE pid major:minor:inode start end`.
/// Those who wait for a lock have an arrow behind the number.
fn holder(line: &str, device: &str, inode: u64) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let mut file = fields.next()?.split(':');
    let mut number = || u32::from_str_radix(file.next()?, 16).ok();
    let locked = format!("{}:{}", number()?, number()?);
    (locked == device && file.next()?.parse() == Ok(inode)).then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_line_is_read_as_the_kernel_writes_it() {
        let held = |line| holder(line, "254:10", 300);
        assert_eq!(held("3: FLOCK  ADVISORY  WRITE 17 fe:0a:300 0 EOF"), Some(17));
        for line in [
            "",
            "3: POSIX  ADVISORY  WRITE 17 fe:0a:300 0 EOF",
            "3: -> FLOCK  ADVISORY  WRITE 17 fe:0a:300 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 17 fe:0a:301 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 17 fe:0b:300 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 17 <none>:0 0 EOF",
        ] {
            assert_eq!(held(line), None, "{line}");
        }
    }

    #[test]
    fn whoever_holds_the_lock_is_found_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::open(dir.path()).unwrap();
        assert_eq!(holders(file.as_fd()).unwrap(), [0u32; 0]);
        file.lock().unwrap();
        assert_eq!(holders(file.as_fd()).unwrap(), [std::process::id()]);
    }
}
