//! What a server offers, and what we offer it: what was not declared is not used, on either side.

use crate::protocol::method;
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
    format!("list what it offers: {}", target.command_line("list", &["--all"]))
}
