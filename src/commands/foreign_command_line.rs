//! The command line of mcpipe for that of another MCP client, in which options name the server, the tool and its
//! arguments.

use crate::cli;
use crate::commands::missing_separator::{after_command, is_config_add, option_with_value};
use crate::env::launchers::is_launcher;
use crate::schema::literal_value;
use crate::util::quoting::{quote_without_secrets, split};

/// What an option of another client means.
#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    /// A URL or the name of a server.
    Target,
    /// A server's command line in one word.
    CommandLine,
    /// One more word of the server's command line.
    CommandWord,
    Tool,
    Prompt,
    Uri,
    /// The method of the request.
    Method,
    /// `NAME=VALUE`.
    Argument,
    /// All arguments, as JSON.
    Arguments,
    /// The format of the output.
    Format,
    /// It says nothing that mcpipe has to be told.
    Nothing,
}

/// The meaning of an option of mcporter, the MCP Inspector, mcp2cli or mcptools, and what it says if it takes no value.
fn meaning(option: &str) -> Option<(Meaning, Option<&'static str>)> {
    Some(match option {
        "--server" | "--server-name" | "--url" | "--server-url" | "--http-url" | "--endpoint" | "--mcp" => {
            (Meaning::Target, None)
        }
        "--stdio" | "--mcp-stdio" | "--command" | "--cmd" => (Meaning::CommandLine, None),
        "--stdio-arg" => (Meaning::CommandWord, None),
        "--tool" | "--tool-name" => (Meaning::Tool, None),
        "--prompt-name" | "--get-prompt" => (Meaning::Prompt, None),
        "--uri" | "--read-resource" => (Meaning::Uri, None),
        "--method" => (Meaning::Method, None),
        "--list" => (Meaning::Method, Some("tools/list")),
        "--list-resources" => (Meaning::Method, Some("resources/list")),
        "--list-resource-templates" => (Meaning::Method, Some("resources/templates/list")),
        "--list-prompts" => (Meaning::Method, Some("prompts/list")),
        "--tool-arg" | "--tool-args" | "--prompt-arg" | "--prompt-args" => (Meaning::Argument, None),
        "--params" => (Meaning::Arguments, None),
        "--output" | "--format" => (Meaning::Format, None),
        "--cli" => (Meaning::Nothing, Some("")),
        _ => return None,
    })
}

/// Whether only other clients have the option. What names a command (`--list`) means one without other options too.
fn is_foreign(option: &str) -> bool {
    let option = option.split('=').next().unwrap_or_default();
    let names_command = option.starts_with("--list") || matches!(option, "--get-prompt" | "--read-resource");
    !names_command && meaning(option).is_some_and(|(meaning, _)| meaning != Meaning::Format)
}

/// The parts of such a command line.
#[derive(Default)]
struct Parts<'a> {
    target: Option<&'a str>,
    /// The server's command line.
    server: Vec<String>,
    tool: Option<&'a str>,
    prompt: Option<&'a str>,
    uri: Option<&'a str>,
    method: Option<&'a str>,
    arguments: Vec<String>,
    options: Vec<String>,
    words: Vec<&'a str>,
}

/// A resource or a prompt that mcptools takes instead of a tool: `call resource:URI` and `call prompt:NAME`.
fn resource_or_prompt(word: &str) -> Option<(Meaning, &str)> {
    let resource = word.strip_prefix("resource:").map(|uri| (Meaning::Uri, uri));
    let found = resource.or_else(|| Some((Meaning::Prompt, word.strip_prefix("prompt:")?)));
    found.filter(|(_, value)| !value.is_empty())
}

/// The command and its words for `call resource:URI` and `call prompt:NAME` of mcptools.
#[must_use]
pub fn resource_or_prompt_command(word: &str) -> Option<(&'static str, &str)> {
    resource_or_prompt(word).map(|(meaning, value)| (if meaning == Meaning::Uri { "read" } else { "prompt" }, value))
}

/// The command line of mcpipe for `call resource:URI` and `call prompt:NAME` of mcptools, in which `word` is the first
/// of these words. `words` and `name` are those of [`translated_command_line`].
#[must_use]
pub fn resource_or_prompt_line(word: &str, words: &[&str], name: &str) -> Option<String> {
    let (command, value) = resource_or_prompt_command(word).filter(|_| name == "call ")?;
    translate(words, name).or_else(|| {
        let words = ["mcpipe", command, "TARGET", value];
        Some(quote_without_secrets(&words).join(" "))
    })
}

/// The command line of mcpipe for one of another client, if `found` is one of its options. `words` is the whole command
/// line without mcpipe itself, `name` the command in it, followed by a space.
#[must_use]
pub fn translated_command_line(found: &str, words: &[&str], name: &str) -> Option<String> {
    let has_line = matches!(name, "" | "call " | "list " | "read " | "prompt ") || is_config_add(name);
    if !is_foreign(found) || !has_line {
        return None;
    }
    translate(words, name)
}

fn translate(words: &[&str], name: &str) -> Option<String> {
    let mut parts = Parts::read(after_command(words, name)?, name)?;
    parts.place_words(name)?;
    let (command, option) = parts.command(name)?;
    if !parts.arguments.is_empty() && !matches!(command, "call" | "prompt" | "read") {
        return None;
    }
    let mut line = vec!["mcpipe"];
    line.extend(command.split(' '));
    // The name of the entry.
    line.extend(parts.tool.take_if(|_| is_config_add(name)));
    line.extend(parts.target);
    if command == "request" {
        line.extend(parts.method);
    }
    line.extend(parts.tool.or(parts.prompt).or(parts.uri));
    line.extend(parts.arguments.iter().map(String::as_str));
    line.extend(option);
    line.extend(parts.options.iter().map(String::as_str));
    if !parts.server.is_empty() {
        line.push("--");
        line.extend(parts.server.iter().map(String::as_str));
    }
    let has_one_server = parts.target.is_some() == parts.server.is_empty();
    cli::valid_line(&line).filter(|_| has_one_server)
}

/// The command line in which `NAME=VALUE` replaces every `--NAME VALUE` and `--NAME=VALUE` that is not an option of the
/// command.
/// `words` is the whole command line without mcpipe itself. `None` if one has no value, or if the line is not valid.
#[must_use]
pub fn line_without_dashes(words: &[&str], command: &clap::Command) -> Option<String> {
    let mut line = vec!["mcpipe".to_owned()];
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        let (option, attached) = word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
        match option_with_value(option, command) {
            _ if word == "--" => {
                line.push(word.to_owned());
                line.extend(rest.by_ref().map(str::to_owned));
            }
            Some(None) => {
                let name = option.strip_prefix("--").filter(|name| !name.is_empty())?;
                let value =
                    attached.or_else(|| rest.next().filter(|next| !next.starts_with('-') && !next.contains('=')));
                // What begins with `@` is a file for some clients and a text for others.
                line.push(format!("{name}={}", value.filter(|value| !value.starts_with(['{', '@']))?));
            }
            Some(Some(true)) if attached.is_none() => line.extend([word, rest.next()?].map(str::to_owned)),
            _ => line.push(word.to_owned()),
        }
    }
    cli::valid_line(&line.iter().map(String::as_str).collect::<Vec<_>>())
}

/// An argument whose value is a text for other clients, where mcpipe reads a file after `@`.
fn literal_argument(name: &str, value: &str) -> String {
    format!("{name}={}", literal_value(value))
}

impl<'a> Parts<'a> {
    fn read(words: &[&'a str], name: &str) -> Option<Self> {
        let mut root = cli::command();
        root.build();
        let mut names = if name.is_empty() { "call " } else { name }.split_terminator(' ');
        let own = names.try_fold(&root, |command, name| command.find_subcommand(name))?;
        let own_meaning = |option| match option {
            // mcporter has `--arg WORD` in place of `--stdio-arg WORD` here.
            "--arg" | "--args" if is_config_add(name) => Some((Meaning::CommandWord, None)),
            _ => meaning(option),
        };
        let mut parts = Parts::default();
        let mut rest = words.iter().copied();
        while let Some(word) = rest.next() {
            if word == "--" {
                parts.server.extend(rest.map(str::to_owned));
                break;
            }
            let (option, attached) = word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
            if let Some((meaning, said)) = own_meaning(option) {
                parts.add(meaning, said.or(attached).or_else(|| rest.next())?)?;
            } else if !word.starts_with('-') {
                parts.words.push(word);
            } else {
                // `-y` of `npx -y server`.
                let may_be_servers = !word.starts_with("--") && !matches!(option, "-e" | "-H");
                match option_with_value(option, own) {
                    _ if may_be_servers && parts.words.iter().any(|word| is_launcher(word)) => parts.words.push(word),
                    // `--a 1` and `--a=1` of clients in which each argument of a tool is an option.
                    Some(None) => {
                        let name = option.strip_prefix("--").filter(|name| !name.is_empty())?;
                        let value = attached.or_else(|| rest.next().filter(|value| !value.starts_with("--")))?;
                        parts.arguments.push(literal_argument(name, value));
                    }
                    Some(Some(true)) => parts.add_own(option, attached.or_else(|| rest.next())?),
                    Some(Some(false)) => parts.options.push(word.to_owned()),
                    None => parts.words.push(word),
                }
            }
        }
        Some(parts)
    }

    /// Adds an option that mcpipe has too.
    fn add_own(&mut self, option: &str, value: &str) {
        match (option, value.split_once('=')) {
            // Found out by mcpipe.
            ("--transport", _) if value == "stdio" => {}
            // `--header Name=value` of mcporter.
            ("--header", Some((name, value))) if !name.contains(':') => {
                self.options.extend([option.to_owned(), format!("{name}: {value}")]);
            }
            _ => self.options.extend([option, value].map(str::to_owned)),
        }
    }

    /// `None` if something is named twice.
    fn add(&mut self, meaning: Meaning, value: &'a str) -> Option<()> {
        let slot = match meaning {
            Meaning::Target => &mut self.target,
            Meaning::Tool => &mut self.tool,
            Meaning::Prompt => &mut self.prompt,
            Meaning::Uri => &mut self.uri,
            Meaning::Method => &mut self.method,
            Meaning::CommandLine => {
                self.server.splice(0..0, split(value)?);
                return Some(());
            }
            Meaning::CommandWord => {
                self.server.push(value.to_owned());
                return Some(());
            }
            Meaning::Argument => {
                let pair = value.split_once('=');
                self.arguments
                    .push(pair.map_or_else(|| value.to_owned(), |(name, value)| literal_argument(name, value)));
                return Some(());
            }
            Meaning::Arguments => {
                self.options.extend(["--args", value].map(str::to_owned));
                return Some(());
            }
            Meaning::Format => {
                self.options.extend(["json", "raw"].contains(&value).then(|| "--json".to_owned()));
                // Another word may be for the tool.
                return ["json", "raw", "text", "auto", "markdown", "pretty", "table"].contains(&value).then_some(());
            }
            Meaning::Nothing => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    }

    /// Takes the words that are no options for what no option named: first the server, then the tool, the prompt or the
    /// URI, then arguments. `None` if there are more.
    fn place_words(&mut self, name: &str) -> Option<()> {
        let mut words = std::mem::take(&mut self.words);
        let (arguments, others): (Vec<&str>, Vec<&str>) =
            words.drain(..).partition(|word| word.contains('=') && !word.contains("://"));
        self.arguments.extend(arguments.iter().map(|word| (*word).to_owned()));
        let mut rest = others.into_iter().peekable();
        // With a target and a tool as words, an option such as `--url` or `--method` is an argument of the tool.
        let named = [self.target, self.tool, self.prompt, self.uri, self.method];
        let is_named = named.iter().any(Option::is_some) || !self.server.is_empty();
        if is_named && !name.is_empty() && rest.len() > 1 {
            return None;
        }
        if name == "call "
            && let Some((meaning, value)) = rest.peek().and_then(|word| resource_or_prompt(word))
        {
            self.add(meaning, value)?;
            rest.next();
        }
        // `call TOOL --params JSON COMMAND...` of mcptools, and `--cli COMMAND... --method M` of the Inspector.
        let has_target = self.target.is_some() || !self.server.is_empty();
        if !has_target && name == "call " && self.tool.is_none() && rest.clone().nth(1).is_some_and(is_launcher) {
            self.tool = rest.next();
        }
        if !has_target {
            match rest.peek() {
                Some(first) if is_launcher(first) || (name.is_empty() && !first.contains("://")) => {
                    self.server.extend(rest.by_ref().map(str::to_owned));
                }
                _ => self.target = rest.next(),
            }
        }
        if let Some(word) = rest.next() {
            let slot = match name {
                "read " => &mut self.uri,
                "prompt " => &mut self.prompt,
                _ => &mut self.tool,
            };
            if slot.replace(word).is_some() {
                return None;
            }
        }
        rest.next().is_none().then_some(())
    }

    /// The command, and the option that it needs.
    fn command<'n>(&self, name: &'n str) -> Option<(&'n str, Option<&'static str>)> {
        Some(match self.method {
            _ if is_config_add(name) => (name.trim_end(), None),
            Some("tools/call") => ("call", None),
            Some("tools/list") => ("list", None),
            Some("resources/list") => ("list", Some("--resources")),
            Some("resources/templates/list") => ("list", Some("--templates")),
            Some("resources/read") => ("read", None),
            Some("prompts/list") => ("list", Some("--prompts")),
            Some("prompts/get") => ("prompt", None),
            Some("initialize") => ("list", Some("--info")),
            Some("logging/setLevel") => return None,
            Some(_) => ("request", None),
            None if self.tool.is_some() => (if name == "list " { "list" } else { "call" }, None),
            None if self.uri.is_some() => ("read", None),
            None if self.prompt.is_some() => ("prompt", None),
            None if name.is_empty() || name == "list " => ("list", None),
            None => return None,
        })
        .filter(|_| [self.tool, self.prompt, self.uri].iter().flatten().count() < 2)
    }
}
