//! What a target is: a word of the command line, resolved to an endpoint and the rules that go with it.

use std::time::Duration;

use crate::protocol::revision::Pin;
use crate::transport::Endpoint;

/// A server, ready to be connected to.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the user named it: a configured name, a URL, or a command line.
    pub name: String,
    /// Whether the name is one of the configuration.
    pub configured: bool,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which revisions may be spoken.
    pub protocol: Pin,
    /// The configured time to wait for an answer; `Some(ZERO)` waits for ever.
    pub timeout: Option<Duration>,
    /// The configured time for start and negotiation; `Some(ZERO)` waits for ever.
    pub connect_timeout: Option<Duration>,
    /// Configured roots: directories or `file://` URIs.
    pub roots: Vec<String>,
    /// Which tools may be seen and called, and when to ask.
    pub policy: Policy,
}

/// Rules for the tools of one server.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Globs of the tools that may be used; all where `None`.
    pub allow_tools: Option<Vec<String>>,
    /// Globs of the tools that may not.
    pub deny_tools: Vec<String>,
    /// When a call needs consent.
    pub confirm: Confirm,
}

/// When a call needs consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// Never.
    #[default]
    Never,
    /// When the tool is not known to be harmless.
    Destructive,
    /// Always.
    Always,
}
