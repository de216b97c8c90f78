//! Files and directories that only this user can access.

use std::fs::DirBuilder;
use std::io;
use std::path::Path;

/// Does not follow symbolic links, and does not block on a named pipe.
#[cfg(unix)]
#[allow(clippy::cast_possible_wrap, reason = "the flags of open(2) are few low bits")]
pub const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits() as i32;

/// Creates a directory and its parents, accessible to this user only.
///
/// # Errors
/// If one of them cannot be created.
pub fn create_private_dir(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
