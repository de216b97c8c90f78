//! `test`: built-in checks of servers, and suites.

mod builtin_checks;
mod locked;
pub mod reports;
mod suite_values;
mod suites;
