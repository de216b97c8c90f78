//! What stays compatible within a major version (`docs/compatibility.md`), compared with the last release: every line of
//! `tests/fixtures/released/promises.txt` must still be true. What is new passes.
//!
//! `RELEASED=1 cargo test promises` rewrites the file; it is done once for each release.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::{Arg, ArgAction, Command};
use mcpipe::error::ErrorKind;
use serde_json::{Value, json};

use super::generated_docs::{commands, root};
use super::json_documents::examples;
use crate::support::Sandbox;

const FILE: &str = "tests/fixtures/released/promises.txt";

/// The type of a member that is null in an example.
const ANY_TYPE: &str = "any";

/// The lines for a command. One that begins with `required` says what users must give: nothing may be added to those.
fn add_command(name: &str, command: &Command, lines: &mut BTreeSet<String>) {
    lines.insert(format!("command {name}"));
    lines.extend(command.get_all_aliases().map(|alias| format!("command {name}, also {alias}")));
    let is_general = |arg: &Arg| arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && (name == "mcpipe" || !is_general(arg))) {
        let takes = match (arg.get_action(), arg.get_num_args()) {
            (ArgAction::Set | ArgAction::Append, Some(number)) if number.min_values() == 0 => " [VALUE]",
            (ArgAction::Set | ArgAction::Append, _) => " VALUE",
            _ => "",
        };
        let label = match (arg.get_long(), arg.get_index()) {
            (Some(long), _) => format!("{name} --{long}"),
            (None, Some(index)) => format!("{name} argument {index}"),
            (None, None) => continue,
        };
        let kind = if arg.get_long().is_some() { "option" } else { "positional" };
        lines.insert(format!("{kind} {label}{takes}"));
        lines.extend(arg.get_short().map(|short| format!("option {label}, also -{short}")));
        lines
            .extend(arg.get_all_aliases().into_iter().flatten().map(|alias| format!("option {label}, also --{alias}")));
        for value in arg.get_possible_values().iter().filter(|_| !takes.is_empty()) {
            lines.insert(format!("value {label} {}", value.get_name()));
        }
        if arg.is_required_set() {
            lines.insert(format!("required {label}"));
        }
    }
}

/// A line for each member of a document, with the type of its value.
fn add_members(place: &str, value: &Value, lines: &mut BTreeSet<String>) {
    let mut add = |kind: &str| lines.insert(format!("{place} {kind}"));
    match value {
        Value::Null => add(ANY_TYPE),
        Value::Bool(_) => add("boolean"),
        Value::Number(_) => add("number"),
        Value::String(_) => add("string"),
        Value::Array(items) => {
            add("array");
            items.iter().for_each(|item| add_members(&format!("{place}[]"), item, lines));
            true
        }
        Value::Object(members) => {
            add("object");
            members.iter().for_each(|(name, member)| add_members(&format!("{place}.{name}"), member, lines));
            true
        }
    };
}

/// A line for each key that a JSON Schema describes, and for each word that its value may be.
fn add_keys(place: &str, schema: &Value, lines: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        lines.insert(place.clone());
        let words = property["enum"].as_array().into_iter().flatten();
        lines.extend(words.map(|word| format!("{place} = {word}")));
        add_keys(&place, property, lines);
    }
    for (name, inner) in [("additionalProperties", "NAME"), ("items", "[]")] {
        if schema[name].is_object() {
            add_keys(&format!("{place}.{inner}"), &schema[name], lines);
        }
    }
}

/// Everything that is promised, a line each.
fn promises() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (name, command) in commands() {
        add_command(&name, &command, &mut lines);
    }
    // A closed pipe is no failure for anybody who reads it.
    for kind in ErrorKind::ALL.into_iter().filter(|kind| *kind != ErrorKind::ClosedPipe) {
        lines.insert(format!("exit code {} for {}", kind.exit_code(), kind.as_str()));
    }
    for (heading, documents) in examples() {
        documents.iter().for_each(|document| add_members(&format!("json {heading}: "), document, &mut lines));
    }
    let sandbox = Sandbox::new();
    add_keys("configuration", &sandbox.mcpipe(["config", "schema"]).run().json(), &mut lines);
    add_keys("suite", &sandbox.mcpipe(["test", "--schema"]).run().json(), &mut lines);
    lines.extend(mcpipe::env::DOCUMENTED.iter().map(|(name, _)| format!("variable {name}")));
    let reference = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    let files = reference.split("\n## ").find(|section| section.starts_with("Files\n")).unwrap();
    for line in files.lines().filter_map(|line| line.strip_prefix("* ")) {
        let (names, _) = line.split_once(": ").unwrap();
        lines.extend(names.trim_matches('`').split(", ").map(|file| format!("file {file}")));
    }
    lines
}

/// The version that a snapshot is of, and its lines.
fn released(text: &str) -> (&str, BTreeSet<String>) {
    let (head, lines) = text.split_once('\n').unwrap();
    (head.strip_prefix("mcpipe ").unwrap(), lines.lines().map(str::to_owned).collect())
}

/// The promises of a release that are broken, as a message; `None` if there are none.
fn broken(version: &str, before: &BTreeSet<String>, now: &BTreeSet<String>) -> Option<String> {
    let is_demand = |line: &&String| line.starts_with("required ");
    // A member that was null may get a type.
    let has_type = |line: &&String| {
        line.strip_suffix(ANY_TYPE).is_some_and(|member| now.iter().any(|line| line.starts_with(member)))
    };
    let mut text = String::new();
    for line in before.difference(now).filter(|line| !is_demand(line) && !has_type(line)) {
        writeln!(text, "  gone: {line}").unwrap();
    }
    for line in now.difference(before).filter(is_demand) {
        // What is required by a command that did not exist breaks nothing.
        let command = line.split(' ').skip(1).take_while(|word| !word.starts_with("--") && *word != "argument");
        if before.contains(&format!("command {}", command.collect::<Vec<_>>().join(" "))) {
            writeln!(text, "  new: {line}").unwrap();
        }
    }
    let what = format!("mcpipe {version} made promises that are broken now (docs/compatibility.md):");
    let advice = "Keep the old form beside the new one, for example as an alias, or change it in a new major version.";
    (!text.is_empty()).then(|| format!("{what}\n{text}{advice}"))
}

#[test]
fn the_promises_of_the_last_release_hold() {
    let current = env!("CARGO_PKG_VERSION");
    let now = promises();
    if std::env::var_os("RELEASED").is_some() {
        let lines: String = now.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(root().join(FILE), format!("mcpipe {current}\n{lines}")).unwrap();
    }
    let text = std::fs::read_to_string(root().join(FILE)).unwrap();
    let (version, before) = released(&text);
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    assert!(before.len() > 1000, "{} promises", before.len());
    if major(version) == major(current) {
        assert_eq!(broken(version, &before, &now), None, "\n{}", broken(version, &before, &now).unwrap_or_default());
    }
}

/// The files in `tests/fixtures/released/` were written by the last release, or for it.
#[test]
fn files_of_the_last_release_are_read() {
    let sandbox = Sandbox::new();
    let released = root().join("tests/fixtures/released");
    let server = std::fs::read_to_string(root().join("tests/fixtures/weather.py")).unwrap();
    sandbox.script("weather.py", "");
    std::fs::write(sandbox.work().join("weather.py"), server).unwrap();
    for name in ["config.toml", "mcp.lock", "weather.rec", "weather.toml", "credentials.json"] {
        let path = sandbox.file(&format!("released/{name}"), std::fs::read(released.join(name)).unwrap());
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let run = |words: &[&str]| {
        let credentials = sandbox.work().join("released/credentials.json");
        let command = sandbox.mcpipe(words).args(["--config", "config.toml"]).cwd(sandbox.work().join("released"));
        command.env("MCPIPE_CREDENTIALS_FILE", credentials).run()
    };
    let checked = run(&["config", "check", "--json"]).json();
    assert_eq!((&checked["ok"], &checked["findings"]), (&json!(true), &json!([])), "{checked}");
    run(&["lock", "--check"]).exits(0).prints("").stderr_is("weather: nothing changed\n");
    run(&["call", "replay:weather.rec", "forecast", "city=Bern", "days=2"])
        .succeeds()
        .prints("Monday: sunny, 24 °C\nTuesday: cloudy, 19 °C\n");
    run(&["test", "weather.toml"]).exits(0);
    let login = &run(&["auth", "status", "--json"]).json()["credentials"][0];
    assert_eq!((&login["server"], &login["client_id"]), (&json!("far"), &json!("abc")));
    run(&["auth", "token", "far"]).succeeds().prints("aaa\n");
}

#[test]
fn additions_keep_the_promises_and_removals_break_them() {
    let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
    let before = set(&["command mcpipe call", "option mcpipe call --jobs VALUE", "json list: .state any"]);
    let mut now = before.clone();
    now.remove("json list: .state any");
    now.extend(set(&["option mcpipe call --new", "json list: .state string"]));
    now.extend(set(&["command mcpipe new", "required mcpipe new argument 1"]));
    assert_eq!(broken("1.2.0", &before, &now), None);
    now.remove("option mcpipe call --jobs VALUE");
    now.insert("required mcpipe call --new".to_owned());
    assert_eq!(
        broken("1.2.0", &before, &now).unwrap(),
        "mcpipe 1.2.0 made promises that are broken now (docs/compatibility.md):\n  \
         gone: option mcpipe call --jobs VALUE\n  new: required mcpipe call --new\n\
         Keep the old form beside the new one, for example as an alias, or change it in a new major version."
    );
}
