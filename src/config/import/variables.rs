//! Translates the references of other clients (`${env:X}`, `$X`, `{env:X}`, `${input:x}` …).
//!
//! A string is parsed by the rules of its client and written by mcpipe's rules, so that text stays text: a
//! `${command:…}` without a meaning for the client must not start a command here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::import::clients::Platform;
use crate::config::settings::CLIENT_DIRECTORY_VARIABLES;
use crate::config::value::expand;
use crate::config::value::expand::is_variable_name;
use crate::env::is_same_variable;

/// How a client refers to variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableSyntax {
    /// None: everything is text (Claude Desktop, Codex, Zed).
    Unsupported,
    /// `${VAR}` and `${VAR:-default}` (Claude Code).
    Shell,
    /// `$VAR` too (Gemini CLI).
    ShellOrDollar,
    /// `${VAR}`, `${VAR:-default}` and `$env:VAR` (mcporter).
    Mcporter,
    /// `${env:VAR}`, `${workspaceFolder}` and the like (Cursor, VS Code, Windsurf).
    Editor,
    /// `{env:VAR}` and `{file:path}` (OpenCode).
    Braces,
    /// `${VAR}`, `${VAR:-default}` and all references of editors (a file of an unknown client).
    Any,
}

/// The context of a string.
#[derive(Clone, Debug)]
pub struct VariableContext {
    /// How the client refers to variables.
    pub syntax: VariableSyntax,
    /// The platform whose directories and separators apply.
    pub platform: Platform,
    /// The directory of the project that the file belongs to, if any.
    pub project: Option<PathBuf>,
    /// The content of `inputs`: identifiers, defaults and descriptions.
    pub inputs: BTreeMap<String, EditorInput>,
    /// The client, for notes.
    pub client_title: &'static str,
}

/// A value that an editor asks its user for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EditorInput {
    /// The default value.
    pub default: Option<String>,
    /// The description of the value.
    pub description: Option<String>,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TranslatedPart {
    /// Literal text.
    Text(String),
    /// The name of a variable, and its default.
    Variable(String, Option<Vec<TranslatedPart>>),
}

/// Translates a string of another client; what could not be kept is added to `notes`.
///
/// `${NAME}` of a variable in `own`, the server's own `env`, is a reference for every client: programs such as
/// mcp-remote expand it themselves (<https://github.com/geelen/mcp-remote>).
pub fn translate_references(text: &str, around: &VariableContext, own: &[String], notes: &mut Vec<String>) -> String {
    let pieces = split_at_own_variables(text, around.syntax, own).into_iter().flat_map(|piece| match piece {
        TranslatedPart::Text(text) => translate_text(&text, around, notes),
        own => vec![own],
    });
    render_parts(pieces.collect(), notes)
}

/// The references to the server's own variables, and the text between them. One in the default of another reference
/// belongs to that reference.
fn split_at_own_variables(text: &str, syntax: VariableSyntax, own: &[String]) -> Vec<TranslatedPart> {
    let mut pieces = Vec::new();
    let (mut rest, mut from) = (text, 0);
    while let Some(at) = rest[from..].find("${").map(|at| at + from) {
        let inner = until_closing_brace(&rest[at + 2..]).unwrap_or_default();
        if own.iter().any(|name| is_same_variable(name, inner)) && is_variable_name(inner) {
            push_text(&mut pieces, &rest[..at]);
            push_part(&mut pieces, TranslatedPart::Variable(inner.to_owned(), None));
            (rest, from) = (&rest[at + inner.len() + 3..], 0);
        } else if shell_reference(inner, syntax).is_some() {
            from = at + inner.len() + 3;
        } else {
            from = at + 2;
        }
    }
    push_text(&mut pieces, rest);
    pieces
}

fn translate_text(text: &str, around: &VariableContext, notes: &mut Vec<String>) -> Vec<TranslatedPart> {
    match around.syntax {
        VariableSyntax::Unsupported => {
            // A reference in a file without references is a frequent mistake; it stays text.
            if let Some(form) = text.find("${").and_then(|at| until_closing_brace(&text[at + 2..])) {
                notes.push(format!("{} does not expand variables, so '${{{form}}}' remains text", around.client_title));
            }
            vec![TranslatedPart::Text(text.to_owned())]
        }
        VariableSyntax::Braces => parse_brace_syntax(text, around, notes),
        _ => parse_dollar_syntax(text, around, notes),
    }
}

/// Encodes a text without references.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// A variable for a value that an editor would ask for: `github-pat` becomes `GITHUB_PAT`.
#[must_use]
pub fn to_variable_name(words: &str) -> String {
    let mut made = String::new();
    let mut before = ' ';
    for c in words.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
                made.push('_');
            }
            made.push(c.to_ascii_uppercase());
        } else if !made.ends_with('_') {
            made.push('_');
        }
        before = c;
    }
    let made = made.trim_matches('_');
    if is_variable_name(made) { made.to_owned() } else { format!("INPUT_{made}").trim_end_matches('_').to_owned() }
}

/// The text between `${` and its `}`, including nested `${…}`.
fn until_closing_brace(rest: &str) -> Option<&str> {
    let mut depth = 0usize;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' if rest[..at].ends_with('$') => depth += 1,
            b'}' if depth == 0 => return Some(&rest[..at]),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `${…}` and, if the client has them, `$VAR` and `$env:VAR`.
fn parse_dollar_syntax(text: &str, around: &VariableContext, notes: &mut Vec<String>) -> Vec<TranslatedPart> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        push_text(&mut pieces, &rest[..at]);
        let after = &rest[at + 1..];
        if let Some(inner) = after.strip_prefix('{').and_then(until_closing_brace) {
            match parse_reference(inner, around, notes) {
                Some(found) => found.into_iter().for_each(|piece| push_part(&mut pieces, piece)),
                None => push_text(&mut pieces, &rest[at..at + inner.len() + 3]),
            }
            rest = &after[inner.len() + 2..];
            continue;
        }
        let named = match around.syntax {
            VariableSyntax::ShellOrDollar => after,
            VariableSyntax::Mcporter => after.strip_prefix("env:").unwrap_or_default(),
            _ => "",
        };
        let end = named.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(named.len());
        let name = &named[..end];
        if is_variable_name(name) {
            push_part(&mut pieces, TranslatedPart::Variable(name.to_owned(), None));
            rest = &named[end..];
        } else {
            push_text(&mut pieces, "$");
            rest = after;
        }
    }
    push_text(&mut pieces, rest);
    pieces
}

/// The reference in `${…}`; `None` if it is text.
fn parse_reference(inner: &str, around: &VariableContext, notes: &mut Vec<String>) -> Option<Vec<TranslatedPart>> {
    let editor = matches!(around.syntax, VariableSyntax::Editor | VariableSyntax::Any);
    if editor && let Some(known) = parse_editor_reference(inner, around, notes) {
        return Some(known);
    }
    if CLIENT_DIRECTORY_VARIABLES.contains(&inner.split_once(":-").map_or(inner, |(name, _)| name))
        && let Some(project) = &around.project
    {
        return Some(vec![TranslatedPart::Text(project.display().to_string())]);
    }
    if let Some((name, default)) = shell_reference(inner, around.syntax) {
        let default = default.map(|default| parse_dollar_syntax(default, around, notes));
        return Some(vec![TranslatedPart::Variable(name.to_owned(), default)]);
    }
    notes.push(format!("'${{{inner}}}' cannot be expanded by mcpipe and remains text"));
    None
}

/// The name and the default in `${NAME}` or `${NAME:-DEFAULT}`, if the client expands these.
fn shell_reference(inner: &str, syntax: VariableSyntax) -> Option<(&str, Option<&str>)> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_expanded = matches!(
        syntax,
        VariableSyntax::Shell | VariableSyntax::ShellOrDollar | VariableSyntax::Mcporter | VariableSyntax::Any
    );
    (is_expanded && is_variable_name(name)).then_some((name, default))
}

/// The references of VS Code and similar editors.
fn parse_editor_reference(
    inner: &str,
    around: &VariableContext,
    notes: &mut Vec<String>,
) -> Option<Vec<TranslatedPart>> {
    let text = |text: String| Some(vec![TranslatedPart::Text(text)]);
    let variable = |name: &str, default: Option<Vec<TranslatedPart>>| {
        Some(vec![TranslatedPart::Variable(name.to_owned(), default)])
    };
    if let Some(name) = inner.strip_prefix("env:") {
        return if is_variable_name(name) { variable(name, None) } else { None };
    }
    if let Some(id) = inner.strip_prefix("input:") {
        let name = to_variable_name(id);
        let input = around.inputs.get(id);
        let what = input.and_then(|input| input.description.as_deref()).map(|what| format!(" ({what})"));
        notes.push(format!(
            "{} prompts for '{id}'{}: set the variable {name}",
            around.client_title,
            what.unwrap_or_default()
        ));
        let default = input.and_then(|input| input.default.clone()).map(|default| vec![TranslatedPart::Text(default)]);
        return variable(&name, default);
    }
    match (inner, &around.project) {
        ("userHome", _) => variable(around.platform.home_variable(), None),
        ("pathSeparator" | "/", _) => text(around.platform.separator().to_owned()),
        ("workspaceFolder" | "workspaceRoot", Some(project)) => text(project.display().to_string()),
        ("workspaceFolderBasename", Some(project)) => text(base_name(project)),
        ("workspaceFolder" | "workspaceRoot", None) => {
            notes.push(format!("'${{{inner}}}' is assumed to be the directory in which mcpipe runs"));
            variable("PWD", Some(vec![TranslatedPart::Text(".".to_owned())]))
        }
        _ => None,
    }
}

fn base_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `{env:VAR}`; a `{file:…}` is not read.
fn parse_brace_syntax(text: &str, around: &VariableContext, notes: &mut Vec<String>) -> Vec<TranslatedPart> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        push_text(&mut pieces, &rest[..at]);
        let inner = rest[at + 1..].split_once('}').map(|(inner, _)| inner);
        match inner.and_then(|inner| Some((inner, inner.strip_prefix("env:").filter(|name| is_variable_name(name))?))) {
            Some((inner, name)) => {
                push_part(&mut pieces, TranslatedPart::Variable(name.to_owned(), None));
                rest = &rest[at + inner.len() + 2..];
            }
            None => {
                if let Some(inner) = inner.filter(|inner| inner.starts_with("env:") || inner.starts_with("file:")) {
                    notes.push(format!("{} expands '{{{inner}}}', which remains text here", around.client_title));
                }
                push_text(&mut pieces, "{");
                rest = &rest[at + 1..];
            }
        }
    }
    push_text(&mut pieces, rest);
    pieces
}

fn push_text(pieces: &mut Vec<TranslatedPart>, text: &str) {
    push_part(pieces, TranslatedPart::Text(text.to_owned()));
}

/// Adds a piece; adjacent texts are joined, so that escaping sees `$` and `{` together.
pub(crate) fn push_part(pieces: &mut Vec<TranslatedPart>, piece: TranslatedPart) {
    match (pieces.last_mut(), piece) {
        (_, TranslatedPart::Text(more)) if more.is_empty() => {}
        (Some(TranslatedPart::Text(text)), TranslatedPart::Text(more)) => text.push_str(&more),
        (_, piece) => pieces.push(piece),
    }
}

/// The string in mcpipe's form.
pub(crate) fn render_parts(pieces: Vec<TranslatedPart>, notes: &mut Vec<String>) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            TranslatedPart::Text(text) => out.push_str(&escape(&text)),
            TranslatedPart::Variable(name, default) => {
                // `$${` would be text, and there is no other way to write a dollar before a reference.
                let dollars = out.len() - out.trim_end_matches('$').len();
                if dollars > 0 {
                    out.truncate(out.len() - dollars);
                    out.push_str(&"${DOLLAR_SIGN:-$}".repeat(dollars));
                    notes.push("a '$' right before a variable is written as ${DOLLAR_SIGN:-$}".to_owned());
                }
                out.push_str(&render_variable(&name, default, notes));
            }
        }
    }
    out
}

fn render_variable(name: &str, default: Option<Vec<TranslatedPart>>, notes: &mut Vec<String>) -> String {
    let bare = format!("${{{name}}}");
    let Some(default) = default else { return bare };
    let default = render_parts(default, notes);
    let whole = format!("${{{name}:-{default}}}");
    // A default cannot contain every brace: one that would be parsed differently is omitted.
    match expand::parse_template(&whole).as_deref() {
        Ok([expand::TemplatePart::Variable(_, Some(read))]) if *read == default => whole,
        _ => {
            notes.push(format!("the default of {name} is ignored: it cannot be expressed here"));
            bare
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::value::expand::{VariableScope, expand};
    use crate::env::Environment;

    fn context(style: VariableSyntax) -> VariableContext {
        let input = EditorInput { default: Some("a$b".into()), description: Some("Your key".into()) };
        VariableContext {
            syntax: style,
            platform: Platform::Linux,
            project: Some(PathBuf::from("/work/site")),
            inputs: BTreeMap::from([("apiKey".to_owned(), input)]),
            client_title: "the client",
        }
    }

    fn translate_with(style: VariableSyntax, text: &str) -> (String, usize) {
        let mut notes = Vec::new();
        let ours = translate_references(text, &context(style), &["OWN".to_owned()], &mut notes);
        (ours, notes.len())
    }

    #[test]
    fn every_syntax_of_every_client_is_translated() {
        for (style, theirs, ours, notes) in [
            (VariableSyntax::Shell, "Bearer ${TOKEN}", "Bearer ${TOKEN}", 0),
            (VariableSyntax::Shell, "${A:-x}/${B:-${C}}", "${A:-x}/${B:-${C}}", 0),
            (VariableSyntax::Shell, "$A costs $5", "$A costs $5", 0),
            (VariableSyntax::Shell, "${CLAUDE_PROJECT_DIR}/x", "/work/site/x", 0),
            (VariableSyntax::Shell, "${CLAUDE_PROJECT_DIR:-.}/x", "/work/site/x", 0),
            (VariableSyntax::Shell, "${not a name}", "$${not a name}", 1),
            (VariableSyntax::ShellOrDollar, "$A-${B}:$C_1", "${A}-${B}:${C_1}", 0),
            (VariableSyntax::ShellOrDollar, "$5 $", "$5 $", 0),
            (VariableSyntax::ShellOrDollar, "$$A", "${DOLLAR_SIGN:-$}${A}", 1),
            (VariableSyntax::ShellOrDollar, "$$$A", "${DOLLAR_SIGN:-$}${DOLLAR_SIGN:-$}${A}", 1),
            (VariableSyntax::Unsupported, "$$${OWN}", "${DOLLAR_SIGN:-$}${DOLLAR_SIGN:-$}${OWN}", 1),
            (VariableSyntax::Shell, "${A:-http://${OWN}}/${OWN}", "${A:-http://${OWN}}/${OWN}", 0),
            (VariableSyntax::Mcporter, "$env:A/${B:-c}", "${A}/${B:-c}", 0),
            (VariableSyntax::Mcporter, "$A", "$A", 0),
            (VariableSyntax::Editor, "${env:A}${userHome}${/}x", "${A}${HOME}/x", 0),
            (VariableSyntax::Editor, "${workspaceFolder}/${workspaceFolderBasename}", "/work/site/site", 0),
            (VariableSyntax::Editor, "${input:apiKey}", "${API_KEY:-a$b}", 1),
            (VariableSyntax::Editor, "${input:other}", "${OTHER}", 1),
            (VariableSyntax::Editor, "${A} ${command:rm -rf x}", "$${A} $${command:rm -rf x}", 2),
            (VariableSyntax::Braces, "{env:A}-{b}-${C}", "${A}-{b}-$${C}", 0),
            (VariableSyntax::Braces, "${env:A}", "${DOLLAR_SIGN:-$}${A}", 1),
            (VariableSyntax::Braces, "{file:~/.key}", "{file:~/.key}", 1),
            (VariableSyntax::Unsupported, "${A} $B", "$${A} $B", 1),
            (VariableSyntax::Unsupported, "Key:${OWN}", "Key:${OWN}", 0),
            (VariableSyntax::Unsupported, "${A}${OWN}$${OWN}", "$${A}${OWN}${DOLLAR_SIGN:-$}${OWN}", 2),
            (VariableSyntax::Editor, "Key:${OWN}${env:A}", "Key:${OWN}${A}", 0),
            (VariableSyntax::Braces, "{env:A}${OWN}", "${A}${OWN}", 0),
            (VariableSyntax::Shell, "${OWN:-x}${CLAUDE_PLUGIN_ROOT}", "${OWN:-x}/work/site", 0),
            (VariableSyntax::Any, "${A}${env:B}$C", "${A}${B}$C", 0),
        ] {
            assert_eq!(translate_with(style, theirs), (ours.to_owned(), notes), "{style:?} {theirs}");
        }
    }

    #[test]
    fn without_a_project_its_folder_is_where_mcpipe_runs() {
        let mut notes = Vec::new();
        let around = VariableContext { project: None, platform: Platform::Windows, ..context(VariableSyntax::Editor) };
        let ours = translate_references("${workspaceFolder}${/}x ${userHome}", &around, &[], &mut notes);
        assert_eq!(ours, "${PWD:-.}\\x ${USERPROFILE}");
        assert_eq!(notes.len(), 1, "{notes:?}");
    }

    #[test]
    fn literal_text_expands_to_itself() {
        let environment = Environment::new([("A", "1"), ("command", "2")], Path::new("/"));
        let atoms =
            ["$", "{", "}", "${", "$${", "A", "${A}", "${command:ls}", "${keychain:A}", ":-", "é", "\\", "${A:-$"];
        for one in atoms {
            for two in atoms {
                for three in atoms {
                    let text = format!("{one}{two}{three}");
                    let (ours, _) = translate_with(VariableSyntax::Unsupported, &text);
                    let scope = VariableScope::environment_only(&environment);
                    let expanded = expand(&ours, scope, &mut |secret| panic!("{secret:?}")).unwrap();
                    assert_eq!(expanded, text, "{ours}");
                }
            }
        }
    }

    #[test]
    fn a_default_that_cannot_be_written_is_left_out() {
        let mut around = context(VariableSyntax::Editor);
        around.inputs.insert("x".into(), EditorInput { default: Some("a}b".into()), description: None });
        let mut notes = Vec::new();
        assert_eq!(translate_references("${input:x}!", &around, &[], &mut notes), "${X}!");
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn editor_inputs_become_variable_names() {
        for (id, name) in [
            ("github-pat", "GITHUB_PAT"),
            ("apiKey", "API_KEY"),
            ("API_KEY", "API_KEY"),
            ("1st", "INPUT_1ST"),
            ("--", "INPUT"),
        ] {
            assert_eq!(to_variable_name(id), name);
        }
    }
}
