//! The `mcpipe` command.

fn main() -> std::process::ExitCode {
    mcpipe::main()
}
