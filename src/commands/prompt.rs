//! `prompt`: one prompt with its arguments, or completions of an argument.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::args::ArgumentReader;
use crate::cli::{ApiFormat, PromptArgs};
use crate::commands::argument_completion::CompletionQuery;
use crate::commands::argument_files::ArgumentFiles;
use crate::commands::context::{Context, Exit};
use crate::commands::lists::{self, ListFilter};
use crate::error::{ErrorKind, Failure, Result};
use crate::models::{ModelApi, prompts};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::{ListItem, ListKind};
use crate::protocol::{code, method};
use crate::schema::{PathStep, ValueProblem, invalid_arguments_failure, path_text};
use crate::session::operation::Operation;
use crate::session::server_requests::ServerRequestLog;
use crate::session::{CachePolicy, Listing, Session};
use crate::util::quoting::{quote, quote_without_secrets};
use crate::util::suggest::nearest_names;

/// Gets a prompt.
///
/// # Errors
/// When it cannot be fetched.
pub async fn run(context: &Context, args: PromptArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.name).chain(&args.args);
    let (target, words) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    let progress = context.show_waiting_for(&target.name);
    let Some((name, words)) = words.split_first() else {
        let about_one = [(args.form.is_some(), "--for"), (args.complete.is_some(), "--complete")];
        if let Some((_, option)) = about_one.into_iter().find(|(given, _)| *given) {
            return Err(Failure::new(ErrorKind::Usage, format!("{option} needs a prompt"))
                .hint(format!("name one of its prompts: {}", target.command_line("prompt", &[]))));
        }
        let session = context.session(target, Some(progress.clone()))?;
        let listed = async |session: &Session| {
            lists::print_kinds(context, session, &[ListKind::Prompts], ListFilter::default()).await
        };
        return progress.show_during(context.with_session(session, listed)).await;
    };
    let words = PromptWords::parse(context, words);
    let wanted = args.complete.as_deref().map(CompletionQuery::parse).transpose()?;
    let session = context.session(target, Some(progress.clone()))?;
    context
        .with_session(session, async |session| {
            if !words.faults.is_empty() {
                return Err(progress.show_during(explain_faults(session, name, &words)).await);
            }
            let arguments = &words.arguments;
            if let Some(wanted) = &wanted {
                let prompt = json!({"type": "ref/prompt", "name": name});
                return progress.show_during(wanted.print_completions(context, session, prompt, arguments)).await;
            }
            let result = progress.show_during(get_prompt(context, session, name, arguments, None)).await?;
            match args.form {
                Some(form) => print_prompt_messages(context, &result, form)?,
                None if context.ui.is_json() => context.ui.print_document(result.into())?,
                None => context.ui.print_prompt(&result)?,
            }
            session.server_requests().take_failure().map_or(Ok(Exit::Done), Err)
        })
        .await
}

/// Gets a prompt, after its arguments were checked. `log` is the log of the server's requests during it, if it is not
/// that of the session.
///
/// # Errors
/// When an argument is missing, or the server has no result.
pub async fn get_prompt(
    context: &Context,
    session: &Session,
    name: &str,
    arguments: &Map<String, Value>,
    log: Option<&Arc<ServerRequestLog>>,
) -> Result<RawJson> {
    check_arguments(context, session, name, arguments).await?;
    let operation = Operation { server_requests: log.cloned(), ..get_prompt_call(name, arguments) };
    match session.request(&operation).await {
        Ok(result) => Ok(result),
        Err(failure) => Err(explain_failure(session, name, arguments, failure).await),
    }
}

/// The request for a prompt.
#[must_use]
pub fn get_prompt_call(name: &str, arguments: &Map<String, Value>) -> Operation {
    let mut params = Map::new();
    params.insert("name".into(), name.into());
    // Also without arguments: the TypeScript SDK refuses a request without this member for a prompt whose schema is an
    // object, even if all of its members are optional.
    params.insert("arguments".into(), Value::Object(arguments.clone()));
    Operation::read_only(method::PROMPTS_GET, params).with_mcp_name(name).with_progress()
}

/// The words after a prompt's name. Values are always strings; `name=@file` is the file's text.
struct PromptWords<'a> {
    /// The arguments; `null` for one whose word is wrong.
    arguments: Map<String, Value>,
    /// The words that are wrong, in their order.
    faults: Vec<WordFault<'a>>,
}

/// Why a word is not an argument.
enum WordFault<'a> {
    /// It is not `name=value`.
    WithoutName(&'a str),
    /// Its value cannot be used.
    Value(ValueProblem),
}

impl<'a> PromptWords<'a> {
    fn parse(context: &Context, words: &'a [String]) -> Self {
        let mut parsed = PromptWords { arguments: Map::new(), faults: Vec::new() };
        let mut files = ArgumentFiles::new(context);
        for word in words {
            let Some((name, value)) = word.split_once('=') else {
                parsed.faults.push(WordFault::WithoutName(word));
                continue;
            };
            let name = name.strip_suffix(':').unwrap_or(name);
            let value = if word[name.len()..].starts_with(':') {
                let plain = quote_without_secrets(&[&format!("{name}={value}")]).concat();
                Err(ValueProblem::for_parameter(name, "a prompt's arguments are strings, not JSON")
                    .with_suggestion(Some(format!("write it as {plain}"))))
            } else {
                read_value(&mut files, name, value)
            };
            let value = value.map(Value::String).unwrap_or_else(|problem| {
                parsed.faults.push(WordFault::Value(problem));
                Value::Null
            });
            if parsed.arguments.insert(name.to_owned(), value).is_some() {
                parsed.faults.push(WordFault::Value(ValueProblem::for_parameter(name, "given twice")));
            }
        }
        parsed
    }
}

/// The value of a word: its text, or that of a file.
fn read_value(files: &mut ArgumentFiles<'_>, name: &str, value: &str) -> Result<String, ValueProblem> {
    let source = match value.strip_prefix('@') {
        None => return Ok(value.to_owned()),
        Some(literal) if literal.starts_with('@') => return Ok(literal.to_owned()),
        Some(source) => source,
    };
    let (shown, bytes) = match source {
        "-" => ("standard input", files.read_stdin(&format!("the value of {name}"))),
        file => (file, files.read_file(file)),
    };
    let literal = || Some(format!("to pass the text itself: {}", quote(&format!("{name}=@{value}"))));
    let problem = |message: String| ValueProblem::for_parameter(name, message).with_suggestion(literal());
    let bytes = bytes.map_err(|error| problem(format!("cannot read {shown}: {error}")))?;
    String::from_utf8(bytes).map_err(|_| ValueProblem::for_parameter(name, format!("{shown} is not UTF-8 text")))
}

/// The failure for words that are wrong, with the required arguments that they may have been meant for.
async fn explain_faults(session: &Session, name: &str, words: &PromptWords<'_>) -> Failure {
    let listing = session.list(ListKind::Prompts, CachePolicy::Allow).await.ok();
    let prompt = listing.as_ref().and_then(|listing| listing.find(name));
    let missing = prompt.as_ref().map(|prompt| missing_arguments(prompt, &words.arguments)).unwrap_or_default();
    let mut missing = missing.into_iter();
    let mut problems: Vec<ValueProblem> = Vec::new();
    for fault in &words.faults {
        problems.push(match fault {
            WordFault::Value(problem) => problem.clone(),
            WordFault::WithoutName(word) => {
                let argument = missing.next().map(|argument| path_text(&argument.path));
                let suggestion = match &argument {
                    Some(argument) => {
                        let typed = format!("{argument}={word}");
                        format!("did you mean {}?", quote_without_secrets(&[&typed]).concat())
                    }
                    None => "write NAME=VALUE".to_owned(),
                };
                ValueProblem::stray_word(word, argument.as_deref()).with_suggestion(Some(suggestion))
            }
        });
    }
    problems.extend(missing);
    if let Some(prompt) = prompt.filter(|prompt| !declared_arguments(prompt).is_empty()) {
        problems.extend(unknown_arguments(&prompt, &words.arguments));
    }
    let list = format!("show its arguments: {}", session.target().command_line("list", &["--prompts"]));
    invalid_arguments_failure(&list, name, &problems).server(&session.target().name)
}

/// Explains an unknown prompt or a missing argument from the list of prompts.
async fn explain_failure(session: &Session, name: &str, given: &Map<String, Value>, mut failure: Failure) -> Failure {
    let Some(error) = &failure.details().rpc else { return failure };
    let about_all = error.code == Some(code::METHOD_NOT_FOUND) && failure.details().hint.is_some();
    let message = &mut failure.details_mut().message;
    *message = format!("{name}: {message}");
    if about_all {
        return failure;
    }
    let Ok(listing) = session.list(ListKind::Prompts, CachePolicy::Allow).await else { return failure };
    let Some(prompt) = listing.find(name) else {
        let entries = listing.parsed_items();
        let nearest = nearest_names(name, entries.iter().map(|entry| entry.name()));
        return match nearest.first() {
            Some(nearest) => failure.name_hint(format!("did you mean {nearest}?")),
            None => failure.hint(format!("list the prompts: {}", session.target().command_line("prompt", &[]))),
        };
    };
    let problems = missing_arguments(&prompt, given).into_iter().chain(unknown_arguments(&prompt, given));
    problems.fold(failure, |failure, problem| failure.cause(problem.to_string()))
}

/// Checks the arguments before the prompt is requested, as those of a tool are: some servers substitute `undefined` for
/// a missing argument instead of failing.
///
/// A missing argument is a failure, an undeclared one a warning: the server may accept it all the same. If the cached
/// list rejects them, the current one decides. A prompt that is not listed is left to the server.
///
/// # Errors
/// When an argument is missing, or the server cannot be asked.
pub async fn check_arguments(
    context: &Context,
    session: &Session,
    name: &str,
    given: &Map<String, Value>,
) -> Result<()> {
    let mut listing = match session.list(ListKind::Prompts, CachePolicy::Allow).await {
        Ok(listing) => listing,
        // The server may have the prompt although it cannot list it.
        Err(failure) if matches!(failure.kind(), ErrorKind::Failed | ErrorKind::Protocol) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    // A prompt without any declared arguments may accept some all the same.
    let declared = |listing: &Listing| {
        listing.find(name).filter(|prompt| prompt.value().get("arguments").is_some_and(Value::is_array))
    };
    if listing.is_cached && declared(&listing).is_some_and(|prompt| !missing_arguments(&prompt, given).is_empty()) {
        listing = session.list(ListKind::Prompts, CachePolicy::Bypass).await?;
    }
    let Some(prompt) = declared(&listing) else { return Ok(()) };
    let missing = missing_arguments(&prompt, given);
    let unknown = unknown_arguments(&prompt, given);
    if missing.is_empty() {
        unknown.iter().for_each(|problem| context.ui.warn(&format!("{name}: {problem} (it is sent all the same)")));
        return Ok(());
    }
    let list = format!("show its arguments: {}", session.target().command_line("list", &["--prompts"]));
    let problems: Vec<ValueProblem> = missing.into_iter().chain(unknown).collect();
    Err(invalid_arguments_failure(&list, name, &problems).server(&session.target().name))
}

fn declared_arguments(prompt: &ListItem) -> Vec<(&str, bool)> {
    let arguments = prompt.value().get("arguments").and_then(Value::as_array).into_iter().flatten();
    arguments
        .filter_map(|argument| Some((argument.get("name")?.as_str()?, argument.get("required") == Some(&json!(true)))))
        .collect()
}

fn missing_arguments(prompt: &ListItem, given: &Map<String, Value>) -> Vec<ValueProblem> {
    let missing =
        declared_arguments(prompt).into_iter().filter(|(name, required)| *required && !given.contains_key(*name));
    missing.map(|(name, _)| ValueProblem::missing(&[PathStep::member(name)])).collect()
}

fn unknown_arguments(prompt: &ListItem, given: &Map<String, Value>) -> Vec<ValueProblem> {
    let known: Vec<&str> = declared_arguments(prompt).into_iter().map(|(name, _)| name).collect();
    let unknown = given.keys().filter(|name| !known.contains(&name.as_str()));
    unknown.map(|name| ValueProblem::unknown_parameter(&[PathStep::member(name)], known.iter().copied())).collect()
}

impl From<ApiFormat> for ModelApi {
    fn from(form: ApiFormat) -> Self {
        match form {
            ApiFormat::Anthropic => ModelApi::Anthropic,
            ApiFormat::Openai => ModelApi::OpenAiChat,
            ApiFormat::OpenaiResponses => ModelApi::OpenAiResponses,
            ApiFormat::Gemini => ModelApi::Gemini,
        }
    }
}

/// Prints the messages of a prompt.
fn print_prompt_messages(context: &Context, result: &RawValue, form: ApiFormat) -> Result<()> {
    let messages = prompts::prompt_messages(form.into(), result)
        .ok_or_else(|| Failure::new(ErrorKind::Protocol, "the server's response to prompts/get has no messages"))?;
    context.ui.print_json_value(&messages)
}
