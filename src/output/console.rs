//! The console of Windows: its width, and modes that other terminals have by default.
#![expect(unsafe_code, reason = "the console is known to the system alone; each call gets a handle of this process")]

use std::io::{Error, Result};
use std::os::windows::io::AsRawHandle as _;
use std::ptr::from_mut;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_ECHO_INPUT, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode,
    GetConsoleScreenBufferInfo, SetConsoleMode,
};

/// A stream that may be a console.
#[derive(Clone, Copy)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn handle(self) -> HANDLE {
        match self {
            Stream::Stdout => std::io::stdout().as_raw_handle(),
            Stream::Stderr => std::io::stderr().as_raw_handle(),
        }
    }
}

/// Its columns.
#[must_use]
pub fn width(stream: Stream) -> Option<usize> {
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the handle is that of a standard stream, and the result has the size of the structure.
    let done = unsafe { GetConsoleScreenBufferInfo(stream.handle(), from_mut(&mut info)) };
    let columns = i32::from(info.srWindow.Right) - i32::from(info.srWindow.Left) + 1;
    (done != 0).then(|| usize::try_from(columns).unwrap_or_default())
}

/// Enables escape sequences; whether they are understood.
#[must_use]
pub fn understand_escapes(stream: Stream) -> bool {
    let handle = stream.handle();
    // A terminal that is not a console (MSYS2, Cygwin) is a pipe, and understands them.
    let Ok(mode) = mode(handle) else { return true };
    mode & ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0
        || set_mode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING).is_ok()
}

/// Turns echo on again when it is dropped.
pub struct HiddenInput {
    before: u32,
}

impl HiddenInput {
    /// Turns echo off.
    ///
    /// # Errors
    /// If standard input is not a console.
    pub fn begin() -> Result<Self> {
        let handle = std::io::stdin().as_raw_handle();
        let before = mode(handle)?;
        set_mode(handle, before & !ENABLE_ECHO_INPUT)?;
        Ok(HiddenInput { before })
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        let _ = set_mode(std::io::stdin().as_raw_handle(), self.before);
    }
}

fn mode(handle: HANDLE) -> Result<u32> {
    let mut mode = 0;
    // SAFETY: the handle is that of a standard stream, and the result is a number.
    if unsafe { GetConsoleMode(handle, from_mut(&mut mode)) } == 0 {
        return Err(Error::last_os_error());
    }
    Ok(mode)
}

fn set_mode(handle: HANDLE, mode: u32) -> Result<()> {
    // SAFETY: the handle is that of a standard stream.
    if unsafe { SetConsoleMode(handle, mode) } == 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
