//! The reference of the commands, read from the clap definitions: one structure for the manual pages and `docs/cli.md`.

use std::fmt::Write;

use clap::{Arg, Command};

use super::roff;
use super::roff::Page;

/// A command as the reference shows it.
pub struct CommandReference {
    /// The whole name: `mcpipe config add`.
    pub name: String,
    about: String,
    description: Vec<String>,
    usage: Vec<String>,
    arguments: Vec<Entry>,
    /// The options by heading.
    options: Vec<(String, Vec<Entry>)>,
    /// What the help ends with, by heading.
    sections: Vec<(String, Vec<String>)>,
    subcommands: Vec<(String, String)>,
    connects: bool,
}

/// An argument or option.
struct Entry {
    /// `-H, --header <NAME: VALUE>`
    term: String,
    paragraphs: Vec<String>,
    values: Vec<(String, String)>,
}

const TARGET_OPTIONS: &str = "Target options";
const GENERAL_OPTIONS: &str = "General options";

impl CommandReference {
    pub fn new(name: &str, command: &Command) -> Self {
        let mut options: Vec<(String, Vec<Entry>)> = Vec::new();
        let mut arguments = Vec::new();
        for arg in command.get_arguments() {
            if arg.is_positional() {
                arguments.push(Entry::new(arg));
                continue;
            }
            let heading = arg.get_help_heading().unwrap_or("Options");
            let general = heading == GENERAL_OPTIONS && name != "mcpipe";
            if general || matches!(arg.get_id().as_str(), "help" | "version") {
                continue;
            }
            match options.iter_mut().find(|(known, _)| known == heading) {
                Some((_, entries)) => entries.push(Entry::new(arg)),
                None => options.push((heading.to_owned(), vec![Entry::new(arg)])),
            }
        }
        // The command's own options come first.
        options.sort_by_key(|(heading, _)| match heading.as_str() {
            "Options" => 0,
            TARGET_OPTIONS => 2,
            GENERAL_OPTIONS => 3,
            _ => 1,
        });
        let usage = command.clone().render_usage().to_string();
        let subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set());
        let text = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let rest = text.strip_prefix(&about).unwrap_or(&text);
        let end = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        CommandReference {
            name: name.to_owned(),
            description: paragraphs(rest),
            usage: usage.trim_start_matches("Usage: ").lines().map(|line| line.trim().to_owned()).collect(),
            arguments,
            connects: options.iter().any(|(heading, _)| heading == TARGET_OPTIONS),
            options,
            sections: sections(end.split("General options (").next().unwrap_or_default()),
            subcommands: subcommands
                .map(|sub| (sub.get_name().to_owned(), sub.get_about().map(ToString::to_string).unwrap_or_default()))
                .collect(),
            about,
        }
    }

    /// The name of the manual page: `mcpipe-config-add`.
    pub fn page_name(&self) -> String {
        self.name.replace(' ', "-")
    }

    /// The manual page.
    pub fn manual(&self) -> String {
        let mut page = Page::new(&self.page_name(), 1);
        page.name(&self.page_name(), &lower_first(&self.about));
        page.section("SYNOPSIS");
        for (at, line) in self.usage.iter().enumerate() {
            page.raw_line(&roff::usage(line), at > 0);
        }
        page.section("DESCRIPTION");
        for paragraph in &self.description {
            page.paragraph(paragraph);
        }
        if !self.subcommands.is_empty() {
            page.section("COMMANDS");
            for (name, about) in &self.subcommands {
                let term = format!("\\fB{}\\fR(1)", roff::literal(&format!("{}-{name}", self.page_name())));
                page.entry(&term, &[format!("{about}.")]);
            }
        }
        self.manual_arguments(&mut page);
        for (heading, entries) in &self.options {
            page.section(&heading.to_uppercase());
            for entry in entries {
                entry.write_manual(&mut page);
            }
        }
        if self.name != "mcpipe" {
            page.section("GENERAL OPTIONS");
            page.paragraph(
                "`--json`, `--jq`, `--quiet`, `--verbose`, `--timeout` and the other options that every command has are \
                 described in `mcpipe`(1).",
            );
        }
        exit_status(&mut page);
        self.manual_environment(&mut page);
        files(&mut page);
        for (heading, lines) in &self.sections {
            if heading == "EXAMPLES" {
                page.section(heading);
                page.verbatim(lines.iter().map(String::as_str));
            }
        }
        page.section("SEE ALSO");
        page.references(&self.see_also());
        page.finish()
    }

    fn manual_arguments(&self, page: &mut Page) {
        let forms = self.sections.iter().find(|(heading, _)| heading == "ARGUMENTS");
        if self.arguments.is_empty() && forms.is_none() {
            return;
        }
        page.section("ARGUMENTS");
        for entry in &self.arguments {
            entry.write_manual(page);
        }
        if let Some((_, lines)) = forms {
            page.verbatim(lines.iter().map(String::as_str));
        }
    }

    fn manual_environment(&self, page: &mut Page) {
        page.section("ENVIRONMENT");
        let chosen: &[&str] = match self.name.as_str() {
            "mcpipe" => &[],
            "mcpipe config edit" => &["MCPIPE_CONFIG", "VISUAL", "EDITOR"],
            "mcpipe completions" | "mcpipe man" => &["NO_COLOR"],
            _ if self.connects => {
                &["MCPIPE_CONFIG", "MCPIPE_LOGIN", "MCPIPE_CREDENTIALS_FILE", "MCPIPE_CACHE_DIR", "HTTPS_PROXY"]
            }
            _ => &["MCPIPE_CONFIG"],
        };
        for (name, what) in mcpipe::env::DOCUMENTED {
            if chosen.is_empty() || chosen.contains(name) {
                page.entry(&format!("\\fB{}\\fR", roff::literal(name)), &[what.trim().to_owned()]);
            }
        }
        if !chosen.is_empty() {
            page.paragraph("`mcpipe`(1) lists all variables.");
        }
    }

    fn see_also(&self) -> Vec<(String, u8)> {
        let mut all = vec![("mcpipe".to_owned(), 1)];
        if let Some((parent, _)) = self.name.rsplit_once(' ') {
            all.push((parent.replace(' ', "-"), 1));
        }
        all.extend(self.subcommands.iter().map(|(name, _)| (format!("{}-{name}", self.page_name()), 1)));
        let related: &[&str] = match self.name.as_str() {
            "mcpipe list" => &["mcpipe-call", "mcpipe-read", "mcpipe-prompt"],
            "mcpipe call" => &["mcpipe-list", "mcpipe-task"],
            "mcpipe read" | "mcpipe prompt" => &["mcpipe-list"],
            "mcpipe task" => &["mcpipe-call"],
            "mcpipe auth login" => &["mcpipe-auth-status", "mcpipe-auth-logout"],
            "mcpipe auth token" => &["mcpipe-auth-import"],
            "mcpipe auth import" => &["mcpipe-auth-token"],
            "mcpipe config add" => &["mcpipe-config-import", "mcpipe-config-check"],
            "mcpipe config secret set" => &["mcpipe-config-secret-list"],
            _ => &[],
        };
        all.extend(related.iter().map(|name| ((*name).to_owned(), 1)));
        all.push(("mcpipe-config".to_owned(), 5));
        if self.name == "mcpipe test" {
            all.push(("mcpipe-suite".to_owned(), 5));
        }
        all.retain(|(name, section)| *name != self.page_name() || *section == 5);
        all.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
        all.dedup();
        all
    }

    /// The section of `docs/cli.md`.
    pub fn markdown(&self) -> String {
        let mut text = format!("\n## `{}`\n\n{}.\n\n", self.name, self.about);
        for paragraph in &self.description {
            writeln!(text, "{}\n", markdown_text(paragraph)).unwrap();
        }
        writeln!(text, "```text\n{}\n```", self.usage.join("\n")).unwrap();
        for (name, about) in &self.subcommands {
            write!(text, "\n* `{} {name}`: {about}", self.name).unwrap();
        }
        if !self.subcommands.is_empty() {
            text.push('\n');
        }
        entries_as_markdown(&mut text, "", &self.arguments);
        for (heading, entries) in &self.options {
            match heading.as_str() {
                TARGET_OPTIONS => text.push_str("\nThis command also has the [target options](#target-options).\n"),
                "Options" => entries_as_markdown(&mut text, "", entries),
                heading => entries_as_markdown(&mut text, heading, entries),
            }
        }
        for (heading, lines) in &self.sections {
            // The environment is listed at the end of the file.
            if heading != "ENVIRONMENT" {
                writeln!(text, "\n{}:\n\n```text\n{}\n```", capitalized(heading), lines.join("\n")).unwrap();
            }
        }
        text
    }

    /// The target options, which many commands have.
    pub fn target_options_as_markdown(&self) -> String {
        let mut text = String::new();
        for (heading, entries) in &self.options {
            if heading == TARGET_OPTIONS {
                entries_as_markdown(&mut text, "", entries);
            }
        }
        text
    }
}

impl Entry {
    fn new(arg: &Arg) -> Self {
        let names: Vec<&str> = arg.get_value_names().unwrap_or_default().iter().map(AsRef::as_ref).collect();
        let values = match (arg.is_positional(), names.as_slice(), arg.get_action().takes_values()) {
            (_, _, false) | (_, [], _) => String::new(),
            (true, [name], _) if name.contains('[') => (*name).to_owned(),
            (_, names, _) => format!("<{}>", names.join("> <")),
        };
        let flag = match (arg.get_short(), arg.get_long()) {
            (Some(short), Some(long)) => format!("-{short}, --{long}"),
            (None, Some(long)) => format!("--{long}"),
            _ => String::new(),
        };
        let several = arg.is_positional()
            && !values.contains(' ')
            && arg.get_num_args().is_some_and(|range| range.max_values() > 2);
        let term = format!("{flag} {values}{}", if several { "..." } else { "" }).trim().to_owned();
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let values = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set() && arg.get_action().takes_values())
            .map(|value| {
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                (value.get_name().to_owned(), help)
            })
            .collect();
        Entry { term, paragraphs: paragraphs(&help), values }
    }

    /// The description in sentences, the values included.
    fn sentences(&self) -> Vec<String> {
        let mut all: Vec<String> = self.paragraphs.iter().map(|paragraph| sentence(paragraph)).collect();
        let described = self.values.iter().any(|(_, help)| !help.is_empty());
        let list: Vec<String> = self
            .values
            .iter()
            .map(|(name, help)| match lower_first(help) {
                help if help.is_empty() || help == *name => format!("`{name}`"),
                help => format!("`{name}` ({help})"),
            })
            .collect();
        match (list.as_slice(), described) {
            ([], _) => {}
            (list, true) => all.push(format!("The values are {}.", list.join("; "))),
            (list, false) => all.push(format!("The values are {}.", list.join(", "))),
        }
        all
    }

    fn write_manual(&self, page: &mut Page) {
        page.entry(&roff::usage(&self.term), &self.sentences());
    }
}

fn entries_as_markdown(text: &mut String, heading: &str, entries: &[Entry]) {
    if entries.is_empty() {
        return;
    }
    text.push('\n');
    if !heading.is_empty() {
        writeln!(text, "{heading}:\n").unwrap();
    }
    for entry in entries {
        let sentences: Vec<String> = entry.sentences().iter().map(|paragraph| markdown_text(paragraph)).collect();
        writeln!(text, "* `{}`: {}", entry.term, sentences.join(" ")).unwrap();
    }
}

/// What HTML would take for a tag is escaped.
fn markdown_text(text: &str) -> String {
    text.replace('<', "\\<").replace('*', "\\*")
}

fn paragraphs(text: &str) -> Vec<String> {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect()
}

/// A help text as a sentence; the default that it ends with stays at its end.
fn sentence(text: &str) -> String {
    match text.split_once(" [default: ").and_then(|(start, end)| Some((start, end.strip_suffix(']')?))) {
        Some((start, default)) => format!("{}. The default is {default}.", start.trim_end_matches('.')),
        None if text.ends_with(['.', ':']) => text.to_owned(),
        None => format!("{text}."),
    }
}

fn lower_first(text: &str) -> String {
    // `MCP`, `OpenAI` and names stay as they are.
    const NAMES: [&str; 3] = ["Anthropic", "Google", "Streamable"];
    let first = text.split([' ', '\'', ',']).next().unwrap_or_default();
    if first.chars().skip(1).any(|c| c.is_ascii_uppercase()) || NAMES.contains(&first) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| format!("{first}{}", chars.as_str().to_lowercase())).unwrap_or_default()
}

/// What the help ends with, by heading; lines without one are notes. A heading that says more stays a line.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    const HEADINGS: [(&str, &str); 5] = [
        ("Arguments", "ARGUMENTS"),
        ("Files", "FILES"),
        ("Examples", "EXAMPLES"),
        ("Exit codes", "EXIT STATUS"),
        ("Environment", "ENVIRONMENT"),
    ];
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.trim_end().lines() {
        let heading = HEADINGS.iter().find(|(word, _)| line.ends_with(':') && line.starts_with(word));
        if let Some((word, heading)) = heading {
            let more = (line.len() > word.len() + 1).then(|| line.to_owned());
            all.push(((*heading).to_owned(), more.into_iter().collect()));
            continue;
        }
        if all.is_empty() {
            all.push(("NOTES".to_owned(), Vec::new()));
        }
        all.last_mut().unwrap().1.push(line.to_owned());
    }
    for (_, lines) in &mut all {
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
    }
    all
}

/// The exit codes, as the README describes them.
const EXIT_CODES: [(&str, &str); 13] = [
    ("0", "Success."),
    ("1", "The server reported a failure: `isError`, a JSON-RPC error, or an unknown tool, prompt or resource."),
    ("2", "Usage: an unknown option, or arguments that the tool's schema does not accept."),
    ("3", "Configuration: an unknown server, an invalid file, a variable or secret that is missing."),
    ("4", "Authentication is required or was refused."),
    (
        "5",
        "Unreachable: name resolution, connection refused, TLS, HTTP 404, 429 or 5xx, or the server process did not \
         start or exited.",
    ),
    ("6", "Timeout."),
    ("7", "Protocol error: an invalid message from the server, or no common protocol revision."),
    ("8", "Refused by the configuration or by the user."),
    ("9", "Not as expected: a test, an expectation or a lock file does not hold."),
    ("70", "A bug in mcpipe."),
    ("74", "Output error, for example a full disk."),
    ("129, 130, 143", "The terminal was closed (SIGHUP), interrupted (SIGINT), terminated (SIGTERM)."),
];

fn exit_status(page: &mut Page) {
    page.section("EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        page.entry(&format!("\\fB{code}\\fR"), &[meaning.to_owned()]);
    }
}

fn files(page: &mut Page) {
    page.section("FILES");
    for (file, what) in [
        ("~/.config/mcpipe/config.toml", "Your configuration."),
        (".mcpipe.toml", "The configuration of a project."),
        (".mcp.json", "The servers of a project, in the format that other MCP clients share."),
    ] {
        page.entry(&format!("\\fI{}\\fR", roff::entry_term(file)), &[what.to_owned()]);
    }
    page.paragraph("`mcpipe-config`(5) describes these files and lists all others.");
}
