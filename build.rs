//! Tells the linker what makes a start cheap, where it can be told.
//!
//! * A fixed address. A third of the instructions of `mcpipe --version`, and 80 of its 210 page faults, were the
//!   loader's: thirty thousand pointers in constant tables to be moved to where the program happens to lie. Linked
//!   at a fixed address there are none. Stack, heap and libraries lie at random addresses all the same; who wants
//!   that of the program too builds with `MCPIPE_PIE=1`.
//! * The functions that a short command runs side by side: 0.5 of 8 MB, else a page fault each (`benches/order`
//!   wrote the list, and reads the map that `MCPIPE_LINK_MAP` asks for).
//! * The unwinder within: `libgcc_s.so` would be one library more to find, map and initialise, for backtraces.

use std::env;
use std::path::Path;
use std::process::Command;

const ORDER: &str = "benches/link-order.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    for name in ["MCPIPE_PIE", "MCPIPE_LINK_MAP"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    if env::var_os("MCPIPE_PIE").is_none() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    let list = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join(ORDER);
    let order = [
        format!("-Wl,--symbol-ordering-file={}", list.display()),
        // What the list names and the program no longer has is no fault.
        "-Wl,--no-warn-symbol-ordering".to_owned(),
    ];
    if is("PROFILE", "release") && links_with(&order) {
        for arg in order {
            println!("cargo::rustc-link-arg-bins={arg}");
        }
    }
    if is("PROFILE", "release")
        && let Some(directory) = static_unwinder()
    {
        println!("cargo::rustc-link-search=native={directory}");
    }
    if let Ok(map) = env::var("MCPIPE_LINK_MAP") {
        println!("cargo::rustc-link-arg-bins=-Wl,-Map={map}");
    }
}

/// A directory in which the linker finds, under the name of the shared unwinder, the static one.
fn static_unwinder() -> Option<String> {
    let directory = format!("{}/unwinder", env::var("OUT_DIR").ok()?);
    std::fs::create_dir_all(&directory).ok()?;
    std::fs::write(format!("{directory}/libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n").ok()?;
    let search = [format!("-L{directory}"), "-lgcc_s".to_owned()];
    links_with(&search).then_some(directory)
}

/// Whether the linker that will be used can do with these arguments: it is asked to link nothing much with them.
fn links_with(args: &[String]) -> bool {
    let (Ok(rustc), Ok(target), Ok(out)) = (env::var("RUSTC"), env::var("TARGET"), env::var("OUT_DIR")) else {
        return false;
    };
    let out = Path::new(&out);
    let source = out.join("probe.rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let mut command = Command::new(rustc);
    command.args(["--target", &target, "--out-dir"]).arg(out).arg(&source);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    command.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    command.args(args.iter().map(|arg| format!("-Clink-arg={arg}")));
    command.output().is_ok_and(|output| output.status.success())
}
