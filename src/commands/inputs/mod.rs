//! How a server's questions are answered: as the options say, or by the person at the terminal.

mod field;
mod form;
mod keyboard;
mod page;
mod roots;
mod sampling;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::Context;
use crate::cli::Elicit;
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use crate::interrupt;
use crate::near::did_you_mean;
use crate::output::Ui;
use crate::schema::{self, Problem};
use crate::session::peer::{Answer, Inputs, Page};
use crate::transport::Boxed;

pub use keyboard::{Console, line, unseen};
pub use roots::roots;
pub use sampling::sampler;

/// Who answers; nobody where there is neither a terminal nor an instruction (`ELI-01`).
///
/// # Errors
/// [`Class::Usage`] when the file of `--elicit @FILE` cannot be used.
pub fn answerer(context: &Context, server: &str) -> Result<Option<Arc<dyn Inputs>>> {
    let may_ask = !context.global.no_input;
    let interactive = may_ask && context.ui.terminal().interactive();
    let how = match &context.global.elicit {
        Some(Elicit::Ask) if !may_ask => return Ok(None),
        Some(Elicit::Ask) => How::Ask,
        Some(Elicit::Accept) => How::Values(Map::new()),
        Some(Elicit::Decline) => How::Decline,
        Some(Elicit::Values(values)) => How::Values(values.clone()),
        Some(Elicit::File(file)) => How::Values(read_values(file)?),
        None if interactive => How::Ask,
        None => return Ok(None),
    };
    let person = interactive && matches!(how, How::Ask);
    let console = Console::new(context.ui.clone(), context.interrupt.clone());
    let (server, env) = (server.to_owned(), context.env.clone());
    Ok(Some(Arc::new(Answerer { console, env, server, how, person, one_at_a_time: Mutex::new(()) })))
}

/// The JSON object in a file; `-` is standard input.
fn read_values(file: &Path) -> Result<Map<String, Value>> {
    let failed = || Failure::new(Class::Usage, format!("--elicit @{} cannot be used", file.display()));
    if !file.is_file() {
        interrupt::may_stall();
    }
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| failed().source(&error))?;
    serde_json::from_str(&text).map_err(|error| failed().cause(format!("it holds no JSON object: {error}")))
}

enum How {
    Ask,
    Decline,
    /// Accept, with these values over the defaults of the form.
    Values(Map<String, Value>),
}

struct Answerer {
    console: Console,
    env: Arc<Environment>,
    server: String,
    how: How,
    person: bool,
    /// Two questions at once would mix at the terminal.
    one_at_a_time: Mutex<()>,
}

impl Inputs for Answerer {
    fn person(&self) -> bool {
        self.person
    }

    fn form<'a>(&'a self, message: &'a str, schema: &'a Value) -> Boxed<'a, Result<Answer>> {
        Box::pin(async move {
            match &self.how {
                How::Decline => Ok(Answer::Decline),
                How::Values(values) => self.told(message, schema, values).map(Answer::Accept),
                How::Ask => {
                    let _turn = self.one_at_a_time.lock().await;
                    let _quiet = self.console.ui.pause_progress();
                    form::fill(&self.console, &self.server, message, schema).await
                }
            }
        })
    }

    fn page<'a>(&'a self, page: Page<'a>) -> Boxed<'a, Result<Answer>> {
        Box::pin(async move {
            let _turn = self.one_at_a_time.lock().await;
            let _quiet = self.console.ui.pause_progress();
            page::visit(&self.console, &self.env, &self.server, page).await
        })
    }
}

impl Answerer {
    /// The content of a form as the options tell it: the values given, over the defaults (`ELI-05`).
    fn told(&self, message: &str, form: &Value, values: &Map<String, Value>) -> Result<Map<String, Value>> {
        let ui: &Ui = &self.console.ui;
        let fields: Vec<&str> = form
            .get("properties")
            .and_then(Value::as_object)
            .map(|fields| fields.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let mut content = schema::defaults(form);
        for (name, value) in values {
            if fields.contains(&name.as_str()) {
                content.insert(name.clone(), value.clone());
            } else {
                // Another form may ask for it; a slip must not pass in silence.
                let near = did_you_mean(name, fields.iter().copied());
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                ui.warn(&format!("--elicit: '{name}' is not asked for by {}{near}", self.server));
            }
        }
        let problems = schema::check_form(form, &content);
        if problems.is_empty() { Ok(content) } else { Err(self.misfit(message, form, &problems)) }
    }

    fn misfit(&self, message: &str, form: &Value, problems: &[Problem]) -> Failure {
        let failure = Failure::new(Class::Refused, "the server's request for input cannot be answered as told")
            .cause(format!("{} asks: {message}", self.server));
        let failure = problems.iter().fold(failure, |failure, problem| failure.cause(problem.to_string()));
        let wrong = |field: &field::Field<'_>| {
            problems.iter().any(|problem| problem.path.first().is_some_and(|name| name == field.name))
        };
        let fields = field::fields(form);
        let sample = fields.iter().filter(|field| wrong(field)).map(|field| (field.name.to_owned(), field.sample()));
        let sample = Value::Object(sample.collect()).to_string();
        failure.hint(format!("give what it asks for: --elicit {}", crate::shell::quoted(&sample)))
    }
}
