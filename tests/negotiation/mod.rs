//! Finding the era and revision of a server.

mod era_behavior;
mod era_probe;
mod first_contact;
mod pinned_revision;
mod refused_revisions;
mod undeclared_capabilities;
