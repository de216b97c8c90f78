//! How a server's wish for input is answered: as `--elicit` says, or by the person at the terminal.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Context;
use crate::cli::Elicit;
use crate::error::{Class, Failure, Result};
use crate::output::Ui;
use crate::schema::form;
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
    Some(Arc::new(Answerer { ui: context.ui.clone(), server: server.to_owned(), how }))
}

struct Answerer {
    ui: Arc<Ui>,
    server: String,
    how: Elicit,
}

impl Inputs for Answerer {
    fn elicit<'a>(&'a self, message: &'a str, schema: &'a Value) -> Boxed<'a, Result<Value>> {
        Box::pin(async move {
            let given = match &self.how {
                Elicit::Decline => return Ok(json!({"action": "decline"})),
                Elicit::Ask => return self.ask(message, schema).await,
                Elicit::Accept => Map::new(),
                Elicit::Values(values) => values.clone(),
            };
            let content = form::with_defaults(schema, given);
            let problems = form::check(schema, &content);
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
        for field in form::fields(schema) {
            loop {
                let Some(line) = self.line(&format!("  {}: ", field.question())).await? else {
                    return Ok(json!({"action": "cancel"}));
                };
                match field.read(line.trim()) {
                    Ok(Some(value)) => {
                        content.insert(field.name.clone(), value);
                        break;
                    }
                    Ok(None) => break,
                    Err(problem) => self.ui.say(&format!("  {problem}")),
                }
            }
        }
        loop {
            let shown = Value::Object(content.clone());
            self.ui.say(&format!("  to be sent: {shown}"));
            return match self.line("  send it? [Y/n] ").await?.as_deref().map(str::trim) {
                None => Ok(json!({"action": "cancel"})),
                Some("" | "y" | "Y" | "yes") => Ok(json!({"action": "accept", "content": content})),
                Some("n" | "N" | "no") => Ok(json!({"action": "decline"})),
                Some(_) => continue,
            };
        }
    }

    /// One line from standard input; `None` at its end.
    async fn line(&self, question: &str) -> Result<Option<String>> {
        self.ui.ask(question);
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|count| (count > 0).then_some(line))
        });
        let broken = |error: &(dyn std::error::Error + 'static)| {
            Failure::new(Class::Refused, "cannot read the answer from standard input").source(error)
        };
        match read.await {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(error)) => Err(broken(&error)),
            Err(error) => Err(broken(&error)),
        }
    }
}
