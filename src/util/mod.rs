//! Decisions that several parts share, each made in one place. They depend on no other part.

pub mod loopback;
