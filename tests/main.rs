//! Tests of the whole program: the real binary, real processes and sockets, in an isolated environment.
//!
//! Each folder holds the tests of one subject; `support` holds the scripted servers and the sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails here has failed")]
#![allow(clippy::needless_pass_by_value, clippy::print_stdout, clippy::print_stderr, missing_docs)]
// Which helpers are used depends on the tests that are compiled.
#![allow(dead_code)]

mod auth;
mod bridge;
mod call;
mod cli;
mod config;
mod fuzz;
mod layering;
mod list;
mod lock;
mod negotiation;
mod output;
mod process;
mod protocol_rules;
mod read;
mod real_servers;
mod recording;
mod repository;
mod session;
mod session_keeper;
mod support;
mod support_tests;
mod test;
mod transport;
