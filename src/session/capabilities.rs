//! Capabilities of servers: which one a method needs, and what to do if it is not declared.

use crate::protocol::method;
use crate::target::Target;

/// The capability that a server declares for a method, and its name in messages.
pub(crate) fn method_capability(asked: &str) -> Option<(&'static str, &'static str)> {
    match asked {
        method::TOOLS_CALL => Some(("tools", "tools")),
        method::RESOURCES_READ => Some(("resources", "resources")),
        method::PROMPTS_GET => Some(("prompts", "prompts")),
        _ => None,
    }
}

/// The hint when a server does not offer a feature.
pub(crate) fn list_hint(target: &Target) -> String {
    format!("list what it offers: {}", target.command_line("list", &["--all"]))
}
