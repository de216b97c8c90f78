//! The reference of test suites: `docs/suite.md` and `mcpipe-suite.5`, from the table of keys that is also the source of
//! `mcpipe test --schema`, and from the text here.

use std::fmt::Write;

use mcpipe::commands::test::suite_keys::{ACTION_KEYS, FILE_KEYS, FieldType, SuiteKey, TEST_KEYS};

use super::reference::{
    Block, KeyEntry, manual_files, manual_keys, manual_sections, markdown_files, markdown_keys, markdown_sections,
    sentence,
};
use super::roff::Page;

const DESCRIPTION: &[Block] = &[
    Block::Text(
        "A suite is a TOML file with requests to an MCP server, and what their results must be. `mcpipe test FILE` runs \
         it, `mcpipe test DIR` runs every suite in a directory and below it, and `mcpipe test --init TARGET` writes one.",
    ),
    Block::Example(
        "\
target = \"linear\"
timeout = \"10s\"

[[test]]
name = \"adds\"
call = \"get-sum\"
args = { a = 2, b = 3 }
text = \"The sum of 2 and 3 is 5.\"
expect = ['.content | length == 1']
max_time = \"2s\"

[[test]]
name = \"refuses text\"
call = \"get-sum\"
args = { a = \"x\", b = 3 }
validate = false
fails = \"failed\"
message = \"(?i)invalid\"

[[test]]
call = \"create\"
args = { title = \"x\" }
capture = { id = \".structuredContent.id\" }
requires = \"effects\"

[[test]]
call = \"get\"
args = { id = \"${id}\" }
snapshot = true
volatile = ['.structuredContent.updated']",
    ),
    Block::Text(
        "The tests run one after the other over one connection. A test fails if its request fails, unless it has `fails`, or if \
         the result is not as its keys say.",
    ),
    Block::Text(
        "A suite is checked before mcpipe connects to the server. An unknown key, a wrong type, an expression that does not \
         compile and a reference without a value are errors with the file and line (exit code 3).",
    ),
];

const VALUES: &[Block] = &[
    Block::Text(
        "mcpipe replaces references in every string, except in `name`, `volatile`, times, keys with fixed words (`list`, \
         `fails`, `requires`) and the names of members.",
    ),
    Block::Entries(&[
        (
            "${NAME}",
            "The value that an earlier test captured as NAME, with its type; else the environment variable NAME.",
        ),
        ("${NAME:-TEXT}", "The same, or TEXT if there is no such value."),
        ("${keychain:NAME}", "The secret that `mcpipe config secret set NAME` stored."),
        ("${command:LINE}", "What the command LINE prints, without line breaks at the end. No shell is run."),
        ("$${", "A literal ${."),
    ]),
    Block::Text(
        "Secrets are removed from all output. A time is a number of seconds, or a string such as \"500ms\", \"30s\" or \
         \"2m\".",
    ),
];

const SECTIONS: [(&str, &[Block]); 2] = [("Description", DESCRIPTION), ("Values", VALUES)];

const KEYS: [(&str, &str, &[SuiteKey]); 3] = [
    (
        "the file",
        "Instead of `target`, a suite may have the keys of one server in the configuration (`url` or `command`, `args`, `env`, \
         `headers` and so on); `mcpipe man config.5` describes them.",
        FILE_KEYS,
    ),
    ("a test: what it does", "Each `[[test]]` has exactly one of these keys.", ACTION_KEYS),
    ("a test: what must be true", "All of these keys are optional.", TEST_KEYS),
];

const FILES: &[(&str, &str)] = &[
    ("NAME.toml", "A suite."),
    ("NAME.snapshots/", "The snapshots of the suite NAME.toml: one JSON file for each test with `snapshot`."),
];

/// What a key may hold, in words.
fn type_name(key: &SuiteKey) -> String {
    match key.kind {
        FieldType::Text => "string".to_owned(),
        FieldType::Texts => "string or array of strings".to_owned(),
        FieldType::Flag => "boolean".to_owned(),
        FieldType::Time => "time".to_owned(),
        FieldType::Table => "table".to_owned(),
        FieldType::Names => "table of strings".to_owned(),
        FieldType::Tests => "array of tables".to_owned(),
        FieldType::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            words.join(", ")
        }
    }
}

fn entries(keys: &[SuiteKey]) -> Vec<KeyEntry> {
    let entry = |key: &SuiteKey| KeyEntry {
        name: key.name,
        facts: format!("{} Default: {}.", sentence(&type_name(key)), key.default),
        description: key.description(),
        example: key.example.to_owned(),
    };
    keys.iter().map(entry).collect()
}

/// `docs/suite.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Test suites\n\nGenerated from the table of keys in `src/commands/test/suite_keys.rs` and from \
         `tests/cli/suite_reference.rs`; do not edit. `mcpipe man suite.5` is the same as a manual page, and `mcpipe test \
         --schema` prints a JSON Schema for editors. [test.md](test.md) describes how suites are run.\n",
    );
    markdown_sections(&mut text, &SECTIONS);
    for (part, about, keys) in KEYS {
        write!(text, "\n## Keys of {part}\n\n{about}\n").unwrap();
        markdown_keys(&mut text, &entries(keys));
    }
    markdown_files(&mut text, FILES);
    text
}

/// `man/mcpipe-suite.5`.
pub fn manual() -> String {
    let mut page = Page::new("mcpipe-suite", 5);
    page.name("mcpipe-suite", "test suites of mcpipe");
    page.section("SYNOPSIS");
    page.entry("\\fBmcpipe test\\fR \\fIFILE.toml\\fR", &[]);
    manual_sections(&mut page, &SECTIONS);
    for (part, about, keys) in KEYS {
        page.section(&format!("KEYS OF {}", part.to_uppercase()));
        page.paragraph(about);
        manual_keys(&mut page, &entries(keys));
    }
    manual_files(&mut page, FILES);
    page.section("EXAMPLES");
    page.verbatim([
        "  mcpipe test --init linear > linear.toml",
        "  mcpipe test linear.toml",
        "  mcpipe test --schema > suite.schema.json",
    ]);
    page.section("SEE ALSO");
    page.references(&[("mcpipe".to_owned(), 1), ("mcpipe-test".to_owned(), 1), ("mcpipe-config".to_owned(), 5)]);
    page.finish()
}

/// The texts of the keys, which need not be shown elsewhere.
pub fn texts() -> Vec<&'static str> {
    let keys = KEYS.iter().flat_map(|(_, _, keys)| *keys);
    keys.flat_map(|key| [key.help, key.details, key.default, key.example]).collect()
}

/// The example of every key is accepted in a suite.
#[test]
fn the_example_of_every_suite_key_is_valid() {
    let sandbox = crate::support::Sandbox::new();
    for (keys, is_action) in [(FILE_KEYS, false), (ACTION_KEYS, true), (TEST_KEYS, false)] {
        for key in keys {
            let rest = match key.name {
                "$schema" | "timeout" => "target = 'gone'\n[[test]]\ncall = 'x'",
                "target" => "[[test]]\ncall = 'x'",
                "test" => "",
                "message" => "fails = 'failed'\ncall = 'x'",
                "volatile" => "snapshot = true\ncall = 'x'",
                _ if is_action => "",
                _ => "call = 'x'",
            };
            let head = if keys[0].name == "$schema" { "" } else { "target = 'gone'\n[[test]]\n" };
            let head = if key.name == "test" { "target = 'gone'\n" } else { head };
            sandbox.file("suite.toml", format!("{head}{}\n{rest}\n", key.example));
            let run = sandbox.mcpipe(["test", "suite.toml"]).run();
            // The suite is valid, so only its server is unknown.
            run.exits(3).stderr_contains("is configured");
        }
    }
}
