//! The `mcpipe` command.
//!
//! On Linux the C library calls us, not Rust's own start: that one has the C library read `/proc/self/maps` for the
//! bounds of the stack, to tell an overflow from another bad access, and that is a quarter of `mcpipe --version`.
//! What else it does is done here.

#![cfg_attr(all(target_os = "linux", target_env = "gnu"), no_main)]

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(mcpipe::main())
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library knows its functions by their bare names, and signals by numbers")]
mod start {
    use std::ffi::{c_char, c_int};
    use std::fs::File;
    use std::os::fd::IntoRawFd;

    use rustix::io::fcntl_getfd;
    use rustix::stdio::{stderr, stdin, stdout};

    /// What the C library calls. The arguments are kept by the standard library, which is told of them as well.
    #[unsafe(no_mangle)]
    extern "C" fn main(_count: c_int, _words: *const *const c_char) -> c_int {
        // A reader that is gone is a failed write, not the end of the process (`Class::ClosedPipe`).
        // SAFETY: no other thread runs yet, and ignoring a signal calls nothing of ours.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        // A stream that the caller has closed must not be a file that is opened later: the lowest number that is
        // free is given to the next one.
        for stream in [stdin(), stdout(), stderr()] {
            if fcntl_getfd(stream).is_err()
                && let Ok(nothing) = File::options().read(true).write(true).open("/dev/null")
            {
                let _ = nothing.into_raw_fd();
            }
        }
        // Not a return: this flushes what Rust holds back.
        std::process::exit(c_int::from(mcpipe::main()))
    }
}
