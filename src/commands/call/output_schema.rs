//! Checks a tool's structured content against its `outputSchema` (`TOL-02`).

use serde_json::value::RawValue;

use crate::error::{ErrorKind, Failure};
use crate::protocol::json::{member, parse_value};
use crate::protocol::views::is_error_result;
use crate::schema::SchemaValidator;
use crate::target::Target;

/// How a result violates the tool's output schema; `None` if it matches. The result of a failed call is not checked.
pub async fn violation(target: &Target, tool: &str, schema: &SchemaValidator, result: &RawValue) -> Option<Failure> {
    let show_schema = || target.command_line("list", &[&crate::util::quoting::quote(tool), "--json"]);
    check_result(tool, schema, result, show_schema).await
}

/// The same; `show_schema` is the command that shows the schema.
async fn check_result(
    tool: &str,
    schema: &SchemaValidator,
    result: &RawValue,
    show_schema: impl Fn() -> String,
) -> Option<Failure> {
    if is_error_result(result) {
        return None;
    }
    let failure =
        || Failure::new(ErrorKind::Protocol, format!("the result does not match the output schema of '{tool}'"));
    let Some(content) = member(result, "structuredContent") else {
        return Some(failure().cause("structuredContent is missing"));
    };
    let Some(content) = parse_value(content.get()) else {
        return Some(failure().cause("structuredContent cannot be parsed"));
    };
    match schema.validate(&content).await {
        Ok(problems) if problems.is_empty() => None,
        Ok(problems) => {
            let failure = problems.iter().fold(failure(), |failure, problem| failure.cause(problem.to_string()));
            Some(failure.hint(format!("show the schema: {}", show_schema())))
        }
        Err(unusable) => {
            let message = format!("cannot check the result against the output schema of '{tool}'");
            Some(Failure::new(ErrorKind::Protocol, message).cause(unusable.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn check(schema: serde_json::Value, result: &str) -> Option<String> {
        let result = RawValue::from_string(result.to_owned()).unwrap();
        let schema = SchemaValidator::new(&schema);
        let checked = check_result("t", &schema, &result, String::new);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(checked).map(|failure| failure.to_string())
    }

    #[test]
    fn tol_03_null_is_content() {
        assert_eq!(check(json!({"type": "null"}), r#"{"structuredContent":null}"#), None);
        assert!(check(json!({"type": "object"}), r#"{"structuredContent":null}"#).is_some());
    }

    #[test]
    fn tol_06_an_unusable_schema_is_reported() {
        let said = check(json!({"$schema": "https://example.com/other"}), r#"{"structuredContent":1}"#).unwrap();
        assert!(said.starts_with("cannot check the result against the output schema of 't': "), "{said}");
    }
}
