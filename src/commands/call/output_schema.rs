//! Checks a tool's structured content against its `outputSchema` (`TOL-02`).

use serde_json::value::RawValue;

use crate::error::{ErrorKind, Failure};
use crate::protocol::rpc::parse_value;
use crate::protocol::views::{ListItem, member};
use crate::schema;
use crate::target::Target;

/// How a result violates the tool's output schema, if it does. A result with `isError` is not checked.
#[must_use]
pub fn violation(target: &Target, tool: &ListItem, result: &RawValue) -> Option<Failure> {
    check_result(tool, result, || target.command_line("list", &[&crate::util::quoting::quote(tool.name()), "--json"]))
}

/// The same; `look` is the command that shows the schema.
fn check_result(tool: &ListItem, result: &RawValue, look: impl Fn() -> String) -> Option<Failure> {
    let schema = tool.output_schema()?;
    if member(result, "isError").is_some_and(|raw| raw.get() == "true") {
        return None;
    }
    let failure = || {
        Failure::new(ErrorKind::Protocol, format!("the result does not match the output schema of '{}'", tool.name()))
    };
    let Some(content) = member(result, "structuredContent") else {
        return Some(failure().cause("it has no structuredContent"));
    };
    let Some(content) = parse_value(content.get()) else {
        return Some(failure().cause("its structuredContent cannot be parsed"));
    };
    match schema::validate(schema, &content) {
        Ok(problems) if problems.is_empty() => None,
        Ok(problems) => {
            let failure = problems.iter().fold(failure(), |failure, problem| failure.cause(problem.to_string()));
            Some(failure.hint(format!("show the schema: {}", look())))
        }
        Err(doubt) => {
            let message = format!("the result cannot be checked against the output schema of '{}'", tool.name());
            Some(Failure::new(ErrorKind::Protocol, message).cause(doubt.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn judge(schema: serde_json::Value, result: &str) -> Option<String> {
        let tool = json!({"name": "t", "inputSchema": {}, "outputSchema": schema}).to_string();
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        check_result(&ListItem::new(&raw(&tool)), &raw(result), String::new).map(|failure| failure.to_string())
    }

    #[test]
    fn tol_02_structured_content_is_held_to_the_promise() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
        assert_eq!(judge(schema.clone(), r#"{"content":[],"structuredContent":{"n":1}}"#), None);
        assert_eq!(judge(schema.clone(), r#"{"content":[],"isError":true}"#), None);
        assert_eq!(judge(json!(null), r#"{"content":[]}"#), None);
        let said = "the result does not match the output schema of 't': ";
        assert_eq!(judge(schema.clone(), r#"{"content":[]}"#), Some(format!("{said}it has no structuredContent")));
        assert_eq!(
            judge(schema, r#"{"structuredContent":{"n":"x"}}"#),
            Some(format!("{said}n: expected integer, got 'x'"))
        );
    }

    #[test]
    fn tol_03_null_is_content() {
        assert_eq!(judge(json!({"type": "null"}), r#"{"structuredContent":null}"#), None);
        assert!(judge(json!({"type": "object"}), r#"{"structuredContent":null}"#).is_some());
    }

    #[test]
    fn tol_06_a_schema_that_cannot_judge_is_told() {
        let said = judge(json!({"$schema": "https://example.com/other"}), r#"{"structuredContent":1}"#).unwrap();
        assert!(said.starts_with("the result cannot be checked against the output schema of 't': "), "{said}");
    }
}
