//! Finding the era and revision of a server.

mod era_behavior;
mod era_probe;
mod pinned_revision;
mod undeclared_capabilities;
