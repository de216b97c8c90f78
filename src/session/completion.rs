//! Completion of arguments of prompts and resource templates.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::protocol::{code, method};
use crate::session::mcp_session::Session;
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;

impl Session {
    /// Sends `completion/complete` with the arguments that are already known.
    ///
    /// # Errors
    /// When the server does not complete, or refuses.
    pub async fn complete(
        &self,
        reference: Value,
        argument: &str,
        prefix: &str,
        given: &Map<String, Value>,
    ) -> Result<RawJson> {
        let mut params = Map::new();
        params.insert("ref".into(), reference);
        params.insert("argument".into(), json!({"name": argument, "value": prefix}));
        // Servers refuse an unknown name with the same message as an unknown era, so this request must not be the one
        // that detects the era.
        let mut call = Operation {
            is_idempotent: true,
            ..Operation::read_only(method::COMPLETION_COMPLETE, params).with_effects()
        };
        let (connection, _) = self.connection_for(&call).await?;
        let revision = connection.era.revision();
        // The capability exists since 2025-03-26; legacy servers only get requests for what they declared.
        let declared = connection.era.server_info().declares("completions");
        if !revision.is_modern() && revision >= Revision::V2025_03_26 && declared == Some(false) {
            return Err(self.not_offered_failure("completion"));
        }
        if !given.is_empty() && revision >= Revision::V2025_06_18 {
            call.params.insert("context", json!({ "arguments": given }));
        }
        match self.send(&call).await? {
            RequestOutcome::Result(result) => Ok(result),
            RequestOutcome::Error(error, _) if error.code == Some(code::METHOD_NOT_FOUND) => {
                Err(self.not_offered_failure("completion").rpc(error))
            }
            reply => Err(self.failure_from(reply, method::COMPLETION_COMPLETE)),
        }
    }
}
