//! A form at the terminal: field by field, reviewed before it is sent, at every step declined or cancelled.
//!
//! The server is named first (`ELI-03`), and what is its text is marked as such.

use serde_json::{Map, Value};

use super::field::{Field, fields, word};
use super::keyboard::Console;
use crate::error::Result;
use crate::output::Style;
use crate::output::escape::{flat, width};
use crate::schema;
use crate::session::peer::Answer;

/// Commands that may be typed in place of a value; a value that looks like one is written with a colon more.
const COMMANDS: &[&str] = &[":back", ":skip", ":decline", ":cancel", ":help", ":?"];

/// What came of one field.
enum Step {
    Next,
    Back,
    Decline,
    Cancel,
}

/// Asks for every field of a form.
///
/// # Errors
/// When the person cannot be asked, or a stop was asked for.
pub async fn fill(console: &Console, server: &str, message: &str, form: &Value) -> Result<Answer> {
    let ui = &console.ui;
    ui.say_pieces(&[(Style::BOLD, server), (Style::PLAIN, " asks for input:")]);
    ui.say_theirs(message);
    let filling = Filling { console, form, fields: fields(form) };
    if filling.fields.is_empty() {
        return filling.agree().await;
    }
    ui.say_pieces(&[(
        Style::DIM,
        "  (Enter keeps what stands in brackets; :back, :skip, :decline, :cancel; :help tells more)",
    )]);
    if filling.fields.iter().any(Field::seems_secret) {
        ui.say_pieces(&[
            (Style::BOLD_YELLOW, "  warning: "),
            (Style::PLAIN, "this seems to ask for a secret; servers must not ask for secrets in this way"),
        ]);
    }
    let mut content = Map::new();
    let mut at = 0;
    while at < filling.fields.len() {
        match filling.ask(at, &mut content).await? {
            Step::Next => at += 1,
            Step::Back => at = at.saturating_sub(1),
            Step::Decline => return Ok(Answer::Decline),
            Step::Cancel => return Ok(Answer::Cancel),
        }
    }
    filling.review(content).await
}

struct Filling<'a> {
    console: &'a Console,
    form: &'a Value,
    fields: Vec<Field<'a>>,
}

impl Filling<'_> {
    /// A form without fields asks for consent alone.
    async fn agree(&self) -> Result<Answer> {
        loop {
            let question = [(Style::PLAIN, "  [a]ccept, [d]ecline, [c]ancel: ")];
            let Some(line) = self.console.line(&question).await? else { return Ok(Answer::Cancel) };
            match line.trim().to_lowercase().as_str() {
                "a" | "accept" | "y" | "yes" => return Ok(Answer::Accept(Map::new())),
                "d" | "decline" | "n" | "no" | ":decline" => return Ok(Answer::Decline),
                "c" | "cancel" | ":cancel" => return Ok(Answer::Cancel),
                _ => {}
            }
        }
    }

    /// Asks for one field until the answer fits.
    async fn ask(&self, at: usize, content: &mut Map<String, Value>) -> Result<Step> {
        let field = &self.fields[at];
        let ui = &self.console.ui;
        let place = format!("  {}/{} ", at + 1, self.fields.len());
        let facts = format!(" ({})", flat(&field.facts()));
        ui.say_pieces(&[(Style::DIM, &place), (Style::BOLD, &flat(field.title)), (Style::DIM, &facts)]);
        ui.say_theirs(field.description.unwrap_or_default());
        for (number, choice) in field.choices.iter().enumerate() {
            let value = flat(&choice.word());
            let number = format!("  {:>3}) ", number + 1);
            match choice.title.filter(|title| *title != choice.word()) {
                Some(title) => ui.say_pieces(&[
                    (Style::DIM, &number),
                    (Style::PLAIN, &flat(title)),
                    (Style::DIM, &format!(" ({value})")),
                ]),
                None => ui.say_pieces(&[(Style::DIM, &number), (Style::PLAIN, &value)]),
            }
        }
        loop {
            let current = content.get(field.name).or(field.default).cloned();
            let bracket = current.as_ref().map(|value| format!("[{}] ", flat(&field.shown(value)))).unwrap_or_default();
            let question = [(Style::PLAIN, "  "), (Style::CYAN, bracket.as_str()), (Style::PLAIN, "> ")];
            let Some(line) = self.console.line(&question).await? else { return Ok(Step::Cancel) };
            let line = line.trim();
            let value = match (line, current) {
                (":back", _) => return Ok(Step::Back),
                (":decline", _) => return Ok(Step::Decline),
                (":cancel", _) => return Ok(Step::Cancel),
                (":help" | ":?", _) => {
                    self.help();
                    continue;
                }
                (":skip", _) | ("", None) if field.required => Err("it is required".to_owned()),
                (":skip", _) | ("", None) => {
                    content.remove(field.name);
                    return Ok(Step::Next);
                }
                ("", Some(value)) => Ok(value),
                (line, _) => field.read(literal(line)),
            };
            match value.and_then(|value| self.check(field, value, content)) {
                Ok(()) => return Ok(Step::Next),
                Err(problem) => ui.say_pieces(&[(Style::PLAIN, "  "), (Style::YELLOW, &flat(&problem))]),
            }
        }
    }

    /// Takes a value over where the form allows it.
    fn check(
        &self,
        field: &Field<'_>,
        value: Value,
        content: &mut Map<String, Value>,
    ) -> std::result::Result<(), String> {
        let mut alone = Map::new();
        alone.insert(field.name.to_owned(), value.clone());
        let problems = schema::check_form(self.form, &alone);
        match problems.iter().find(|problem| problem.path.first().is_some_and(|name| name == field.name)) {
            // The field's name stands above already.
            Some(problem) => {
                let text = problem.to_string();
                Err(text.strip_prefix(&format!("{}: ", field.name)).map_or(text.clone(), ToOwned::to_owned))
            }
            None => {
                content.insert(field.name.to_owned(), value);
                Ok(())
            }
        }
    }

    fn help(&self) {
        for line in [
            "  :back      the field before",
            "  :skip      leave this field out, its default too",
            "  :decline   tell the server no",
            "  :cancel    go away without an answer; so does the end of input (Ctrl-D)",
            "  \"\"         the empty text",
            "  Choices are typed by number, value or name; several with commas between them.",
            "  A value that looks like one of these commands is typed with one colon more: ::back",
        ] {
            self.console.ui.say(line);
        }
    }

    /// Shows what is to be sent and asks whether it may be.
    async fn review(&self, mut content: Map<String, Value>) -> Result<Answer> {
        let ui = &self.console.ui;
        loop {
            ui.say("  To be sent:");
            let longest = self.fields.iter().map(|field| width(&flat(field.title))).max().unwrap_or_default();
            for (number, field) in self.fields.iter().enumerate() {
                let title = flat(field.title);
                let gap = " ".repeat(longest.saturating_sub(width(&title)));
                let number = format!("  {:>3}) ", number + 1);
                let value = match content.get(field.name) {
                    None => (Style::DIM, "(left out)".to_owned()),
                    Some(value) => (Style::BOLD, flat(&both(field, value))),
                };
                ui.say_pieces(&[
                    (Style::DIM, &number),
                    (Style::PLAIN, &format!("{title}{gap}  ")),
                    (value.0, &value.1),
                ]);
            }
            let problems = schema::check_form(self.form, &self.ordered(&content));
            for problem in &problems {
                ui.say_pieces(&[(Style::PLAIN, "  "), (Style::YELLOW, &flat(&problem.to_string()))]);
            }
            let question = [(Style::PLAIN, "  Send it? [Y]es, a number to edit, [d]ecline, [c]ancel: ")];
            let Some(line) = self.console.line(&question).await? else { return Ok(Answer::Cancel) };
            let line = line.trim().to_lowercase();
            match line.as_str() {
                "" | "y" | "yes" if problems.is_empty() => return Ok(Answer::Accept(self.ordered(&content))),
                "d" | "decline" | "n" | "no" | ":decline" => return Ok(Answer::Decline),
                "c" | "cancel" | ":cancel" => return Ok(Answer::Cancel),
                other => {
                    let number = if other == ":back" { Some(self.fields.len()) } else { other.parse().ok() };
                    let Some(at) = number.and_then(|number: usize| number.checked_sub(1)) else { continue };
                    if at < self.fields.len() {
                        match self.ask(at, &mut content).await? {
                            Step::Next | Step::Back => {}
                            Step::Decline => return Ok(Answer::Decline),
                            Step::Cancel => return Ok(Answer::Cancel),
                        }
                    }
                }
            }
        }
    }

    /// The content in the form's own order, whatever was edited last.
    fn ordered(&self, content: &Map<String, Value>) -> Map<String, Value> {
        let one = |field: &Field<'_>| Some((field.name.to_owned(), content.get(field.name)?.clone()));
        self.fields.iter().filter_map(one).collect()
    }
}

/// A value by its name for people, and as it is sent where that differs.
fn both(field: &Field<'_>, value: &Value) -> String {
    let sent = match value {
        Value::Array(values) if field.many => values.iter().map(word).collect::<Vec<_>>().join(", "),
        value => word(value),
    };
    let shown = field.shown(value);
    if field.choices.iter().any(|choice| choice.title.is_some()) && shown != sent && !sent.is_empty() {
        format!("{shown} ({sent})")
    } else {
        shown
    }
}

/// The value that a line stands for: one colon less where it is a command with a colon more.
fn literal(line: &str) -> &str {
    match line.strip_prefix(':') {
        Some(rest) if COMMANDS.contains(&rest) => rest,
        _ => line,
    }
}
