//! Answers to the server's requests (elicitation, sampling, roots): by options, or by the user at the terminal.

pub(crate) mod form;
pub(crate) mod form_field;
pub(crate) mod roots;
pub(crate) mod sampling;
pub(crate) mod terminal_input;
pub(crate) mod url_page;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::args::parse_json;
use crate::cli::ElicitOption;
use crate::commands::context::Context;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt;
use crate::output::Ui;
use crate::schema::{self, SchemaValidator, ValueProblem};
use crate::session::client_handler::{ElicitationAnswer, ElicitationResponder, UrlElicitation};
use crate::transport::BoxFuture;
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::secret_names::looks_secret;
use crate::util::suggest::did_you_mean;

pub use crate::commands::client_features::terminal_input::{Prompter, ask_hidden_line, ask_line, ask_yes_no};
pub use roots::roots;
pub use sampling::sampler;

/// Whether the user may be prompted for input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MayPrompt {
    /// At a terminal.
    Yes,
    /// Standard input is read for something else, or the session only lists.
    No,
}

/// The handler of elicitation requests; `None` without a terminal and without `--elicit` (`ELI-01`).
///
/// # Errors
/// [`ErrorKind::Usage`] for `--elicit ask` without a terminal, and when the file of `--elicit @FILE` cannot be used.
pub fn elicitation_handler(
    context: &Context,
    server: &str,
    may_prompt: MayPrompt,
) -> Result<Option<Arc<dyn ElicitationResponder>>> {
    let interactive = !context.global.no_input && context.ui.terminal().is_interactive();
    let how = match &context.global.elicit {
        Some(ElicitOption::Ask) if !interactive => {
            let why = if context.global.no_input { "--no-input was given" } else { "not at a terminal" };
            return Err(Failure::new(ErrorKind::Usage, format!("--elicit ask: cannot prompt: {why}"))
                .hint("use --elicit accept, decline, a JSON object or @FILE"));
        }
        Some(ElicitOption::Ask) | None if may_prompt == MayPrompt::No => return Ok(None),
        Some(ElicitOption::Ask) => ElicitMode::Ask,
        Some(ElicitOption::Accept) => ElicitMode::Values(Map::new(), None),
        Some(ElicitOption::Decline) => ElicitMode::Decline,
        Some(ElicitOption::Values(values)) => ElicitMode::Values(values.clone(), None),
        Some(ElicitOption::File(file)) => ElicitMode::Values(read_elicit_file(context, file)?, Some(file.clone())),
        None if interactive => ElicitMode::Ask,
        None => return Ok(None),
    };
    let person = interactive && matches!(how, ElicitMode::Ask);
    let prompter = Prompter::new(context.ui.clone(), context.interrupt.clone());
    let (server, env) = (server.to_owned(), context.env.clone());
    Ok(Some(Arc::new(ElicitationHandler { prompter, env, server, mode: how, person, one_at_a_time: Mutex::new(()) })))
}

/// The JSON object in a file; `-` is standard input.
fn read_elicit_file(context: &Context, file: &Path) -> Result<Map<String, Value>> {
    let failed = || Failure::new(ErrorKind::Usage, format!("--elicit @{} cannot be used", file.display()));
    if !file.is_file() {
        interrupt::enter_blocking();
    }
    let text = if file == Path::new("-") {
        context.note_awaited_input("the values of --elicit as JSON");
        bounded_read::read_all(std::io::stdin(), MAX_FILE, 0).and_then(bounded_read::into_text)
    } else {
        bounded_read::read_to_string(file, MAX_FILE)
    };
    let text = text.map_err(|error| failed().caused_by(&error))?;
    match parse_json(text.as_bytes(), "the file") {
        Ok(Value::Object(values)) => Ok(values),
        Ok(_) => Err(failed().cause("it is not a JSON object")),
        Err(fault) => Err(failed().cause(fault)),
    }
}

enum ElicitMode {
    Ask,
    Decline,
    /// Accept, with these values over the defaults of the form, and the file that they are from.
    Values(Map<String, Value>, Option<PathBuf>),
}

struct ElicitationHandler {
    prompter: Prompter,
    env: Arc<Environment>,
    server: String,
    mode: ElicitMode,
    person: bool,
    /// Two forms at once would mix at the terminal.
    one_at_a_time: Mutex<()>,
}

impl ElicitationResponder for ElicitationHandler {
    fn is_interactive(&self) -> bool {
        self.person
    }

    fn answer_form<'a>(&'a self, message: &'a str, schema: &'a Value) -> BoxFuture<'a, Result<ElicitationAnswer>> {
        Box::pin(async move {
            match &self.mode {
                ElicitMode::Decline => Ok(ElicitationAnswer::Decline),
                ElicitMode::Values(values, file) => {
                    let content = self.preset_content(message, schema, values, file.as_deref()).await;
                    content.map(ElicitationAnswer::Accept)
                }
                ElicitMode::Ask => {
                    let _turn = self.one_at_a_time.lock().await;
                    let _quiet = self.prompter.ui.pause_progress();
                    form::fill(&self.prompter, &self.server, message, schema).await
                }
            }
        })
    }

    fn visit_page<'a>(&'a self, page: UrlElicitation<'a>) -> BoxFuture<'a, Result<ElicitationAnswer>> {
        Box::pin(async move {
            let _turn = self.one_at_a_time.lock().await;
            let _quiet = self.prompter.ui.pause_progress();
            url_page::visit(&self.prompter, &self.env, &self.server, page).await
        })
    }
}

impl ElicitationHandler {
    /// The content of a form from the options: the given values, over the defaults of the form (`ELI-05`).
    async fn preset_content(
        &self,
        message: &str,
        form: &Value,
        values: &Map<String, Value>,
        file: Option<&Path>,
    ) -> Result<Map<String, Value>> {
        let ui: &Ui = &self.prompter.ui;
        let fields: Vec<&str> = form
            .get("properties")
            .and_then(Value::as_object)
            .map(|fields| fields.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let mut content = schema::form_defaults(form);
        let mut usable = values.clone();
        for (name, value) in values {
            if fields.contains(&name.as_str()) {
                content.insert(name.clone(), value.clone());
            } else {
                // Another form may ask for it; a typo must not pass unnoticed.
                let near = did_you_mean(name, fields.iter().copied());
                if near.is_some() {
                    usable.remove(name);
                }
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                ui.warn(&format!("--elicit: {} does not ask for '{name}'{near}", self.server));
            }
        }
        let validator = SchemaValidator::new(form);
        let check = schema::check_form_content(&validator, &content);
        let mut problems = self.prompter.interrupt.run_until_interrupted(check).await?;
        for problem in &mut problems {
            // Not shown, as what is in a file.
            if file.is_some() || content.keys().any(|name| looks_secret(name) && problem.is_about(name)) {
                problem.got = None;
            }
        }
        if problems.is_empty() { Ok(content) } else { Err(self.preset_failure(message, form, usable, file, &problems)) }
    }

    /// The failure of the given values. Those of them that are `usable` are repeated in its hint, unless they are from a
    /// file: what is in it is not shown.
    fn preset_failure(
        &self,
        message: &str,
        form: &Value,
        usable: Map<String, Value>,
        file: Option<&Path>,
        problems: &[ValueProblem],
    ) -> Failure {
        let failure = Failure::new(ErrorKind::Refused, "cannot answer the server's request for input with --elicit")
            .cause(format!("{} asked: {message}", self.server));
        let failure = problems.iter().fold(failure, |failure, problem| failure.cause(problem.to_string()));
        let is_wrong = |field: &form_field::FormField<'_>| problems.iter().any(|problem| problem.is_about(field.name));
        let mut values = if file.is_some() { Map::new() } else { usable };
        for (_, value) in values.iter_mut().filter(|(name, _)| looks_secret(name)) {
            *value = "…".into();
        }
        for field in form_field::fields(form).iter().filter(|field| is_wrong(field)) {
            values.insert(field.name.to_owned(), field.example_value());
        }
        let values = Value::Object(values).to_string();
        failure.hint(match file {
            Some(file) if file == Path::new("-") => format!("correct these values on standard input: {values}"),
            Some(file) => format!("correct these values in '{}': {values}", file.display()),
            None => format!("correct the values: --elicit {}", crate::util::quoting::quote(&values)),
        })
    }
}
