//! What a server offers, and what we offer it: what was not declared is not used, on either side.

use serde_json::Value;

use super::era::Operation;
use super::{Connection, Session};
use crate::error::{ErrorKind, Failure};
use crate::protocol::views::{ListItem, ListKind};
use crate::protocol::{extension, method};
use crate::target::Target;

/// What a method is about: the capability that a server declares for it, and the word for people.
pub(crate) fn method_capability(asked: &str) -> Option<(&'static str, &'static str)> {
    match asked {
        method::TOOLS_CALL => Some(("tools", "tools")),
        method::RESOURCES_READ => Some(("resources", "resources")),
        method::PROMPTS_GET => Some(("prompts", "prompts")),
        _ => None,
    }
}

/// The next step where a server does not offer what was wanted.
pub(crate) fn list_hint(target: &Target) -> String {
    format!("see what it offers: {}", target.command_line("list", &["--all"]))
}

impl Session {
    /// The failure for something the server does not offer.
    #[must_use]
    pub fn not_offered_failure(&self, what: &str) -> Failure {
        Failure::new(ErrorKind::Failed, format!("the server offers no {what}")).server(&self.target.name)
    }

    /// Why this is not asked of the server: one with a handshake has declared what it has, and this was not among it
    /// (`ERA-18`). One that declared nothing at all may have anything.
    pub(crate) fn undeclared_failure(&self, live: &Connection, call: &Operation) -> Option<Failure> {
        let (capability, what) = method_capability(call.method)?;
        if live.era.revision().is_modern() {
            return None;
        }
        let server = live.era.server_info();
        if server.declares(capability) != Some(false) {
            return None;
        }
        // The files of skills are read as resources are.
        let extensions = server.capabilities.as_ref().and_then(|all| all.get("extensions"));
        let skills = extensions.and_then(|all| all.get(extension::SKILLS)).is_some_and(Value::is_object);
        let reads_skills = skills && call.method == method::RESOURCES_READ;
        (!reads_skills).then(|| self.not_offered_failure(what).hint(list_hint(&self.target)))
    }

    /// The options that would declare more capabilities to the server.
    #[must_use]
    pub fn unused_capability_options(&self) -> Vec<&'static str> {
        let abilities = &self.client_handler.capabilities;
        let all = [
            (abilities.declares_elicitation(), "--elicit"),
            (abilities.declares_sampling(), "--sampling-command"),
            (abilities.declares_roots(), "--root"),
        ];
        all.into_iter().filter_map(|(declared, option)| (!declared).then_some(option)).collect()
    }

    /// Whether the server listed this tool when other capabilities were declared.
    #[must_use]
    pub fn lists_tool_for_other_capabilities(&self, name: &str) -> bool {
        let others = self.cache.lists_for_other_capabilities(ListKind::Tools);
        others.iter().flatten().any(|tool| ListItem::new(tool).name() == name)
    }
}
