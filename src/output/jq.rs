//! `--jq EXPR`: the JSON documents of a run, filtered before they are printed.
//!
//! The filter is compiled once, before anything is sent, so that a mistake in it is reported first. Numbers that it
//! does not compute with keep every digit.

use std::sync::atomic::{AtomicBool, Ordering};

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Exn, Vars};
use jaq_json::Val;

use super::document::JsonDocument;
pub use super::jq_value::JqOutput;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt;
use crate::util::shorten::shorten;

type JqData = JustLut<Val>;

/// The number of characters of a filter's error message that are shown.
const MAX_ERROR_LENGTH: usize = 200;

/// Functions of jq that the library does not define, or otherwise.
const DEFINITIONS: &str = r#"
def delpaths($paths): _delpaths($paths);
def del(f): delpaths([path(f)]);
def env: $ENV;
def halt_error($code): error(.);
def halt_error: error(.);
def _cells(text; separator):
  [.[] | if isstring then text elif . == null then "" elif isarray or isobject
    then error("\(type) cannot be formatted as a row") elif isnumber and . == floor and fabs < 1e17 then floor | tostring else tostring end] | join(separator);
def @csv: _cells("\"" + gsub("\""; "\"\"") + "\""; ",");
def @tsv: _cells(gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r"); "\t");
"#;

/// A filter, ready to run.
pub struct JqFilter {
    compiled: jaq_core::Filter<JqData>,
    environment: Vec<(String, String)>,
    /// Whether there was an output, and the last one was neither false nor null.
    last_is_truthy: AtomicBool,
}

impl std::fmt::Debug for JqFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter")
    }
}

impl JqFilter {
    /// Reads a filter. `environment` is called if the filter uses `$ENV` or `env`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], with the place of the mistake.
    pub fn new(text: &str, environment: impl FnOnce() -> Vec<(String, String)>) -> Result<Self> {
        let ours = load::parse(DEFINITIONS, |parser| parser.defs()).unwrap_or_default();
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(ours);
        let funs = jaq_core::funs::<JqData>().chain(jaq_std::funs::<JqData>()).chain(jaq_json::funs::<JqData>());
        let funs = funs.chain([super::jq_delete::function()]);
        let arena = Arena::default();
        let modules = Loader::new(defs).load(&arena, File { code: text, path: () }).map_err(|errors| {
            invalid_filter(text, errors.into_iter().flat_map(|(_, error)| parse_errors(text, error)))
        })?;
        let compiled =
            Compiler::default().with_funs(funs).with_global_vars(["$ENV"]).compile(modules).map_err(|errors| {
                let unknown = errors.into_iter().flat_map(|(_, errors)| errors);
                invalid_filter(text, unknown.map(|(name, what)| format!("there is no {} '{name}'", what.as_str())))
            })?;
        let environment = if text.contains("$ENV") || text.contains("env") { environment() } else { Vec::new() };
        Ok(JqFilter { compiled, environment, last_is_truthy: AtomicBool::new(false) })
    }

    /// Whether the filter has had an output, and the last one was neither false nor null (`jq -e`).
    #[must_use]
    pub fn last_is_truthy(&self) -> bool {
        self.last_is_truthy.load(Ordering::Relaxed)
    }

    /// Filters one document; `print` gets each output as it comes.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] if the filter fails on this document; those of `print`.
    pub fn run(&self, document: JsonDocument<'_>, mut print: impl FnMut(JqOutput) -> Result<()>) -> Result<()> {
        // A filter may run forever.
        interrupt::enter_blocking();
        let input = document.into_value()?;
        let pairs = self.environment.iter();
        let environment: jaq_json::Map =
            pairs.map(|(name, value)| (Val::from(name.clone()), Val::from(value.clone()))).collect();
        let context = Ctx::<JqData>::new(&self.compiled.lut, Vars::new([Val::obj(environment)]));
        for output in self.compiled.id.run((context, input)) {
            match output {
                Ok(value) => {
                    let truthy = !matches!(value, Val::Null | Val::Bool(false));
                    self.last_is_truthy.store(truthy, Ordering::Relaxed);
                    print(value.into())?;
                }
                Err(exception) => return exception_result(exception),
            }
        }
        Ok(())
    }
}

/// The outcome of a filter that stopped early: `halt` is not a failure.
fn exception_result(exception: Exn<'_, Val>) -> Result<()> {
    match exception.get_err() {
        Ok(error) => Err(Failure::new(ErrorKind::Failed, "--jq: the filter failed on the result")
            // It may contain the value that the filter failed on, even the whole document.
            .cause(shorten(&error.to_string(), MAX_ERROR_LENGTH))
            .hint("use --json to see the whole document")),
        Err(exception) => match exception.get_halt() {
            Ok(0) => Ok(()),
            Ok(code) => Err(Failure::new(ErrorKind::Failed, format!("--jq: the filter halted with {code}"))),
            Err(_) => Err(Failure::new(ErrorKind::Bug, "--jq: the filter ended unexpectedly")),
        },
    }
}

fn invalid_filter(text: &str, causes: impl Iterator<Item = String>) -> Failure {
    let failure = Failure::new(ErrorKind::Usage, format!("--jq: '{text}' is not a valid filter"));
    causes.fold(failure, Failure::cause).hint("filters use jq syntax, for example '.tools[].name'")
}

/// What is wrong, each with its position.
fn parse_errors(text: &str, error: load::Error<&str>) -> Vec<String> {
    let place = |found: &str| match load::span(text, found).start {
        at if found.is_empty() || at >= text.len() => "at the end".to_owned(),
        at => format!("at '{}'", text[at..].chars().take(20).collect::<String>()),
    };
    match error {
        load::Error::Io(errors) => errors.into_iter().map(|(name, why)| format!("{name}: {why}")).collect(),
        load::Error::Lex(errors) => errors
            .into_iter()
            .map(|(expected, found)| format!("expected {} {}", expected.as_str(), place(found)))
            .collect(),
        load::Error::Parse(errors) => errors
            .into_iter()
            .map(|(expected, found)| format!("expected {} {}", expected.as_str(), place(found)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::borrow::Cow;

    use bytes::Bytes;

    use super::super::jq_value::{MAX_DEPTH, PIECE};
    use super::*;

    fn run(filter: &str, document: &str) -> String {
        let mut all = String::new();
        let filter = JqFilter::new(filter, || vec![("A".into(), "b".into())]).unwrap();
        let ended = filter.run(JsonDocument::from(Cow::from(document)), |output| {
            output.write_line(|piece| {
                all.push_str(std::str::from_utf8(piece).unwrap());
                Ok(())
            })
        });
        match ended {
            Ok(()) => all,
            Err(failure) => format!("{all}{:?}: {failure}", failure.kind()),
        }
    }

    #[test]
    fn strings_are_raw_and_the_rest_is_json() {
        assert_eq!(
            run(".[]", r#"["a\nb",1,null,{"z":1,"a":[true]},"\u00e9"]"#),
            "a\nb\n1\nnull\n{\"z\":1,\"a\":[true]}\né\n"
        );
        assert_eq!(run("empty", "1"), "");
        assert_eq!(run("[.[] | select(. > 1)] | length", "[1,2,3]"), "2\n");
        assert_eq!(
            run(".a | @json, @base64 , test(\"^x\") , ascii_upcase", r#"{"a":"xy"}"#),
            "\"xy\"\neHk=\ntrue\nXY\n"
        );
        assert_eq!(run("$ENV.A, (env | .A), (env == $ENV), halt, 1", "0"), "b\nb\ntrue\n");
    }

    #[test]
    fn rows_are_formatted_as_jq_formats_them() {
        let row = r#"[1, "a\"b", null, true, "t\tn\n\\"]"#;
        assert_eq!(run("@csv", row), "1,\"a\"\"b\",,true,\"t\tn\n\\\"\n");
        assert_eq!(run("@tsv", row), "1\ta\"b\t\ttrue\tt\\tn\\n\\\\\n");
        assert_eq!(run("[.[] / 2] | @csv", "[4, 3, 0]"), "2,1.5,0\n");
        assert!(run("@csv", "[[]]").contains("array cannot be formatted"));
    }

    #[test]
    fn what_is_deleted_leaves_the_rest_in_order() {
        let object = r#"{"a":1,"b":{"x":[1,2,3],"y":1},"c":null}"#;
        for (filter, rest) in [
            ("del(.a)", r#"{"b":{"x":[1,2,3],"y":1},"c":null}"#),
            ("del(.c, .b.x[0, -1])", r#"{"a":1,"b":{"x":[2],"y":1}}"#),
            ("del(.b.x[1:])", r#"{"a":1,"b":{"x":[1],"y":1},"c":null}"#),
            ("del(.no.such, .b.x[7], .c.d)", object),
            ("del(.. | .x?, .y?)", r#"{"a":1,"b":{},"c":null}"#),
            ("delpaths([[\"b\",\"x\",0],[\"b\",\"y\"]])", r#"{"a":1,"b":{"x":[2,3]},"c":null}"#),
            ("del(.b.x[0], .b.x[0], .b.x[-3])", r#"{"a":1,"b":{"x":[2,3],"y":1},"c":null}"#),
            ("del(.b.x[1:][0], .b.x[0:1])", r#"{"a":1,"b":{"x":[3],"y":1},"c":null}"#),
            ("del(.)", "null"),
        ] {
            assert_eq!(run(filter, object), format!("{rest}\n"), "{filter}");
        }
        for wrong in ["delpaths([\"a\"])", "delpaths(1)", "delpaths([[\"a\", \"b\"]])", "delpaths([[1]])"] {
            assert!(run(wrong, object).starts_with("Failed: "), "{wrong}");
        }
        assert_eq!(run("del(.[] | select(. == 2))", "[1,2,2,3]"), "[1,3]\n");
    }

    #[test]
    fn tol_06_numbers_keep_every_digit() {
        for number in ["12345678901234567890123", "1.10", "1E400", "-0.0", "0.1000000000000000055511151231257827"] {
            assert_eq!(run(".n", &format!("{{\"n\":{number}}}")), format!("{number}\n"));
        }
        assert_eq!(run(".n + 1", r#"{"n":12345678901234567890123}"#), "12345678901234567890124\n");
        assert_eq!(run("[4/2, 1/2, {a: (9 | sqrt)}]", "0"), "[2,0.5,{\"a\":3}]\n");
        // As jq prints what JSON has no number for.
        let extreme = "[null,1.7976931348623157e308,-1.7976931348623157e308]\n";
        assert_eq!(run("[nan, infinite, -infinite]", "0"), extreme);
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_its_place() {
        let said = |text: &str| {
            let failure = JqFilter::new(text, Vec::new).unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Usage);
            failure.to_string()
        };
        assert_eq!(said(".a | nope(1)"), "--jq: '.a | nope(1)' is not a valid filter: there is no filter 'nope'");
        assert_eq!(said(".a | $x"), "--jq: '.a | $x' is not a valid filter: there is no variable '$x'");
        assert_eq!(said("(.a"), "--jq: '(.a' is not a valid filter: expected closing parenthesis at the end");
        assert_eq!(said(".a |"), "--jq: '.a |' is not a valid filter: expected term at the end");
        assert_eq!(
            said("if . then 1 fi"),
            "--jq: 'if . then 1 fi' is not a valid filter: expected else or end at 'fi'"
        );
        assert_eq!(said("\"é"), "--jq: '\"é' is not a valid filter: expected closing quote at the end");
        assert!(said("import \"a\" as a; .").contains("is not a valid filter"));
    }

    #[test]
    fn a_filter_may_fail_after_some_outputs() {
        let failed = "1\nFailed: --jq: the filter failed on the result: cannot index 1 with \"a\"";
        assert_eq!(run("1, .a", "1"), failed);
        assert_eq!(run("halt_error", "\"no\""), "Failed: --jq: the filter failed on the result: \"no\"");
        assert_eq!(run("halt_error(3)", "{}"), "Failed: --jq: the filter failed on the result: {}");
        assert_eq!(run("error(\"no\")", "1"), "Failed: --jq: the filter failed on the result: \"no\"");
    }

    #[test]
    fn a_large_output_is_written_in_pieces() {
        let long = "x\\n".repeat(100_000);
        let document = document_text(&long);
        for filter in [".", ".a[0]", ".a[1]"] {
            let (mut pieces, mut text) = (Vec::new(), String::new());
            let document = JsonDocument::from(Cow::from(&document));
            let run = JqFilter::new(filter, Vec::new).unwrap().run(document, |output| {
                output.write_line(|piece| {
                    pieces.push(piece.len());
                    text.push_str(std::str::from_utf8(piece).unwrap());
                    Ok(())
                })
            });
            run.unwrap();
            match filter {
                "." => assert!(
                    text.trim_end() == document_text(&long)
                        && pieces.len() > 10
                        && pieces.iter().all(|piece| *piece <= PIECE)
                ),
                ".a[0]" => assert_eq!(pieces, [200_000, 1]),
                _ => assert_eq!((text.as_str(), pieces.as_slice()), ("1\n", &[2][..])),
            }
        }
        let failed = JqOutput::Text(Bytes::from_static(b"a")).write_line(|_| Err("no"));
        assert_eq!(failed, Err("no"));
    }

    fn document_text(long: &str) -> String {
        format!(r#"{{"a":["{long}",1,"{long}"]}}"#)
    }

    #[test]
    fn sec_07_a_document_that_is_too_deep_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(run("length", &nested(MAX_DEPTH)), "1\n");
        assert!(run("length", &nested(MAX_DEPTH + 1)).contains("too deeply"));
    }
}
