//! How a server's questions are answered: as the options say, or by the person at the terminal.

pub(crate) mod form;
pub(crate) mod form_field;
pub(crate) mod roots;
pub(crate) mod sampling;
pub(crate) mod terminal_input;
pub(crate) mod url_page;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::Context;
use crate::cli::ElicitMode;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt;
use crate::output::Ui;
use crate::schema::{self, ArgumentProblem, SchemaValidator};
use crate::session::client_handler::{ElicitationAnswer, ElicitationResponder, UrlElicitation};
use crate::transport::BoxFuture;
use crate::util::suggest::did_you_mean;

pub use crate::commands::client_features::terminal_input::{Console, ask_hidden_line, ask_line};
pub use roots::roots;
pub use sampling::sampler;

/// Who answers; nobody where there is neither a terminal nor an instruction (`ELI-01`).
///
/// # Errors
/// [`ErrorKind::Usage`] when the file of `--elicit @FILE` cannot be used.
pub fn elicitation_handler(context: &Context, server: &str) -> Result<Option<Arc<dyn ElicitationResponder>>> {
    let may_ask = !context.global.no_input;
    let interactive = may_ask && context.ui.terminal().is_interactive();
    let how = match &context.global.elicit {
        Some(ElicitMode::Ask) if !may_ask => return Ok(None),
        Some(ElicitMode::Ask) => ElicitAction::Ask,
        Some(ElicitMode::Accept) => ElicitAction::Values(Map::new()),
        Some(ElicitMode::Decline) => ElicitAction::Decline,
        Some(ElicitMode::Values(values)) => ElicitAction::Values(values.clone()),
        Some(ElicitMode::File(file)) => ElicitAction::Values(read_elicit_file(file)?),
        None if interactive => ElicitAction::Ask,
        None => return Ok(None),
    };
    let person = interactive && matches!(how, ElicitAction::Ask);
    let console = Console::new(context.ui.clone(), context.interrupt.clone());
    let (server, env) = (server.to_owned(), context.env.clone());
    Ok(Some(Arc::new(ElicitationHandler { console, env, server, action: how, person, one_at_a_time: Mutex::new(()) })))
}

/// The JSON object in a file; `-` is standard input.
fn read_elicit_file(file: &Path) -> Result<Map<String, Value>> {
    let failed = || Failure::new(ErrorKind::Usage, format!("--elicit @{} cannot be used", file.display()));
    if !file.is_file() {
        interrupt::enter_blocking();
    }
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| failed().caused_by(&error))?;
    serde_json::from_str(&text).map_err(|error| failed().cause(format!("it holds no JSON object: {error}")))
}

enum ElicitAction {
    Ask,
    Decline,
    /// Accept, with these values over the defaults of the form.
    Values(Map<String, Value>),
}

struct ElicitationHandler {
    console: Console,
    env: Arc<Environment>,
    server: String,
    action: ElicitAction,
    person: bool,
    /// Two questions at once would mix at the terminal.
    one_at_a_time: Mutex<()>,
}

impl ElicitationResponder for ElicitationHandler {
    fn is_interactive(&self) -> bool {
        self.person
    }

    fn answer_form<'a>(&'a self, message: &'a str, schema: &'a Value) -> BoxFuture<'a, Result<ElicitationAnswer>> {
        Box::pin(async move {
            match &self.action {
                ElicitAction::Decline => Ok(ElicitationAnswer::Decline),
                ElicitAction::Values(values) => {
                    self.preset_content(message, schema, values).await.map(ElicitationAnswer::Accept)
                }
                ElicitAction::Ask => {
                    let _turn = self.one_at_a_time.lock().await;
                    let _quiet = self.console.ui.pause_progress();
                    form::fill(&self.console, &self.server, message, schema).await
                }
            }
        })
    }

    fn visit_page<'a>(&'a self, page: UrlElicitation<'a>) -> BoxFuture<'a, Result<ElicitationAnswer>> {
        Box::pin(async move {
            let _turn = self.one_at_a_time.lock().await;
            let _quiet = self.console.ui.pause_progress();
            url_page::visit(&self.console, &self.env, &self.server, page).await
        })
    }
}

impl ElicitationHandler {
    /// The content of a form as the options tell it: the values given, over the defaults (`ELI-05`).
    async fn preset_content(
        &self,
        message: &str,
        form: &Value,
        values: &Map<String, Value>,
    ) -> Result<Map<String, Value>> {
        let ui: &Ui = &self.console.ui;
        let fields: Vec<&str> = form
            .get("properties")
            .and_then(Value::as_object)
            .map(|fields| fields.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let mut content = schema::form_defaults(form);
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
        let validator = SchemaValidator::new(form);
        let check = schema::check_form_content(&validator, &content);
        let problems = self.console.interrupt.run_until_interrupted(check).await?;
        if problems.is_empty() { Ok(content) } else { Err(self.preset_failure(message, form, &problems)) }
    }

    fn preset_failure(&self, message: &str, form: &Value, problems: &[ArgumentProblem]) -> Failure {
        let failure = Failure::new(ErrorKind::Refused, "the server's request for input cannot be answered as told")
            .cause(format!("{} asks: {message}", self.server));
        let failure = problems.iter().fold(failure, |failure, problem| failure.cause(problem.to_string()));
        let wrong = |field: &form_field::FormField<'_>| {
            problems.iter().any(|problem| problem.path.first().is_some_and(|name| name == field.name))
        };
        let fields = form_field::fields(form);
        let sample =
            fields.iter().filter(|field| wrong(field)).map(|field| (field.name.to_owned(), field.example_value()));
        let sample = Value::Object(sample.collect()).to_string();
        failure.hint(format!("give what it asks for: --elicit {}", crate::util::quoting::quote(&sample)))
    }
}
