//! Links at a fixed address where a dynamic loader would else relocate the program at every start.
//!
//! A third of the instructions of `mcpipe --version`, and 80 of its 210 page faults, were the loader's: thirty
//! thousand pointers in constant tables to be moved to where the program happens to lie. Linked at a fixed
//! address there are none. Stack, heap and libraries lie at random addresses all the same; who wants that of the
//! program too builds with `MCPIPE_PIE=1`.

fn main() {
    println!("cargo::rerun-if-env-changed=MCPIPE_PIE");
    println!("cargo::rerun-if-env-changed=MCPIPE_LINK_MAP");
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    let gnu = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if gnu && std::env::var_os("MCPIPE_PIE").is_none() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    if let Ok(map) = std::env::var("MCPIPE_LINK_MAP") {
        println!("cargo::rustc-link-arg-bins=-Wl,-Map={map}");
    }
}
