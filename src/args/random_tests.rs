//! Random schemas meet random words: nothing panics, and nothing takes long.

#![allow(clippy::unwrap_used)]

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{ArgumentInput, ArgumentReader, Validation, assemble_arguments, parse_call_form};
use crate::schema;
use crate::schema::SchemaValidator;
use crate::schema::tests::block_on;

/// A small generator (SplitMix64), so that every run is the same.
struct RandomInput(u64);

impl RandomInput {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 7 } else { 9 }) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(-1),
            3 => json!(1.5),
            4 => serde_json::from_str("1e999").unwrap(),
            5 => json!(self.pick(&["", "a", "null", "5", "#", "[", "^(a+)+$"])),
            6 => json!(3),
            7 => (0..self.below(3)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.below(3)).map(|_| (self.name(), self.value(depth - 1))).collect::<Map<_, _>>().into(),
        }
    }

    fn name(&mut self) -> String {
        self.pick(&["a", "b", "a.b", "0", "a[0]", "-x", "k", "", "é"]).to_owned()
    }

    fn schema(&mut self, depth: usize) -> Value {
        if depth == 0 || self.below(12) == 0 {
            return self.pick(&[
                json!(true),
                json!(false),
                json!({}),
                json!({"type": "string"}),
                json!({"type": "integer"}),
            ]);
        }
        let mut members = Map::new();
        for _ in 0..=self.below(4) {
            let (keyword, value) = self.keyword(depth - 1);
            members.insert(keyword.to_owned(), value);
        }
        Value::Object(members)
    }

    fn keyword(&mut self, depth: usize) -> (&'static str, Value) {
        let types = ["string", "integer", "number", "boolean", "null", "array", "object", "objekt"];
        match self.below(18) {
            0 | 1 => ("type", json!(self.pick(&types))),
            2 => ("type", json!([self.pick(&types), self.pick(&types)])),
            3 => {
                let keyword = self.pick(&["enum", "required", "examples"]);
                (keyword, (0..self.below(4)).map(|_| self.value(1)).collect())
            }
            4..=7 => {
                let keyword =
                    self.pick(&["properties", "properties", "$defs", "patternProperties", "dependentSchemas"]);
                let members = (0..self.below(4)).map(|_| (self.name(), self.schema(depth)));
                (keyword, members.collect::<Map<_, _>>().into())
            }
            8..=10 => {
                let keyword = self.pick(&["allOf", "anyOf", "oneOf", "prefixItems"]);
                (keyword, (0..self.below(4)).map(|_| self.schema(depth)).collect())
            }
            11..=13 => {
                let all = ["items", "not", "if", "then", "additionalProperties", "contains", "unevaluatedProperties"];
                (self.pick(&all), self.schema(depth))
            }
            14 => {
                let all =
                    ["#", "#/properties/a", "#/$defs/a", "#/oneOf/0", "https://example.com/x", "#none", "x.json", ""];
                (self.pick(&["$ref", "$ref", "$dynamicRef"]), json!(self.pick(&all)))
            }
            15 => ("pattern", json!(self.pick(&["[", "^a", "(?=a)", "(?<!b)a", "\\p{L}", "^(a|a)*$"]))),
            16 => {
                let all =
                    ["minimum", "maximum", "multipleOf", "minItems", "maxLength", "const", "default", "$schema", "$id"];
                (self.pick(&all), self.value(1))
            }
            _ => (self.pick(&["format", "description", "title", "x-mcp-header"]), self.value(1)),
        }
    }

    fn word(&mut self) -> String {
        let head = self
            .pick(&["a", "b", "a.b", "a[0]", "a[1].b", "a.0", "a[0][0]", "a[", "-x", "k", "é", "a.", "", "0", "a[99]"]);
        let sign = self.pick(&["=", ":=", "=@", ":=@", "=@@", ""]);
        let tail = self.pick(&[
            "",
            "1",
            "1e3",
            "1e999999",
            "null",
            "true",
            "x",
            "[1,2]",
            "{\"a\":{\"b\":1}}",
            "{",
            "007",
            "é",
        ]);
        format!("{head}{sign}{tail}")
    }
}

struct EmptyReader;

impl ArgumentReader for EmptyReader {
    fn read_file(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_stdin(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Ok(b"5\n".to_vec())
    }
}

#[test]
fn random_schemas_and_words_neither_panic_nor_hang() {
    let mut dice = RandomInput(7);
    let end = Instant::now() + Duration::from_secs(20);
    for round in 0..1500 {
        let schema = dice.schema(4);
        let words: Vec<String> = (0..dice.below(5)).map(|_| dice.word()).collect();
        let base = (dice.below(4) == 0).then(|| dice.value(2).to_string());
        let input = ArgumentInput { base_json: base, words: words.clone(), ..ArgumentInput::default() };
        let start = Instant::now();
        let validator = SchemaValidator::new(&schema);
        let known = (round % 9 != 0).then_some(&validator);
        match block_on(assemble_arguments(&input, known, Validation::Required, &mut EmptyReader).validate()) {
            Ok(built) => assert!(built.arguments.len() <= words.len() + 3, "{schema} {words:?}"),
            Err(problems) => assert!(!problems.is_empty(), "{schema} {words:?}"),
        }
        let rows = schema::parameters(&schema);
        assert!(rows.len() < 400, "{schema}");
        let _ = (block_on(schema::example_arguments(&validator)), schema::output_shape(&schema));
        let _ = schema::signature(&json!({"name": "t", "inputSchema": schema}));
        assert!(start.elapsed() < Duration::from_secs(5), "{schema} {words:?}");
        if Instant::now() > end {
            return;
        }
    }
}

#[test]
fn random_call_forms_neither_panic_nor_hang() {
    let mut dice = RandomInput(11);
    let pieces = [
        "f(", ")", "a", ":", "=", ",", "{", "}", "[", "]", "\"", "'", "\\", "u", "{1f600}", "1", "-", ".", "é", " ",
        ";",
    ];
    for _ in 0..20_000 {
        let text: String = (0..dice.below(14)).map(|_| dice.pick(&pieces)).collect();
        let _ = parse_call_form(&format!("f({text}"));
        let _ = parse_call_form(&text);
    }
}
