//! What the client said about itself, in either era, to be repeated to servers.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::wire::{ClientMessage, MessageKind, member_text};
use crate::protocol::revision::Revision;
use crate::protocol::{meta, method};
use crate::session::era::client_info;
use crate::util::lock::lock;

/// What the client said about itself.
#[derive(Default)]
pub struct ClientIntroduction(Mutex<IntroductionState>);

#[derive(Default)]
struct IntroductionState {
    is_modern: bool,
    /// The parameters of `initialize`.
    initialize: Option<String>,
    /// Whether the client sent `notifications/initialized`.
    is_initialized: bool,
    /// `clientInfo`, as JSON.
    info: Option<String>,
    /// The capabilities, as JSON.
    capabilities: Option<String>,
    /// The revision of modern requests.
    revision: Option<String>,
    /// The minimum level of log messages.
    log_level: Option<String>,
}

impl ClientIntroduction {
    /// The result of `server/discover` for a modern client.
    #[must_use]
    pub fn discover_result(capabilities: Value, info: Value, instructions: Option<Value>) -> Value {
        let result = json!({
            "resultType": "complete",
            "supportedVersions": [Revision::LATEST_MODERN.as_str()],
            "capabilities": capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {meta::SERVER_INFO: info},
        });
        with_instructions(result, instructions)
    }

    /// The result of `initialize`, with the revision that the client asked for, if it can be agreed on.
    #[must_use]
    pub fn initialize_result(&self, capabilities: Value, info: Value, instructions: Option<Value>) -> Value {
        let asked = self.asked_revision().filter(|revision| !revision.is_modern());
        let revision = asked.unwrap_or(Revision::LATEST_LEGACY).as_str();
        let result = json!({"protocolVersion": revision, "capabilities": capabilities, "serverInfo": info});
        with_instructions(result, instructions)
    }

    /// Takes what a message says about the client.
    pub fn observe(&self, message: &ClientMessage) {
        match &message.kind {
            MessageKind::Request(name) if name == method::INITIALIZE => {
                let text = |member: &str| message.param(&[member]).map(ToOwned::to_owned);
                let state = IntroductionState {
                    initialize: message.params().map(ToOwned::to_owned),
                    info: text("clientInfo"),
                    capabilities: text("capabilities"),
                    ..IntroductionState::default()
                };
                *lock(&self.0) = state;
            }
            MessageKind::Notification(name) if name == method::INITIALIZED => lock(&self.0).is_initialized = true,
            MessageKind::Request(_) => self.observe_meta(message),
            MessageKind::Notification(_) | MessageKind::Response => {}
        }
    }

    fn observe_meta(&self, message: &ClientMessage) {
        let Some(all) = message.param(&["_meta"]) else { return };
        let Some(revision) = member_text(all, meta::PROTOCOL_VERSION) else { return };
        let mut state = lock(&self.0);
        state.is_modern = true;
        state.revision = Some(revision.to_owned());
        for (key, kept) in [(meta::CLIENT_INFO, 0), (meta::CLIENT_CAPABILITIES, 1)] {
            if let Some(value) = member_text(all, key) {
                let place = if kept == 0 { &mut state.info } else { &mut state.capabilities };
                *place = Some(value.to_owned());
            }
        }
    }

    /// Whether the client identifies itself in each request (2026-07-28).
    #[must_use]
    pub fn is_modern(&self) -> bool {
        lock(&self.0).is_modern
    }

    /// Whether the client itself completes the handshake.
    #[must_use]
    pub fn has_handshake(&self) -> bool {
        lock(&self.0).initialize.is_some()
    }

    /// Whether the client has completed the handshake.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        lock(&self.0).is_initialized
    }

    /// The parameters of `initialize`: the client's own, or made from what it said.
    #[must_use]
    pub fn initialize_params(&self) -> String {
        let state = lock(&self.0);
        if let Some(params) = &state.initialize {
            return params.clone();
        }
        let capabilities = state.capabilities.clone().unwrap_or_else(|| "{}".to_owned());
        let info = state.info.clone().unwrap_or_else(|| client_info().to_string());
        let revision = Value::from(Revision::LATEST_LEGACY.as_str());
        format!(r#"{{"protocolVersion":{revision},"capabilities":{capabilities},"clientInfo":{info}}}"#)
    }

    /// The revision that the client asked for in `initialize`.
    #[must_use]
    pub fn asked_revision(&self) -> Option<Revision> {
        let state = lock(&self.0);
        let asked: String = serde_json::from_str(member_text(state.initialize.as_deref()?, "protocolVersion")?).ok()?;
        Revision::parse(&asked)
    }

    /// The members of `_meta` that identify the client in a modern request.
    #[must_use]
    pub fn identity(&self) -> String {
        let state = lock(&self.0);
        let revision = state.revision.clone().unwrap_or_else(|| json!(Revision::LATEST_MODERN.as_str()).to_string());
        let info = state.info.clone().unwrap_or_else(|| client_info().to_string());
        let capabilities = state.capabilities.clone().unwrap_or_else(|| "{}".to_owned());
        let mut members = format!(
            r#""{}":{revision},"{}":{info},"{}":{capabilities}"#,
            meta::PROTOCOL_VERSION,
            meta::CLIENT_INFO,
            meta::CLIENT_CAPABILITIES
        );
        if let Some(level) = &state.log_level {
            members += &format!(r#","{}":{level}"#, meta::LOG_LEVEL);
        }
        members
    }

    /// The revision of modern requests, for the header.
    #[must_use]
    pub fn modern_revision(&self) -> String {
        let state = lock(&self.0);
        let revision = state.revision.as_ref().and_then(|raw| serde_json::from_str(raw).ok());
        revision.unwrap_or_else(|| Revision::LATEST_MODERN.as_str().to_owned())
    }

    /// The minimum level of log messages, as JSON.
    #[must_use]
    pub fn log_level(&self) -> Option<String> {
        lock(&self.0).log_level.clone()
    }

    /// Sets the minimum level of log messages, as JSON.
    pub fn set_log_level(&self, level: &str) {
        lock(&self.0).log_level = Some(level.to_owned());
    }
}

fn with_instructions(mut result: Value, instructions: Option<Value>) -> Value {
    if let (Some(instructions), Value::Object(members)) = (instructions, &mut result) {
        members.insert("instructions".to_owned(), instructions);
    }
    result
}
