//! The image that containers are made from: busybox, and a directory with
//! content, an owner and a mode of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::Command;
use std::sync::OnceLock;

/// The applets that tests use.
const APPLETS: [&str; 11] =
    ["cat", "cp", "diff", "echo", "ls", "sh", "sleep", "stat", "top", "touch", "true"];

/// The image as a tar archive, made once for all tests.
pub fn busybox() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let dir = crate::harness::temporary();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("bin")).unwrap();
        fs::create_dir(at("tmp")).unwrap();
        fs::copy("/bin/busybox", at("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", at("bin").join(applet)).unwrap();
        }
        fs::create_dir(at("seeded")).unwrap();
        fs::write(at("seeded/greeting"), "hello from the image\n").unwrap();
        chown(at("seeded"), Some(7), Some(8)).unwrap();
        fs::set_permissions(at("seeded"), Permissions::from_mode(0o711)).unwrap();
        let tar = Command::new("tar").arg("-C").arg(dir.path()).args(["-c", "."]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        tar.stdout
    })
}
