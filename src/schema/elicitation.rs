//! Elicitation forms: defaults of a flat schema, and the check of what the user entered (ELI-04, ELI-05).

use serde_json::{Map, Value};

use crate::schema::document::{Property, SchemaDocument};
use crate::schema::problem::ValueProblem;
use crate::schema::validator::SchemaValidator;

/// The defaults of a form's fields, in the form's order.
#[must_use]
pub fn form_defaults(requested_schema: &Value) -> Map<String, Value> {
    let fields = requested_schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone()))).collect()
}

/// What is wrong with the content of a form whose schema is `form`.
///
/// In addition to validation, the four formats of elicitation are checked: the user typed the text and can correct it.
/// A schema that cannot be used (an unknown dialect, for example) reports no problems: the server checks the content
/// itself.
pub async fn check_form_content(form: &SchemaValidator, content: &Map<String, Value>) -> Vec<ValueProblem> {
    let mut problems = form.validate(&Value::Object(content.clone())).await.unwrap_or_default();
    let requested_schema = form.schema();
    let document = SchemaDocument::new(requested_schema);
    for (name, value) in content {
        let Value::String(text) = value else { continue };
        let Property::Declared(fields) = document.property(requested_schema, name) else { continue };
        let format = fields.iter().find_map(|field| field.get("format")?.as_str());
        let wanted = match format {
            Some("email") if !is_email(text) => "an email address, such as name@example.com",
            Some("uri") if url::Url::parse(text).is_err() => "a URI, such as https://example.com",
            Some("date") if !is_date(text) => "a date, such as 2026-01-31",
            Some("date-time") if !is_date_time(text) => "a date and time, such as 2026-01-31T12:00:00Z",
            _ => continue,
        };
        problems.push(ValueProblem::for_parameter(name, format!("expected {wanted}")).with_value(value));
    }
    problems
}

/// A rough check: one `@` between two texts without white space.
fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && !host.is_empty() && !host.contains('@') && !text.chars().any(char::is_whitespace)
    })
}

/// RFC 3339 `full-date`; the parser knows more forms.
fn is_date(text: &str) -> bool {
    text.len() == "2026-01-31".len() && text.parse::<jiff::civil::Date>().is_ok()
}

/// RFC 3339 `date-time`; the parser knows more forms.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else { return false };
    let is_time = |text: &str, colons: usize| {
        let is_plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.'));
        is_plain && text.matches(':').count() == colons && text.parse::<jiff::civil::Time>().is_ok()
    };
    let (clock, offset_fits) = match (time.strip_suffix(['Z', 'z']), time.rfind(['+', '-'])) {
        (Some(clock), _) => (clock, true),
        (None, Some(at)) => (&time[..at], time.len() - at == "+01:00".len() && is_time(&time[at + 1..], 1)),
        (None, None) => return false,
    };
    is_date(date) && offset_fits && is_time(clock, 2)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::tests::block_on;

    fn check(schema: &Value, content: Value) -> Vec<String> {
        let Value::Object(content) = content else { return vec!["no object".to_owned()] };
        let form = SchemaValidator::new(schema);
        block_on(check_form_content(&form, &content)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn eli_05_defaults_of_every_kind() {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "default": "John"}, "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5}, "on": {"type": "boolean", "default": false},
            "state": {"enum": ["a"], "default": "a"}, "many": {"type": "array", "default": ["x"]}, "none": {"type": "string"},
        }});
        assert_eq!(
            Value::Object(form_defaults(&schema)),
            json!({"name": "John", "age": 30, "score": 95.5, "on": false, "state": "a", "many": ["x"]})
        );
        assert!(form_defaults(&json!({})).is_empty());
        assert!(form_defaults(&json!(null)).is_empty());
    }

    #[test]
    fn eli_04_every_form_of_choice() {
        let titled = json!([{"const": "#F00", "title": "Red"}, {"const": "#0F0", "title": "Green"}]);
        let schema = json!({"type": "object", "properties": {
            "plain": {"type": "string", "enum": ["a", "b"]},
            "named": {"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]},
            "titled": {"type": "string", "oneOf": titled},
            "many": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "minItems": 1, "maxItems": 2},
            "titles": {"type": "array", "items": {"anyOf": titled}},
        }});
        let good = json!({"plain": "a", "named": "b", "titled": "#F00", "many": ["a"], "titles": ["#0F0", "#F00"]});
        assert!(check(&schema, good).is_empty());
        let bad = json!({"plain": "c", "named": 1, "titled": "Red", "many": [], "titles": ["#00F"]});
        assert_eq!(
            check(&schema, bad),
            [
                r#"plain: expected one of "a", "b", got 'c'"#,
                "named: expected string, got 1",
                r##"titled: expected one of "#F00", "#0F0", got 'Red'"##,
                "many: must have at least 1 item",
                r##"titles[0]: expected one of "#F00", "#0F0", got '#00F'; did you mean #0F0?"##,
            ]
        );
    }

    #[test]
    fn eli_04_formats_and_limits() {
        let schema = json!({"type": "object", "required": ["mail"], "properties": {
            "mail": {"type": "string", "format": "email"}, "site": {"type": "string", "format": "uri"},
            "day": {"type": "string", "format": "date"}, "at": {"type": "string", "format": "date-time"},
            "age": {"type": "number", "minimum": 18}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
        }});
        let good = json!({"mail": "a@b", "site": "https://x.y", "day": "2024-02-29", "at": "2026-01-31T23:59:60.5+01:00", "age": 18, "zip": "12345"});
        assert!(check(&schema, good).is_empty());
        let bad = json!({"mail": "a@", "site": "x", "day": "2026-02-29", "at": "2026-01-31", "age": 17, "zip": "1234"});
        let problems = check(&schema, bad);
        assert_eq!(problems.len(), 6, "{problems:?}");
        assert_eq!(check(&schema, json!({})), ["mail: required value is missing"]);
    }

    #[test]
    fn dates() {
        for text in
            ["9999-12-31T23:59:59Z", "2026-01-31T12:00:00Z", "2026-01-31t12:00:00.123z", "2026-01-31T12:00:00-08:00"]
        {
            assert!(is_date_time(text), "{text}");
        }
        for text in [
            "2026-01-31T12:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00+0100",
            "2026-01-31T00:00:00.5+01",
            "2026-01-31T12:00:00-08Z",
            "2026-01-31TT12:00:00Z",
            "2026-01-31T12:00:00[Europe/Berlin]Z",
            "2026-01-31T12:00:00+ü",
        ] {
            assert!(!is_date_time(text), "{text}");
        }
        for text in ["2026-13-01", "2026-1-1", "1900-02-29", "2026-00-10", "2026-01-00", "+026-01-01"] {
            assert!(!is_date(text), "{text}");
        }
    }
}
