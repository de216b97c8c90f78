//! Errors in JSON texts, in plain words.

/// What is wrong, without the position. `serde_json` speaks of its parser (`expected ident`); what it says otherwise
/// is plain, and is kept.
#[must_use]
pub fn json_fault(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "it ends too early".to_owned();
    }
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    match &text[..end] {
        "expected value" | "expected ident" => "expected a JSON value".to_owned(),
        "key must be a string" => "expected a name in double quotes".to_owned(),
        "trailing characters" => "unexpected text after the value".to_owned(),
        other => other.to_owned(),
    }
}

/// What is wrong, and where.
#[must_use]
pub fn json_fault_at(error: &serde_json::Error) -> String {
    let fault = json_fault(error);
    match (error.line(), error.column()) {
        (0, _) => fault,
        (1, column) => format!("{fault}, at column {column}"),
        (line, column) => format!("{fault}, at line {line}, column {column}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_error_is_described_without_the_words_of_the_parser() {
        for (text, expected) in [
            ("nofile.json", "expected a JSON value, at column 2"),
            ("x", "expected a JSON value, at column 1"),
            ("{a:1}", "expected a name in double quotes, at column 2"),
            ("{\n  \"a\": x}", "expected a JSON value, at line 2, column 8"),
            ("{\"a\":", "it ends too early, at column 5"),
            ("{} {}", "unexpected text after the value, at column 4"),
            ("[1,]", "trailing comma, at column 4"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            assert_eq!(json_fault_at(&error), expected, "{text}");
        }
    }
}
