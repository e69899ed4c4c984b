//! What proc(5) says of a process.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ticks a second in `/proc/PID/stat`: USER_HZ, which is 100 wherever containers
/// run (time(7)).
const USER_HZ: u64 = 100;

/// The digits of a container's id.
const ID_LENGTH: usize = 64;

/// Returns the id of the container that the process `pid` runs in: 64 hexadecimal
/// digits, as Docker and Podman name the control groups of their containers, or
/// the directory of the files that they mount into them.
pub fn container(pid: u32) -> Option<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let in_groups = read("cgroup").and_then(|groups| find_id(&groups));
    in_groups.or_else(|| {
        let table = read("mountinfo")?;
        // The fifth field is where it is mounted.
        let own = |line: &&str| line.split(' ').nth(4) == Some("/etc/hostname");
        find_id(table.lines().find(own)?)
    })
}

/// Returns the path by which this process has the open `fd`: what is done to it is done
/// to the node that is open, also where that was opened with `O_PATH`.
pub fn descriptor_path(fd: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("digits hold no NUL")
}

/// Returns the name of the program that the process `pid` runs.
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Returns when the process `pid` was started, within a second.
pub fn started(pid: u32) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, which may hold anything.
    let after_name = stat.rsplit_once(") ")?.1;
    let ticks: u64 = after_name.split(' ').nth(19)?.parse().ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot = Duration::from_secs(boot.trim().parse().ok()?);
    UNIX_EPOCH.checked_add(boot + Duration::from_secs(ticks / USER_HZ))
}

/// Returns whether the processes of the host are visible. They are not in a
/// process namespace of one's own, such as that of a managed plugin: the kernel's
/// own threads live in the host's alone, and kthreadd is the second process there.
pub fn sees_the_host() -> bool {
    fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n")
}

/// Finds 64 hexadecimal digits between others.
fn find_id(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.into_iter().find(|word| word.len() == ID_LENGTH).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_id_is_found_in_its_control_groups() {
        let id = "0123456789abcdef".repeat(4);
        for groups in [
            format!("12:cpu:/\n11:memory:/docker/{id}\n"),
            format!("0::/system.slice/docker-{id}.scope\n"),
            format!("0::/machine.slice/libpod-{id}.scope/container\n"),
        ] {
            assert_eq!(find_id(&groups), Some(id.clone()), "{groups}");
        }
        for groups in ["0::/user.slice\n".to_owned(), format!("0::/docker/{id}0\n")] {
            assert_eq!(find_id(&groups), None, "{groups}");
        }
    }

    #[test]
    fn a_process_was_started_before_now_and_after_its_machine() {
        let started = started(std::process::id()).unwrap();
        assert!(started <= SystemTime::now() + Duration::from_secs(1));
        assert!(started >= super::started(1).unwrap());
    }

    #[test]
    fn a_process_that_is_none_was_never_started_and_is_in_no_container() {
        assert_eq!(started(u32::MAX), None);
        assert_eq!(container(u32::MAX), None);
    }
}
