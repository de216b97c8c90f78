//! How a server would go on with an argument of a prompt or of a resource template.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::protocol::{code, method};
use crate::session::mcp_session::Session;
use crate::session::operation::Operation;
use crate::session::rpc_client::RequestOutcome;

impl Session {
    /// Asks `completion/complete`, with the arguments that are given already.
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
        // An unknown name is refused in the same words as an unknown era: it must not be what finds the era out.
        let mut call = Operation {
            is_idempotent: true,
            ..Operation::read_only(method::COMPLETION_COMPLETE, params).with_effects()
        };
        let (live, _) = self.connection_for(&call).await?;
        let revision = live.era.revision();
        // The capability has a name since 2025-03-26, and legacy servers are asked only for what they declared.
        let declared = live.era.server_info().declares("completions");
        if !revision.is_modern() && revision >= Revision::V2025_03_26 && declared == Some(false) {
            return Err(self.not_offered_failure("completion"));
        }
        if !given.is_empty() && revision >= Revision::V2025_06_18 {
            call.params.insert("context".into(), json!({ "arguments": given }));
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
