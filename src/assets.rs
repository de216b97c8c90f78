//! What is generated from the clap definitions and shipped with the binary: man pages and completions.
//!
//! The files are committed under `man/` and `completions/`; `UPDATE=1 cargo test generated` rewrites them,
//! and the same test without `UPDATE` holds them equal to the parser.

use crate::cli::Shell;

/// The completion script of a shell, as `completions/` holds it.
#[must_use]
pub fn completion_script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("../completions/mcpipe.bash"),
        Shell::Elvish => include_str!("../completions/mcpipe.elv"),
        Shell::Fish => include_str!("../completions/mcpipe.fish"),
        Shell::Nushell => include_str!("../completions/mcpipe.nu"),
        Shell::PowerShell => include_str!("../completions/mcpipe.ps1"),
        Shell::Zsh => include_str!("../completions/_mcpipe"),
    }
}

/// Every manual page: the command it describes (empty for `mcpipe` itself; those that end in `.5` are file formats) and
/// its text, as `man/` holds it.
pub const MAN_PAGES: &[(&str, &str)] = &[
    ("", include_str!("../man/mcpipe.1")),
    ("list", include_str!("../man/mcpipe-list.1")),
    ("lock", include_str!("../man/mcpipe-lock.1")),
    ("bridge", include_str!("../man/mcpipe-bridge.1")),
    ("call", include_str!("../man/mcpipe-call.1")),
    ("read", include_str!("../man/mcpipe-read.1")),
    ("replay", include_str!("../man/mcpipe-replay.1")),
    ("prompt", include_str!("../man/mcpipe-prompt.1")),
    ("request", include_str!("../man/mcpipe-request.1")),
    ("session", include_str!("../man/mcpipe-session.1")),
    ("session-start", include_str!("../man/mcpipe-session-start.1")),
    ("session-list", include_str!("../man/mcpipe-session-list.1")),
    ("session-stop", include_str!("../man/mcpipe-session-stop.1")),
    ("session-logs", include_str!("../man/mcpipe-session-logs.1")),
    ("task", include_str!("../man/mcpipe-task.1")),
    ("task-get", include_str!("../man/mcpipe-task-get.1")),
    ("task-wait", include_str!("../man/mcpipe-task-wait.1")),
    ("task-cancel", include_str!("../man/mcpipe-task-cancel.1")),
    ("task-list", include_str!("../man/mcpipe-task-list.1")),
    ("suite.5", include_str!("../man/mcpipe-suite.5")),
    ("test", include_str!("../man/mcpipe-test.1")),
    ("auth", include_str!("../man/mcpipe-auth.1")),
    ("auth-login", include_str!("../man/mcpipe-auth-login.1")),
    ("auth-logout", include_str!("../man/mcpipe-auth-logout.1")),
    ("auth-status", include_str!("../man/mcpipe-auth-status.1")),
    ("auth-token", include_str!("../man/mcpipe-auth-token.1")),
    ("auth-import", include_str!("../man/mcpipe-auth-import.1")),
    ("config", include_str!("../man/mcpipe-config.1")),
    ("config.5", include_str!("../man/mcpipe-config.5")),
    ("config-list", include_str!("../man/mcpipe-config-list.1")),
    ("config-get", include_str!("../man/mcpipe-config-get.1")),
    ("config-add", include_str!("../man/mcpipe-config-add.1")),
    ("config-remove", include_str!("../man/mcpipe-config-remove.1")),
    ("config-rename", include_str!("../man/mcpipe-config-rename.1")),
    ("config-secret", include_str!("../man/mcpipe-config-secret.1")),
    ("config-secret-set", include_str!("../man/mcpipe-config-secret-set.1")),
    ("config-secret-remove", include_str!("../man/mcpipe-config-secret-remove.1")),
    ("config-secret-list", include_str!("../man/mcpipe-config-secret-list.1")),
    ("config-path", include_str!("../man/mcpipe-config-path.1")),
    ("config-check", include_str!("../man/mcpipe-config-check.1")),
    ("config-schema", include_str!("../man/mcpipe-config-schema.1")),
    ("config-trust", include_str!("../man/mcpipe-config-trust.1")),
    ("config-edit", include_str!("../man/mcpipe-config-edit.1")),
    ("config-import", include_str!("../man/mcpipe-config-import.1")),
    ("completions", include_str!("../man/mcpipe-completions.1")),
    ("man", include_str!("../man/mcpipe-man.1")),
];

/// How agents with a shell use mcpipe.
pub const SKILL: &str = include_str!("../docs/SKILL.md");

/// The manual page of a command.
#[must_use]
pub fn man_page(command: &str) -> Option<&'static str> {
    MAN_PAGES.iter().find(|(name, _)| *name == command).map(|(_, text)| *text)
}
