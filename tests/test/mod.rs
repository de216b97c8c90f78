//! `test`: built-in checks of servers, and suites.

mod builtin_checks;
mod suites;
