//! The configuration, its commands and imports.

pub mod bundles;
mod client_files;
mod commands;
mod edit_commands;
mod files;
mod import;
mod policy;
mod registry;
mod secrets;
mod secrets_terminal;
mod trust;
