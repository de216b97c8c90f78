//! `test`: built-in checks of servers.

mod builtin_checks;
