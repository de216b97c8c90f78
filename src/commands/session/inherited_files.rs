//! Closes the files that the keeper of a session inherits from whoever ran the first command. Otherwise it would hold
//! their locks, and keep their pipes open, for as long as the session runs.

#![expect(unsafe_code, reason = "a descriptor that no part of this program opened has no owner to close it")]

/// Where the system lists the descriptors of this process.
const DESCRIPTORS: &str = "/dev/fd";

/// Closes every descriptor above standard error that was inherited. All that this program opens are closed by `exec`,
/// and inherited ones are not.
pub(super) fn close_inherited_files() {
    let names = std::fs::read_dir(DESCRIPTORS).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let numbers: Vec<i32> = names.filter_map(|name| name.to_str()?.parse().ok()).filter(|number| *number > 2).collect();
    for number in numbers {
        // SAFETY: a descriptor that is open, or was the one of the directory; only its flags are read.
        let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        let is_inherited =
            rustix::io::fcntl_getfd(descriptor).is_ok_and(|flags| !flags.contains(rustix::io::FdFlags::CLOEXEC));
        if is_inherited {
            // SAFETY: it was not opened by this process, so nothing in it owns the descriptor.
            unsafe { rustix::io::close(number) };
        }
    }
}
