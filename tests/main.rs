//! The tests of the whole: the real binary, real processes, real sockets, in a world of their own.
//!
//! Each file is about one promise of the command line; `support` is what they stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails here has failed")]
#![allow(clippy::needless_pass_by_value, clippy::print_stdout, clippy::print_stderr, missing_docs)]
// Each helper is used by some file; which ones changes with the tests.
#![allow(dead_code)]

mod advice;
mod answers;
mod auth;
mod auth_checks;
mod auth_clients;
mod auth_flows;
mod auth_hostile;
mod auth_nonces;
mod auth_refresh;
mod auth_secrets;
mod auth_store;
mod batch;
mod call;
mod complete;
mod completion;
mod config;
mod config_changes;
mod config_files;
mod config_import;
mod config_policy;
mod config_secrets;
mod config_secrets_terminal;
mod config_trust;
mod cuts;
mod dashboard;
mod defaults;
mod encodings;
mod endings;
mod eras;
mod event_streams;
mod everything;
mod examples;
mod exit_codes;
mod faults;
mod faults_http;
mod fixtures;
mod for_models;
mod generated;
mod given_up;
mod identities;
mod ids;
mod inputs;
mod inputs_terminal;
mod jq;
mod layering;
mod list;
mod looks;
mod loopback;
mod names;
mod notifications;
mod pins;
mod probes;
mod prompt;
mod proxies;
mod read;
mod real;
mod real_auth;
mod redaction;
mod retries;
mod saving;
mod schemas;
mod sessions;
mod signals;
mod skills;
mod streams;
mod support;
mod task;
mod tls;
mod tool_use;
mod undeclared;
mod watch;
mod ways;
mod wire;
mod words;
