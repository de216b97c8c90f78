//! How a server's wish for input is answered: as `--elicit` says, or by the person at the terminal.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Context;
use crate::cli::Elicit;
use crate::error::{Class, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Ui;
use crate::schema::{self, Document};
use crate::session::peer::Inputs;
use crate::transport::Boxed;

/// Who answers; nobody where there is neither a terminal nor an instruction (`ELI-01`).
#[must_use]
pub fn answerer(context: &Context, server: &str) -> Option<Arc<dyn Inputs>> {
    let how = match &context.global.elicit {
        Some(how) => how.clone(),
        None if context.ui.terminal().interactive() && !context.global.no_input => Elicit::Ask,
        None => return None,
    };
    let (ui, interrupt) = (context.ui.clone(), context.interrupt.clone());
    Some(Arc::new(Answerer { ui, interrupt, server: server.to_owned(), how }))
}

struct Answerer {
    ui: Arc<Ui>,
    interrupt: Interrupt,
    server: String,
    how: Elicit,
}

impl Inputs for Answerer {
    fn elicit<'a>(&'a self, message: &'a str, schema: &'a Value) -> Boxed<'a, Result<Value>> {
        Box::pin(async move {
            let mut content = schema::defaults(schema);
            match &self.how {
                Elicit::Decline => return Ok(json!({"action": "decline"})),
                Elicit::Ask => return self.ask(message, schema).await,
                Elicit::Accept => {}
                Elicit::Values(values) => content.extend(values.clone()),
            }
            let problems = schema::check_form(schema, &content);
            if problems.is_empty() {
                return Ok(json!({"action": "accept", "content": content}));
            }
            let failure = Failure::new(Class::Refused, "the server's request for input cannot be answered as told")
                .cause(format!("{} asks: {message}", self.server))
                .hint("give the values it asks for: --elicit '{\"name\": \"value\"}'");
            Err(problems.iter().fold(failure, |failure, problem| failure.cause(problem.to_string())))
        })
    }
}

impl Answerer {
    /// Asks field by field; an empty line takes the default or leaves an optional field out, end of input
    /// cancels. The server is named first (`ELI-03`).
    async fn ask(&self, message: &str, schema: &Value) -> Result<Value> {
        let _quiet = self.ui.pause_progress();
        self.ui.say(&format!("{} asks: {message}", self.server));
        let mut content = Map::new();
        let fields = schema.get("properties").and_then(Value::as_object);
        for (name, field) in fields.into_iter().flatten() {
            if !self.field(schema, name, field, &mut content).await? {
                return Ok(json!({"action": "cancel"}));
            }
        }
        loop {
            let shown = Value::Object(content.clone());
            self.ui.say(&format!("  to be sent: {shown}"));
            return match line(&self.ui, &self.interrupt, "  send it? [Y/n] ").await?.as_deref().map(str::trim) {
                None => Ok(json!({"action": "cancel"})),
                Some("" | "y" | "Y" | "yes") => Ok(json!({"action": "accept", "content": content})),
                Some("n" | "N" | "no") => Ok(json!({"action": "decline"})),
                Some(_) => continue,
            };
        }
    }

    /// Asks for one field until the answer fits; `false` at the end of input.
    async fn field(&self, form: &Value, name: &str, field: &Value, content: &mut Map<String, Value>) -> Result<bool> {
        let document = Document::new(form);
        let required = document.required(form).contains(&name);
        let text = |key: &str| field.get(key).and_then(Value::as_str);
        let title = text("title").unwrap_or(name);
        let mut facts = vec![schema::type_text(document, field)];
        facts.extend(text("description").map(ToOwned::to_owned));
        facts.push(match field.get("default") {
            Some(default) => format!("default {default}"),
            None if required => "required".to_owned(),
            None => "optional".to_owned(),
        });
        let question = format!("  {title} ({}): ", facts.join("; "));
        loop {
            let Some(answer) = line(&self.ui, &self.interrupt, &question).await? else { return Ok(false) };
            let value = match (answer.trim(), field.get("default")) {
                ("", Some(default)) => default.clone(),
                ("", None) if !required => return Ok(true),
                (word, _) => match schema::coerce(document, &[field], word) {
                    Ok(value) => value,
                    Err(misfit) => {
                        let why = misfit.why.map(|why| format!(" ({why})")).unwrap_or_default();
                        self.ui.say(&format!("  expected {}{why}", misfit.expected));
                        continue;
                    }
                },
            };
            content.insert(name.to_owned(), value);
            let problems = schema::check_form(form, content);
            let Some(problem) = problems.iter().find(|problem| problem.parameter() == name) else { return Ok(true) };
            self.ui.say(&format!("  {problem}"));
            content.remove(name);
        }
    }
}

/// Asks on stderr and reads one line from standard input; `None` at its end.
///
/// # Errors
/// When standard input cannot be read, or a stop was asked for meanwhile.
pub async fn line(ui: &Ui, interrupt: &Interrupt, question: &str) -> Result<Option<String>> {
    ui.ask(question);
    // On a thread of its own, so that a signal is seen while it waits.
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|count| (count > 0).then_some(line))
    });
    let broken = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(Class::Refused, "cannot read the answer from standard input").source(error)
    };
    match interrupt.guard(read).await? {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(error)) => Err(broken(&error)),
        Err(error) => Err(broken(&error)),
    }
}
