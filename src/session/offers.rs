//! What a server offers, and what we offer it: what was not declared is not used, on either side.

use serde_json::Value;

use super::era::Call;
use super::{Live, Session};
use crate::error::{Class, Failure};
use crate::protocol::{extension, method};
use crate::target::Target;

/// What a method is about: the capability that a server declares for it, and the word for people.
pub(super) fn about(asked: &str) -> Option<(&'static str, &'static str)> {
    match asked {
        method::TOOLS_CALL => Some(("tools", "tools")),
        method::RESOURCES_READ => Some(("resources", "resources")),
        method::PROMPTS_GET => Some(("prompts", "prompts")),
        _ => None,
    }
}

/// The next step where a server does not offer what was wanted.
pub(super) fn look_at(target: &Target) -> String {
    format!("see what it offers: {}", target.line("list", &["--all"]))
}

impl Session {
    /// The failure for something the server does not offer.
    #[must_use]
    pub fn offers_no(&self, what: &str) -> Failure {
        Failure::new(Class::Failed, format!("the server offers no {what}")).server(&self.target.name)
    }

    /// Why this is not asked of the server: one with a handshake has declared what it has, and this was not among it
    /// (`ERA-18`). One that declared nothing at all may have anything.
    pub(super) fn undeclared(&self, live: &Live, call: &Call) -> Option<Failure> {
        let (capability, what) = about(call.method)?;
        if live.era.revision().is_modern() {
            return None;
        }
        let server = live.era.server();
        if server.declares(capability) != Some(false) {
            return None;
        }
        // The files of skills are read as resources are.
        let extensions = server.capabilities.as_ref().and_then(|all| all.get("extensions"));
        let skills = extensions.and_then(|all| all.get(extension::SKILLS)).is_some_and(Value::is_object);
        let reads_skills = skills && call.method == method::RESOURCES_READ;
        (!reads_skills).then(|| self.offers_no(what).hint(look_at(&self.target)))
    }

    /// The options by which a server could be offered more than it is.
    #[must_use]
    pub fn not_offered(&self) -> Vec<&'static str> {
        let abilities = &self.peer.abilities;
        let all = [
            (abilities.inputs.is_none(), "--elicit"),
            (abilities.sampler.is_none(), "--sampling-command"),
            (abilities.roots.is_empty(), "--root"),
        ];
        all.into_iter().filter_map(|(missing, option)| missing.then_some(option)).collect()
    }
}
