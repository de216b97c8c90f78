//! Gives the memory of the code of an idle keeper back to the system.
//!
//! Most of what a keeper has in RAM is code that only its start needed: the kernel maps 64 KiB around each page that is
//! used. The file stays in the page cache, from which the kernel maps again what is needed later.

#![expect(unsafe_code, reason = "a mapping that the system made has no owner to unmap its pages")]

use std::ffi::c_void;
use std::ptr::without_provenance_mut;

use rustix::mm::{Advice, madvise};

/// Unmaps the pages of the code of this process and of its libraries; they are mapped again when they are used.
pub(super) fn release() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(code_range) {
        let start: *mut c_void = without_provenance_mut(start);
        // SAFETY: code is mapped from a file, cannot be written to, and is the same when it is read again from that
        // file.
        let _ = unsafe { madvise(start, length, Advice::LinuxDontNeed) };
    }
}

/// The address and the length of a mapping of proc_pid_maps(5), if it is a file's, executable and not writable.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    is_code.then(|| (start, end.saturating_sub(start)))
}

#[cfg(test)]
mod tests {
    use super::code_range;

    #[test]
    fn only_code_that_comes_from_a_file_is_released() {
        let line = "7ff30fc02000-7ff310690000 r-xp 00002000 fe:00 1321 /usr/local/bin/my tool";
        assert_eq!(code_range(line), Some((0x7ff3_0fc0_2000, 0xa8_e000)));
        for line in [
            "7ff310690000-7ff310966000 r--p 00a90000 fe:00 1321 /usr/local/bin/mcpipe",
            "7ff310966000-7ff3109c7000 rwxp 00d66000 fe:00 1321 /usr/local/bin/mcpipe",
            "7ff310aef000-7ff310af1000 r-xp 00000000 00:00 0    [vdso]",
            "7ff310aef000-7ff310af1000 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code_range(line), None, "{line}");
        }
    }
}
