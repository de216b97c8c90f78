//! A form at the terminal: filled in field by field, reviewed before it is sent; it can be declined or canceled at any
//! step.
//!
//! The server is named first (`ELI-03`), and its text is marked as such.

use serde_json::{Map, Value};

use crate::commands::client_features::form_field::{FormField, fields, value_text};
use crate::commands::client_features::terminal_input::Prompter;
use crate::error::Result;
use crate::output::Style;
use crate::output::escape::{collapse_whitespace, display_width, one_line, truncate};
use crate::schema::{self, SchemaValidator, ValueProblem};
use crate::session::client_handler::ElicitationAnswer;

/// Commands that may be typed instead of a value; a value that looks like one is typed with a second colon.
const FORM_COMMANDS: &[&str] = &[":back", ":skip", ":decline", ":cancel", ":help", ":?"];

/// How much of a default is shown, in columns, and at most half a line: the terminal would continue a longer one on the
/// next line, where it could look like text of mcpipe.
const MAX_DEFAULT: usize = 40;

/// The outcome of one field.
enum FieldOutcome {
    Next,
    Back,
    Decline,
    Cancel,
}

/// Asks for every field of a form.
///
/// # Errors
/// When the user cannot be prompted, or mcpipe is interrupted.
pub async fn fill(prompter: &Prompter, server: &str, message: &str, form: &Value) -> Result<ElicitationAnswer> {
    let ui = &prompter.ui;
    ui.prompt_spans(&[(Style::BOLD, server), (Style::PLAIN, " asks for input:")]);
    ui.prompt_server_text(message);
    let filling = FormSession { prompter, validator: SchemaValidator::new(form), fields: fields(form) };
    if filling.fields.is_empty() {
        return filling.ask_consent().await;
    }
    ui.prompt_spans(&[(Style::DIM, "  (Enter accepts the [default]; :back, :skip, :decline, :cancel, :help)")]);
    if filling.fields.iter().any(FormField::seems_secret) {
        ui.prompt_spans(&[
            (Style::BOLD_YELLOW, "  warning: "),
            (Style::PLAIN, "this seems to ask for a secret; servers must not request secrets in a form"),
        ]);
    }
    let mut content = Map::new();
    let mut at = 0;
    while at < filling.fields.len() {
        match filling.ask_field(at, &mut content).await? {
            FieldOutcome::Next => at += 1,
            FieldOutcome::Back => at = at.saturating_sub(1),
            FieldOutcome::Decline => return Ok(ElicitationAnswer::Decline),
            FieldOutcome::Cancel => return Ok(ElicitationAnswer::Cancel),
        }
    }
    filling.review(content).await
}

struct FormSession<'a> {
    prompter: &'a Prompter,
    validator: SchemaValidator,
    fields: Vec<FormField<'a>>,
}

impl FormSession<'_> {
    /// A form without fields asks for consent only.
    async fn ask_consent(&self) -> Result<ElicitationAnswer> {
        loop {
            let question = [(Style::PLAIN, "  [a]ccept, [d]ecline, [c]ancel: ")];
            let Some(line) = self.prompter.ask(&question).await? else { return Ok(ElicitationAnswer::Cancel) };
            match line.trim().to_lowercase().as_str() {
                "a" | "accept" | "y" | "yes" => return Ok(ElicitationAnswer::Accept(Map::new())),
                "d" | "decline" | "n" | "no" | ":decline" => return Ok(ElicitationAnswer::Decline),
                "c" | "cancel" | ":cancel" => return Ok(ElicitationAnswer::Cancel),
                _ => {}
            }
        }
    }

    /// Asks for one field until the value is valid.
    async fn ask_field(&self, at: usize, content: &mut Map<String, Value>) -> Result<FieldOutcome> {
        let field = &self.fields[at];
        let ui = &self.prompter.ui;
        let place = format!("  {}/{} ", at + 1, self.fields.len());
        let facts = format!(" ({})", collapse_whitespace(&field.constraints()));
        ui.prompt_one_line(&[
            (Style::DIM, &place),
            (Style::BOLD, &collapse_whitespace(field.title)),
            (Style::DIM, &facts),
        ]);
        ui.prompt_server_text(field.description.unwrap_or_default());
        for (number, choice) in field.choices.iter().enumerate() {
            let value = collapse_whitespace(&choice.as_typed());
            let number = format!("  {:>3}) ", number + 1);
            match choice.title.filter(|title| *title != choice.as_typed()) {
                Some(title) => ui.prompt_one_line(&[
                    (Style::DIM, &number),
                    (Style::PLAIN, &collapse_whitespace(title)),
                    (Style::DIM, &format!(" ({value})")),
                ]),
                None => ui.prompt_one_line(&[(Style::DIM, &number), (Style::PLAIN, &value)]),
            }
        }
        let shown_columns = MAX_DEFAULT.min(ui.terminal().line_width() / 2);
        loop {
            let current = content.get(field.name).or(field.default).cloned();
            let bracket = current
                .as_ref()
                .map(|value| format!("[{}] ", truncate(&one_line(&field.display_value(value)), shown_columns)))
                .unwrap_or_default();
            let question = [(Style::PLAIN, "  "), (Style::CYAN, bracket.as_str()), (Style::PLAIN, "> ")];
            let Some(line) = self.prompter.ask(&question).await? else { return Ok(FieldOutcome::Cancel) };
            let line = line.trim();
            let value = match (line, current) {
                (":back", _) => return Ok(FieldOutcome::Back),
                (":decline", _) => return Ok(FieldOutcome::Decline),
                (":cancel", _) => return Ok(FieldOutcome::Cancel),
                (":help" | ":?", _) => {
                    self.show_help();
                    continue;
                }
                (":skip", _) | ("", None) if field.is_required => Err("required".to_owned()),
                (":skip", _) | ("", None) => {
                    content.remove(field.name);
                    return Ok(FieldOutcome::Next);
                }
                ("", Some(value)) => Ok(value),
                (line, _) => field.parse(unescape_command(line)),
            };
            let accepted = match value {
                Ok(value) => self.accept_value(field, value, content).await?,
                Err(problem) => Err(problem),
            };
            match accepted {
                Ok(()) => return Ok(FieldOutcome::Next),
                Err(problem) => {
                    ui.prompt_spans(&[(Style::PLAIN, "  "), (Style::YELLOW, &collapse_whitespace(&problem))])
                }
            }
        }
    }

    /// Adds a value if the form allows it.
    async fn accept_value(
        &self,
        field: &FormField<'_>,
        value: Value,
        content: &mut Map<String, Value>,
    ) -> Result<std::result::Result<(), String>> {
        let mut alone = Map::new();
        alone.insert(field.name.to_owned(), value.clone());
        let problems = self.check(&alone).await?;
        Ok(match problems.iter().find(|problem| problem.is_about(field.name)) {
            // The field's name is shown above already.
            Some(problem) => {
                let text = problem.to_string();
                Err(text.strip_prefix(&format!("{}: ", field.name)).map_or(text.clone(), ToOwned::to_owned))
            }
            None => {
                content.insert(field.name.to_owned(), value);
                Ok(())
            }
        })
    }

    /// What is wrong with the content.
    async fn check(&self, content: &Map<String, Value>) -> Result<Vec<ValueProblem>> {
        let check = schema::check_form_content(&self.validator, content);
        self.prompter.interrupt.run_until_interrupted(check).await
    }

    fn show_help(&self) {
        for line in [
            "  :back      go back to the previous field",
            "  :skip      omit this field, even if it has a default",
            "  :decline   refuse the request",
            "  :cancel    dismiss the request (also Ctrl-D)",
            "  \"\"         an empty string",
            "  Choose by number, value or name; separate several with commas.",
            "  To enter a value that looks like a command, double the colon: ::back",
        ] {
            self.prompter.ui.prompt_text(line);
        }
    }

    /// Shows what will be sent and asks for confirmation.
    async fn review(&self, mut content: Map<String, Value>) -> Result<ElicitationAnswer> {
        let ui = &self.prompter.ui;
        loop {
            ui.prompt_text("  Ready to send:");
            let longest = self
                .fields
                .iter()
                .map(|field| display_width(&collapse_whitespace(field.title)))
                .max()
                .unwrap_or_default();
            for (number, field) in self.fields.iter().enumerate() {
                let title = collapse_whitespace(field.title);
                let gap = " ".repeat(longest.saturating_sub(display_width(&title)));
                let number = format!("  {:>3}) ", number + 1);
                let value = match content.get(field.name) {
                    None => (Style::DIM, "(omitted)".to_owned()),
                    Some(value) => (Style::BOLD, collapse_whitespace(&display_and_sent(field, value))),
                };
                ui.prompt_one_line(&[
                    (Style::DIM, &number),
                    (Style::PLAIN, &format!("{title}{gap}  ")),
                    (value.0, &value.1),
                ]);
            }
            let problems = self.check(&self.in_form_order(&content)).await?;
            for problem in &problems {
                ui.prompt_spans(&[(Style::PLAIN, "  "), (Style::YELLOW, &collapse_whitespace(&problem.to_string()))]);
            }
            let question = [(Style::PLAIN, "  Send it? [Y]es, a number to edit, [d]ecline, [c]ancel: ")];
            let Some(line) = self.prompter.ask(&question).await? else { return Ok(ElicitationAnswer::Cancel) };
            let line = line.trim().to_lowercase();
            match line.as_str() {
                "" | "y" | "yes" if problems.is_empty() => {
                    return Ok(ElicitationAnswer::Accept(self.in_form_order(&content)));
                }
                "d" | "decline" | "n" | "no" | ":decline" => return Ok(ElicitationAnswer::Decline),
                "c" | "cancel" | ":cancel" => return Ok(ElicitationAnswer::Cancel),
                other => {
                    let number = if other == ":back" { Some(self.fields.len()) } else { other.parse().ok() };
                    let Some(at) = number.and_then(|number: usize| number.checked_sub(1)) else { continue };
                    if at < self.fields.len() {
                        match self.ask_field(at, &mut content).await? {
                            FieldOutcome::Next | FieldOutcome::Back => {}
                            FieldOutcome::Decline => return Ok(ElicitationAnswer::Decline),
                            FieldOutcome::Cancel => return Ok(ElicitationAnswer::Cancel),
                        }
                    }
                }
            }
        }
    }

    /// The content in the order of the form.
    fn in_form_order(&self, content: &Map<String, Value>) -> Map<String, Value> {
        let one = |field: &FormField<'_>| Some((field.name.to_owned(), content.get(field.name)?.clone()));
        self.fields.iter().filter_map(one).collect()
    }
}

/// A value by its title, and as it is sent if that differs.
fn display_and_sent(field: &FormField<'_>, value: &Value) -> String {
    let sent = match value {
        Value::Array(values) if field.is_multiple => values.iter().map(value_text).collect::<Vec<_>>().join(", "),
        value => value_text(value),
    };
    let shown = field.display_value(value);
    if field.choices.iter().any(|choice| choice.title.is_some()) && shown != sent && !sent.is_empty() {
        format!("{shown} ({sent})")
    } else {
        shown
    }
}

/// The value of a typed line: `::back` is `:back`.
fn unescape_command(line: &str) -> &str {
    match line.strip_prefix(':') {
        Some(rest) if FORM_COMMANDS.contains(&rest) => rest,
        _ => line,
    }
}
