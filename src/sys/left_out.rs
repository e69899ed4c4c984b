//! Two functions of glibc that Rust's own library asks for, and that this program is better
//! without: in a static binary they bring glibc's loader, its scanf and its conversions of
//! character sets along, which is a tenth of the binary.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use nix::libc::{ENOSYS, pthread_attr_t, pthread_t};

/// Finds no symbol, as that of glibc finds none in a static binary that loads nothing. What
/// Rust's library looks for by it, it can do without.
#[unsafe(no_mangle)]
extern "C" fn dlsym(_library: *mut c_void, _name: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

/// Does not say where a thread's stack ends. Rust's library asks in order to tell a stack
/// overflow from other faults in its last message; the kernel stops either.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_thread: pthread_t, _attributes: *mut pthread_attr_t) -> c_int {
    ENOSYS
}
