//! One field of a form: how it is shown, and how a typed line becomes its value (`ELI-04`).

use serde_json::Value;

use crate::schema::{self, Parameter, SchemaDocument};

/// Words in a field's name, title or description that suggest a secret.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passphrase",
    "passcode",
    "secret",
    "api key",
    "api_key",
    "apikey",
    "api token",
    "access token",
    "access_token",
    "private key",
    "credential",
    "cvv",
    "card number",
];

/// One field.
pub struct FormField<'a> {
    /// Its name in the content.
    pub name: &'a str,
    /// Its title.
    pub title: &'a str,
    /// The server's description.
    pub description: Option<&'a str>,
    /// The value that Enter accepts.
    pub default: Option<&'a Value>,
    /// Whether it is required.
    pub is_required: bool,
    /// The allowed values, if the schema lists them.
    pub choices: Vec<FieldChoice<'a>>,
    /// Whether several of them may be chosen.
    pub is_multiple: bool,
    kind: String,
    limits: Vec<String>,
    form: &'a Value,
    schema: &'a Value,
}

/// One allowed value.
pub struct FieldChoice<'a> {
    /// The value.
    pub value: &'a Value,
    /// Its title, if it has one.
    pub title: Option<&'a str>,
}

impl FieldChoice<'_> {
    /// The value as it is typed and shown.
    #[must_use]
    pub fn as_typed(&self) -> String {
        value_text(self.value)
    }
}

/// A value as a user types it: strings without quotes.
#[must_use]
pub fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The fields of a form, in order.
#[must_use]
pub fn fields(form: &Value) -> Vec<FormField<'_>> {
    let described = schema::parameters(form);
    let required = SchemaDocument::new(form).required(form);
    let all = form.get("properties").and_then(Value::as_object).into_iter().flatten();
    all.map(|(name, schema)| {
        let row = described.iter().find(|row| row.name == *name);
        FormField::new(form, name, schema, row, required.contains(&name.as_str()))
    })
    .collect()
}

impl<'a> FormField<'a> {
    fn new(form: &'a Value, name: &'a str, schema: &'a Value, row: Option<&Parameter>, required: bool) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let one = choices(schema);
        let several = schema.get("items").map(choices).unwrap_or_default();
        let many = one.is_empty() && !several.is_empty();
        FormField {
            name,
            title: text("title").unwrap_or(name),
            description: text("description"),
            default: schema.get("default"),
            is_required: required,
            choices: if many { several } else { one },
            is_multiple: many,
            kind: row.map(|row| row.type_text.clone()).unwrap_or_else(|| "any".to_owned()),
            limits: row.map(|row| row.constraints.clone()).unwrap_or_default(),
            form,
            schema,
        }
    }

    /// A value of its type, for an example.
    #[must_use]
    pub fn example_value(&self) -> Value {
        let first = self.choices.first().map(|choice| choice.value.clone());
        match (first, self.schema.get("type").and_then(Value::as_str)) {
            (Some(first), _) if self.is_multiple => Value::Array(vec![first]),
            (Some(first), _) => first,
            (None, Some("boolean")) => Value::Bool(true),
            (None, Some("integer" | "number")) => self.schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
            (None, Some("array")) => Value::Array(Vec::new()),
            (None, _) => "…".into(),
        }
    }

    /// What may be typed, in brief: `integer, >= 18, required`.
    #[must_use]
    pub fn constraints(&self) -> String {
        let mut facts = vec![match (self.choices.len(), self.is_multiple) {
            (0, _) if self.is_boolean() => "yes or no".to_owned(),
            (0, _) => self.kind.clone(),
            (count, false) => format!("one of {count}"),
            (count, true) => format!("any of {count}, as in 1,2"),
        }];
        facts.extend(self.limits.iter().map(|limit| limit.replace("format ", "")));
        facts.push(if self.is_required { "required" } else { "optional" }.to_owned());
        facts.join(", ")
    }

    /// Whether it is a boolean.
    #[must_use]
    pub fn is_boolean(&self) -> bool {
        self.choices.is_empty() && self.schema.get("type").and_then(Value::as_str) == Some("boolean")
    }

    /// Whether it seems to ask for a secret, which a form must not (2026-07-28, client/elicitation, security).
    #[must_use]
    pub fn seems_secret(&self) -> bool {
        let password = self.schema.get("format").and_then(Value::as_str) == Some("password");
        let texts = [self.name, self.title, self.description.unwrap_or_default()].map(str::to_lowercase);
        password || texts.iter().any(|text| text == "token" || SECRET_WORDS.iter().any(|word| text.contains(word)))
    }

    /// A value as it is shown for this field.
    #[must_use]
    pub fn display_value(&self, value: &Value) -> String {
        if self.is_boolean() {
            return match value {
                Value::Bool(true) => "yes".to_owned(),
                Value::Bool(false) => "no".to_owned(),
                other => other.to_string(),
            };
        }
        let one = |value: &Value| match self.choices.iter().find(|choice| choice.value == value) {
            Some(FieldChoice { title: Some(title), .. }) => (*title).to_owned(),
            _ => value_text(value),
        };
        match value {
            Value::Array(values) if self.is_multiple && values.is_empty() => "none".to_owned(),
            Value::Array(values) if self.is_multiple => values.iter().map(one).collect::<Vec<_>>().join(", "),
            Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            value => one(value),
        }
    }

    /// Parses a typed line that is not empty.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(&self, line: &str) -> Result<Value, String> {
        if self.is_boolean() {
            return match line.to_lowercase().as_str() {
                "y" | "yes" | "true" | "t" | "on" | "1" => Ok(Value::Bool(true)),
                "n" | "no" | "false" | "f" | "off" | "0" => Ok(Value::Bool(false)),
                _ => Err("expected yes or no".to_owned()),
            };
        }
        if self.is_multiple {
            return match self.parse_choice(line) {
                // A value may contain a comma itself.
                Ok(one) => Ok(Value::Array(vec![one])),
                Err(_) if line.eq_ignore_ascii_case("none") => Ok(Value::Array(Vec::new())),
                Err(_) => {
                    let words = line.split(',').map(str::trim).filter(|word| !word.is_empty());
                    words.map(|word| self.parse_choice(word)).collect::<Result<Vec<_>, _>>().map(Value::Array)
                }
            };
        }
        if !self.choices.is_empty() {
            return self.parse_choice(line);
        }
        if line == "\"\"" && self.kind == "string" {
            return Ok(Value::String(String::new()));
        }
        let document = SchemaDocument::new(self.form);
        schema::coerce(document, &[self.schema], line).map_err(|misfit| {
            let why = misfit.detail.map(|why| format!(" ({why})")).unwrap_or_default();
            format!("expected {}{why}", misfit.expected)
        })
    }

    /// A choice by value, title or number. Values first: they may be numbers themselves.
    fn parse_choice(&self, word: &str) -> Result<Value, String> {
        let by_value = self.choices.iter().find(|choice| choice.as_typed() == word);
        let by_title = || {
            let mut named = self.choices.iter().filter(|choice| {
                choice.title.is_some_and(|title| title.eq_ignore_ascii_case(word))
                    || choice.as_typed().eq_ignore_ascii_case(word)
            });
            named.next().filter(|_| named.next().is_none())
        };
        let by_number = || self.choices.get(word.parse::<usize>().ok()?.checked_sub(1)?);
        match by_value.or_else(by_title).or_else(by_number) {
            Some(choice) => Ok(choice.value.clone()),
            None => {
                Err(format!("expected a number from 1 to {}, or one of the values, not '{word}'", self.choices.len()))
            }
        }
    }
}

/// The listed values of a schema: `enum` (with `enumNames`), or constants with titles.
fn choices(schema: &Value) -> Vec<FieldChoice<'_>> {
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(values) = list("enum") {
        let names = list("enumNames");
        let title = |at: usize| names?.get(at)?.as_str();
        return values.iter().enumerate().map(|(at, value)| FieldChoice { value, title: title(at) }).collect();
    }
    let constants = list("oneOf").or_else(|| list("anyOf")).into_iter().flatten();
    let all: Option<Vec<FieldChoice<'_>>> = constants
        .map(|one| Some(FieldChoice { value: one.get("const")?, title: one.get("title").and_then(Value::as_str) }))
        .collect();
    all.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn form() -> Value {
        let titled = json!([{"const": "#F00", "title": "Red"}, {"const": "#0F0", "title": "Green"}]);
        json!({"type": "object", "required": ["age"], "properties": {
            "age": {"type": "integer", "minimum": 18, "title": "Age"},
            "on": {"type": "boolean", "default": true},
            "colour": {"type": "string", "oneOf": titled},
            "old": {"type": "string", "enum": ["a", "b"], "enumNames": ["Ay", "Bee"]},
            "digits": {"type": "string", "enum": ["3", "1", "2"]},
            "many": {"type": "array", "items": {"anyOf": titled}, "minItems": 1},
            "plain": {"type": "array", "items": {"type": "string", "enum": ["x, y", "x", "none"]}},
            "text": {"type": "string", "format": "email"},
            "key": {"type": "string", "description": "Your API key"},
        }})
    }

    fn read(name: &str, line: &str) -> Result<Value, String> {
        let form = form();
        fields(&form).iter().find(|field| field.name == name).unwrap().parse(line)
    }

    #[test]
    fn eli_04_lines_become_values_of_every_kind() {
        assert_eq!(read("age", "42"), Ok(json!(42)));
        assert_eq!(read("age", "x"), Err("expected integer".to_owned()));
        assert_eq!(read("on", "Y"), Ok(json!(true)));
        assert_eq!(read("on", "off"), Ok(json!(false)));
        assert_eq!(read("on", "maybe"), Err("expected yes or no".to_owned()));
        assert_eq!(read("text", "007"), Ok(json!("007")));
        assert_eq!(read("text", "\"\""), Ok(json!("")));
    }

    #[test]
    fn eli_04_choices_by_value_title_and_number() {
        for word in ["#0F0", "green", "Green", "2"] {
            assert_eq!(read("colour", word), Ok(json!("#0F0")), "{word}");
        }
        assert!(read("colour", "3").is_err() && read("colour", "0").is_err() && read("colour", "Blue").is_err());
        assert_eq!(read("old", "bee"), Ok(json!("b")));
        // A value that is a number is meant before a place in the list.
        assert_eq!(read("digits", "3"), Ok(json!("3")));
        assert_eq!(read("many", "1, green"), Ok(json!(["#F00", "#0F0"])));
        assert_eq!(read("many", "none"), Ok(json!([])));
        assert!(read("many", "1,9").is_err());
        assert_eq!(read("plain", "x, y"), Ok(json!(["x, y"])));
        assert_eq!(read("plain", "2,1"), Ok(json!(["x", "x, y"])));
        assert_eq!(read("plain", "none"), Ok(json!(["none"])));
    }

    #[test]
    fn what_is_shown() {
        let form = form();
        let all = fields(&form);
        let facts: Vec<String> = all.iter().map(FormField::constraints).collect();
        assert_eq!(facts[0], "integer, >= 18, required");
        assert_eq!(facts[1], "yes or no, optional");
        assert_eq!(facts[2], "one of 2, optional");
        assert_eq!(facts[5], "any of 2, as in 1,2, at least 1 item, optional");
        assert_eq!(facts[7], "string, email, optional");
        assert_eq!(all[0].title, "Age");
        assert_eq!(all[1].display_value(&json!(true)), "yes");
        assert_eq!(all[2].display_value(&json!("#F00")), "Red");
        assert_eq!(all[5].display_value(&json!(["#0F0", "#F00"])), "Green, Red");
        assert!(all[8].seems_secret() && !all[7].seems_secret());
        let other = json!({"properties": {"max_tokens": {"type": "integer"}, "token": {"type": "string"}}});
        assert_eq!(fields(&other).iter().map(FormField::seems_secret).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn nonsense_forms_are_survived() {
        for form in
            [json!({}), json!({"properties": {"a": null, "b": 5, "c": {"enum": "x", "items": []}}, "required": 1})]
        {
            for field in fields(&form) {
                let _ =
                    (field.constraints(), field.parse("x"), field.display_value(&json!(null)), field.seems_secret());
            }
        }
    }
}
