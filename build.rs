//! Links with packed relative relocations where the C library can apply them.
//!
//! A third of the instructions of `mcpipe --version` were the dynamic loader's, relocating pointers one by one;
//! packed (`DT_RELR`), they cost almost nothing. glibc has known them since 2.36; a binary that is to run on
//! an older one is built with `MCPIPE_PORTABLE=1`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=MCPIPE_PORTABLE");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    let native = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    let gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if native && gnu && std::env::var_os("MCPIPE_PORTABLE").is_none() && glibc_packs() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library of this machine is glibc 2.36 or newer.
fn glibc_packs() -> bool {
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let Some((major, minor)) = text.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.')) else {
        return false;
    };
    let minor = minor.split('.').next().unwrap_or_default();
    matches!((major.parse::<u32>(), minor.parse::<u32>()), (Ok(2), Ok(minor)) if minor >= 36)
        || major.parse::<u32>().is_ok_and(|major| major > 2)
}
