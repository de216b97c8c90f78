//! Tests of validation as a whole.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::dialect::Dialect;
use super::*;

/// Runs a future that needs a clock but no I/O.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn validate(schema: &Value, instance: &Value) -> Result<Vec<ValueProblem>, SchemaError> {
    block_on(SchemaValidator::new(schema).validate(instance))
}

fn problem_texts(schema: &Value, instance: &Value) -> Vec<String> {
    validate(schema, instance).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn tol_06_dialects() {
    let of = |uri: &str| Dialect::from_schema(&json!({"$schema": uri}));
    assert_eq!(Dialect::from_schema(&json!({})), Ok(Dialect::Draft202012));
    assert_eq!(of("http://json-schema.org/draft-07/schema#"), Ok(Dialect::Draft7));
    assert_eq!(of("https://json-schema.org/draft-07/schema"), Ok(Dialect::Draft7));
    assert_eq!(of("http://json-schema.org/draft-06/schema#"), Ok(Dialect::Draft6));
    assert_eq!(of("http://json-schema.org/draft-04/schema#"), Ok(Dialect::Draft4));
    assert_eq!(of("https://json-schema.org/draft/2019-09/schema"), Ok(Dialect::Draft201909));
    assert_eq!(of("https://json-schema.org/draft/2020-12/schema"), Ok(Dialect::Draft202012));
    assert_eq!(of("https://example.com/x"), Err(SchemaError::UnknownDialect("https://example.com/x".to_owned())));
    assert_eq!(
        validate(&json!({"$schema": "https://example.com/x", "type": "object"}), &json!({})),
        Err(SchemaError::UnknownDialect("https://example.com/x".to_owned()))
    );
}

#[test]
fn tol_06_the_dialect_decides_what_keywords_mean() {
    // In draft-07, what stands beside $ref does not count; in 2020-12 it does.
    let beside = |uri: &str| json!({"$schema": uri, "properties": {"a": {"$ref": "#/definitions/i", "maximum": 5}}, "definitions": {"i": {"type": "integer"}}});
    assert!(problem_texts(&beside("http://json-schema.org/draft-07/schema#"), &json!({"a": 9})).is_empty());
    assert_eq!(
        problem_texts(&beside("https://json-schema.org/draft/2020-12/schema"), &json!({"a": 9})),
        ["a: must be at most 5, got 9"]
    );
    let exclusive =
        json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 5, "exclusiveMinimum": true});
    assert_eq!(problem_texts(&exclusive, &json!(5)).len(), 1);
    assert!(problem_texts(&exclusive, &json!(6)).is_empty());
    // Tuples: `items` is a list up to 2019-09, `prefixItems` since 2020-12.
    let tuple = json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}], "additionalItems": false});
    assert_eq!(problem_texts(&tuple, &json!([1])), ["[0]: expected string, got 1"]);
    assert_eq!(problem_texts(&tuple, &json!(["a", 1])), ["must have at most 1 item"]);
    assert_eq!(
        problem_texts(&json!({"prefixItems": [{"type": "string"}]}), &json!([1])),
        ["[0]: expected string, got 1"]
    );
}

#[test]
fn tol_07_external_references_are_never_followed() {
    for reference in ["https://example.com/s.json", "file:///etc/passwd", "other.json", "//h/x", "data:,{}"] {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": reference}}});
        // Even where no argument touches it: the schema as a whole is rejected.
        assert_eq!(validate(&schema, &json!({})), Err(SchemaError::ExternalRef(reference.to_owned())));
    }
    let dynamic = json!({"items": {"$dynamicRef": "https://example.com/s#node"}});
    assert!(matches!(validate(&dynamic, &json!([1])), Err(SchemaError::ExternalRef(_))));
    // A reference to a part of the schema by its $id stays inside.
    let inside =
        json!({"$id": "https://example.com/root", "$ref": "part", "$defs": {"p": {"$id": "part", "type": "integer"}}});
    assert_eq!(problem_texts(&inside, &json!("x")), ["expected integer, got 'x'"]);
    let outside = json!({"$id": "https://example.com/root", "$ref": "elsewhere"});
    assert_eq!(
        validate(&outside, &json!(1)),
        Err(SchemaError::ExternalRef("https://example.com/elsewhere".to_owned()))
    );
    // In `default`, `$ref` is data.
    assert!(
        problem_texts(&json!({"properties": {"a": {"default": {"$ref": "https://example.com"}}}}), &json!({}))
            .is_empty()
    );
}

#[test]
fn broken_schemas_are_refused_and_do_not_crash() {
    assert!(matches!(validate(&json!({"type": "strng"}), &json!(1)), Err(SchemaError::Invalid(_))));
    assert!(matches!(validate(&json!({"pattern": "("}), &json!("x")), Err(SchemaError::Invalid(_))));
    assert!(matches!(validate(&json!(5), &json!(1)), Err(SchemaError::Invalid(_))));
    assert!(matches!(validate(&json!(null), &json!(1)), Err(SchemaError::Invalid(_))));
    assert_eq!(
        validate(&json!({"$ref": "#/$defs/none"}), &json!(1)),
        Err(SchemaError::DanglingRef("#/$defs/none".to_owned()))
    );
    assert!(matches!(validate(&json!({"$ref": "#none"}), &json!(1)), Err(SchemaError::DanglingRef(_))));
    assert!(problem_texts(&json!(true), &json!(1)).is_empty());
    assert_eq!(problem_texts(&json!(false), &json!(1)), ["no value is allowed here"]);
}

#[test]
fn hostile_schemas_end() {
    // References in a circle, that never look at the instance.
    let circle = json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
    let _ = validate(&circle, &json!({"x": 1}));
    let _ = validate(&json!({"allOf": [{"$ref": "#"}]}), &json!(1));
    let _ = validate(&json!({"not": {"$ref": "#"}}), &json!(1));
    // Two to the power of thirty ways through.
    let mut parts = serde_json::Map::new();
    for level in 0..30 {
        let next = format!("#/$defs/l{}", level + 1);
        parts.insert(format!("l{level}"), json!({"anyOf": [{"$ref": next}, {"$ref": next}]}));
    }
    parts.insert("l30".to_owned(), json!({"type": "string"}));
    let bomb = json!({"$ref": "#/$defs/l0", "$defs": parts});
    let start = std::time::Instant::now();
    let _ = validate(&bomb, &json!(5));
    assert!(start.elapsed().as_secs() < 10);
    // Patterns that backtrack forever.
    let pattern = json!({"pattern": "^(a|aa)+(?=b)$"});
    let _ = validate(&pattern, &json!("a".repeat(200)));
    assert!(start.elapsed().as_secs() < 20);
}

#[test]
fn descriptions_of_hostile_schemas_end() {
    // Every level has twenty ways to the next one, and the last leads back to the first.
    let mut parts = serde_json::Map::new();
    for level in 0..10 {
        let next = json!({"$ref": format!("#/$defs/l{}", (level + 1) % 10)});
        parts.insert(
            format!("l{level}"),
            json!({"allOf": vec![next.clone(); 20], "anyOf": vec![next.clone(); 20], "items": next,
                "properties": {"a": next, "b": next}, "required": ["a", "b"]}),
        );
    }
    let schema = json!({"$ref": "#/$defs/l0", "$defs": parts});
    let start = std::time::Instant::now();
    assert_eq!(parameters(&schema).len(), 6);
    assert_eq!(block_on(example_arguments(&SchemaValidator::new(&schema))).words.len(), 2);
    assert!(!signature(&json!({"inputSchema": schema})).is_empty());
    assert!(!output_shape(&schema).is_empty());
    let document = SchemaDocument::new(&schema);
    assert!(coerce(document, &[&schema], "5").is_ok());
    assert!(matches!(document.property(&schema, "a"), Property::Declared(_)));
    let bound = std::time::Duration::from_secs(20);
    assert!(start.elapsed() < bound, "{:?}", start.elapsed());
}

#[test]
fn large_schemas_are_bounded() {
    let wide = json!({"anyOf": vec![json!({"type": "string"}); 30_000]});
    assert_eq!(validate(&wide, &json!(1)), Err(SchemaError::TooCostly("it has too many parts")));
    let mut deep = json!({"type": "string"});
    for _ in 0..110 {
        deep = json!({"items": deep});
    }
    assert_eq!(validate(&deep, &json!([])), Err(SchemaError::TooCostly("it is nested too deeply")));
    // A long chain of references.
    let mut parts = serde_json::Map::new();
    for level in 0..5_000 {
        parts.insert(format!("l{level}"), json!({"$ref": format!("#/$defs/l{}", level + 1)}));
    }
    parts.insert("l5000".to_owned(), json!({"type": "string"}));
    let chain = json!({"$ref": "#/$defs/l0", "$defs": parts});
    match validate(&chain, &json!(5)) {
        Ok(problems) => assert_eq!(problems.len(), 1),
        Err(error) => assert!(matches!(error, SchemaError::TooCostly(_)), "{error}"),
    }
}

#[test]
fn what_the_everyday_validator_declines_is_judged_all_the_same() {
    let lookahead = json!({"properties": {"e": {"type": "string", "pattern": "^(?!\\.)[a-z.]+@[a-z.]+$"}}});
    assert_eq!(
        problem_texts(&lookahead, &json!({"e": ".a@b"})),
        [r"e: must match the pattern ^(?!\.)[a-z.]+@[a-z.]+$, got '.a@b'"]
    );
    assert!(problem_texts(&lookahead, &json!({"e": "a@b"})).is_empty());
    let conditional = json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}});
    assert_eq!(problem_texts(&conditional, &json!({"a": 1})), ["b: required value is missing"]);
    let dependent = json!({"dependentRequired": {"a": ["b"]}});
    assert_eq!(problem_texts(&dependent, &json!({"a": 1})).len(), 1);
    let names = json!({"propertyNames": {"maxLength": 2}});
    assert_eq!(problem_texts(&names, &json!({"abc": 1})), ["has a member with an invalid name: abc"]);
    let unevaluated = json!({"properties": {"a": true}, "unevaluatedProperties": false});
    assert_eq!(problem_texts(&unevaluated, &json!({"a": 1, "b": 2})), ["b: no such parameter"]);
    let patterned = json!({"patternProperties": {"^n": {"type": "integer"}}});
    assert_eq!(problem_texts(&patterned, &json!({"n1": "x"})), ["n1: expected integer, got 'x'"]);
    assert_eq!(problem_texts(&json!({"contains": {"type": "string"}}), &json!([1])), ["a required item is missing"]);
    assert_eq!(problem_texts(&json!({"multipleOf": 0.01}), &json!(1.005)), ["must be a multiple of 0.01, got 1.005"]);
    assert!(problem_texts(&json!({"multipleOf": 0.01}), &json!(19.99)).is_empty());
    let anchored = json!({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}});
    assert_eq!(problem_texts(&anchored, &json!(1)), ["expected null, got 1"]);
}

#[test]
fn format_is_an_annotation_in_every_dialect() {
    for uri in ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"] {
        let schema = json!({"$schema": uri, "format": "email", "contentEncoding": "base64", "contentMediaType": "application/json", "pattern": ""});
        assert!(problem_texts(&schema, &json!("no email, no base64")).is_empty(), "{uri}");
    }
}

#[test]
fn numbers_are_compared_exactly() {
    let big: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
    let huge: Value = serde_json::from_str("1e400").unwrap();
    assert!(problem_texts(&json!({"type": "integer", "minimum": 0}), &big).is_empty());
    assert_eq!(problem_texts(&json!({"maximum": 100}), &big).len(), 1);
    assert_eq!(problem_texts(&json!({"maximum": 100}), &huge).len(), 1);
    let bound: Value = serde_json::from_str(r#"{"maximum": 9007199254740992}"#).unwrap();
    assert_eq!(problem_texts(&bound, &serde_json::from_str("9007199254740993").unwrap()).len(), 1);
    assert!(problem_texts(&json!({"const": 1}), &serde_json::from_str("1.0").unwrap()).is_empty());
    assert!(problem_texts(&json!({"type": "integer"}), &serde_json::from_str("1.0").unwrap()).is_empty());
}

#[test]
fn branches_that_fail_are_told_in_one_line() {
    let union = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
    assert_eq!(problem_texts(&union, &json!("x")), ["expected integer or null, got 'x'"]);
    let limited = json!({"anyOf": [{"type": "integer", "maximum": 4}, {"type": "null"}]});
    assert_eq!(problem_texts(&limited, &json!(5)), ["must be at most 4, got 5"]);
    let either = json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b", "c"]}]});
    assert_eq!(problem_texts(&either, &json!({})), ["one of these is required: a, or b and c"]);
    let shapes = json!({"oneOf": [{"type": "string", "minLength": 3}, {"type": "string", "enum": ["a"]}]});
    assert_eq!(problem_texts(&shapes, &json!("b")), ["matches none of the alternatives, got 'b'"]);
    assert_eq!(
        problem_texts(&json!({"oneOf": [{"minimum": 1}, {"maximum": 5}]}), &json!(3)),
        ["matches more than one of the alternatives; only one is allowed, got 3"]
    );
}

#[test]
fn nothing_to_check_means_no_validation() {
    for schema in [
        json!({"type": "object"}),
        json!({"type": "object", "properties": {"a": {"type": "strng"}}, "additionalProperties": false, "required": []}),
        json!(true),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {}}),
    ] {
        assert!(accepts_empty_object(&schema), "{schema}");
    }
    for schema in [
        json!({"type": "object", "required": ["a"]}),
        json!({"type": "array"}),
        json!({"minProperties": 1}),
        json!({"anyOf": [false]}),
        json!({"$ref": "#/$defs/a"}),
        json!(false),
        json!(null),
    ] {
        assert!(!accepts_empty_object(&schema), "{schema}");
    }
}

/// A small pseudo-random generator (xorshift), so that a failure repeats.
struct RandomSchemas(u64);

impl RandomSchemas {
    fn number_below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.number_below(items.len())].clone()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.number_below(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.number_below(2) == 0),
            2 => json!(self.number_below(7)),
            3 => serde_json::from_str(self.pick(&[
                "-1",
                "1.0",
                "2.5",
                "0.0",
                "-0",
                "1e2",
                "100",
                "9007199254740993",
                "1e400",
            ]))
            .unwrap(),
            4 | 5 => json!(self.pick(&["", "a", "b", "abc", "äöü", "5", "null"])),
            6 => (0..self.number_below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let mut members = serde_json::Map::new();
                for _ in 0..self.number_below(4) {
                    members.insert(self.pick(&["a", "b", "c", "d"]).to_owned(), self.value(depth - 1));
                }
                Value::Object(members)
            }
        }
    }

    fn schema(&mut self, depth: usize) -> Value {
        if self.number_below(12) == 0 {
            return json!(self.number_below(3) != 0);
        }
        let mut schema = serde_json::Map::new();
        for _ in 0..=self.number_below(3) {
            let (keyword, value) = self.keyword(depth);
            schema.insert(keyword.to_owned(), value);
        }
        Value::Object(schema)
    }

    fn keyword(&mut self, depth: usize) -> (&'static str, Value) {
        const KINDS: [&str; 7] = ["string", "integer", "number", "boolean", "null", "array", "object"];
        let flat = 17;
        let nested = if depth == 0 { 0 } else { 11 };
        match self.number_below(flat + nested) {
            0..=2 => ("type", json!(self.pick(&KINDS))),
            3 => ("type", json!([self.pick(&KINDS[..4]), self.pick(&KINDS[4..])])),
            4 => ("enum", (0..=self.number_below(3)).map(|_| self.value(1)).collect()),
            5 => ("const", self.value(1)),
            6 => ("required", json!([self.pick(&["a", "b"])])),
            7 => ("minimum", json!(self.number_below(4))),
            8 => ("maximum", json!(self.pick(&[2.5, 3.0, 100.0]))),
            9 => ("exclusiveMinimum", json!(self.number_below(4))),
            10 => ("exclusiveMaximum", json!(self.number_below(6))),
            11 => ("multipleOf", json!(self.pick(&[1, 2, 3]))),
            12 => (self.pick(&["minLength", "maxLength"]), json!(self.number_below(4))),
            13 => (self.pick(&["minItems", "maxItems"]), json!(self.number_below(3))),
            14 => (self.pick(&["minProperties", "maxProperties"]), json!(self.number_below(3))),
            15 => ("uniqueItems", json!(self.number_below(2) == 0)),
            16 => (
                "pattern",
                json!(self.pick(&[
                    "^a",
                    "b$",
                    "[0-9]",
                    "^\\w+$",
                    "^.{2}$",
                    "^\\d",
                    "^$",
                    "[^\\W]",
                    "\\u0061",
                    "^\\p{L}+$",
                    "^(a|b)+$"
                ])),
            ),
            17..=19 => ("properties", json!({"a": self.schema(depth - 1), "b": self.schema(depth - 1)})),
            20 => ("items", self.schema(depth - 1)),
            21 => ("additionalProperties", self.schema(depth - 1)),
            22 => ("not", self.schema(depth - 1)),
            23 => ("$ref", json!(self.pick(&["#/$defs/x", "#/$defs/y", "#"]))),
            24 => ("if", self.schema(depth - 1)),
            _ => {
                let keyword = self.pick(&["allOf", "anyOf", "oneOf"]);
                (keyword, (0..=self.number_below(2)).map(|_| self.schema(depth - 1)).collect())
            }
        }
    }
}

/// The everyday validator is right wherever it decides: held against the full one on generated schemas.
#[test]
fn both_validators_agree() {
    let mut random = RandomSchemas(0x9e37_79b9_7f4a_7c15);
    let (mut decided, mut valid) = (0, 0);
    for round in 0..1_500 {
        let mut schema = random.schema(3);
        if let Value::Object(members) = &mut schema {
            members.insert("$defs".to_owned(), json!({"x": random.schema(1), "y": random.schema(1)}));
            if round % 3 == 0 {
                members.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
            }
        }
        let Ok(survey) = survey::survey_schema(&schema) else { continue };
        let instances: Vec<Value> = (0..4).map(|_| random.value(2)).collect();
        for instance in instances {
            let document = SchemaDocument::with_dialect(&schema, survey.dialect);
            let quick = survey
                .fits_fast_validator
                .then(|| fast_validator::validate_fast(document, &schema, &instance))
                .flatten();
            let Some(quick) = quick else { continue };
            let (full, shared) = (full_validator::FullValidator::default(), Arc::new(schema.clone()));
            let mut budget = full_validator::TimeBudget::default();
            let Ok(full) = block_on(full.validate(&shared, survey.dialect, &instance, &mut budget)) else {
                panic!("{schema} {instance}: timed out");
            };
            match full {
                Ok(full) => {
                    decided += 1;
                    valid += usize::from(full.is_empty());
                    assert_eq!(quick.is_empty(), full.is_empty(), "{schema} {instance}: {quick:?} {full:?}");
                    let mut paths: [Vec<String>; 2] =
                        [&quick, &full].map(|problems| problems.iter().map(|p| path_text(&p.path)).collect());
                    for paths in &mut paths {
                        paths.sort();
                        paths.dedup();
                    }
                    assert_eq!(paths[0], paths[1], "{schema} {instance}: {quick:?} {full:?}");
                }
                Err(error) => panic!("{schema} {instance}: {error:?}"),
            }
        }
    }
    assert!(decided > 1_500 && valid > 200, "{decided} {valid}");
}
