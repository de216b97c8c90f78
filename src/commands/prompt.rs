//! `prompt`: one prompt with its arguments, or completions of an argument.

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
use crate::protocol::views::{ListItem, ListKind};
use crate::protocol::{code, method};
use crate::session::era::Operation;
use crate::session::{CachePolicy, Session};
use crate::util::suggest::nearest_names;

/// Gets a prompt.
///
/// # Errors
/// When it cannot be fetched.
pub async fn run(context: &Context, args: PromptArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.name).chain(&args.args);
    let (target, words) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    let progress = context.progress(&format!("waiting for {}", target.name));
    let Some((name, words)) = words.split_first() else {
        let about_one = [(args.form.is_some(), "--for"), (args.complete.is_some(), "--complete")];
        if let Some((_, option)) = about_one.into_iter().find(|(given, _)| *given) {
            return Err(Failure::new(ErrorKind::Usage, format!("{option} needs a prompt"))
                .hint(format!("name one of its prompts: {}", target.command_line("prompt", &[]))));
        }
        let session = context.session(target, None)?;
        let listed = async |session: &Session| {
            lists::print_kinds(context, session, &[ListKind::Prompts], ListFilter::default()).await
        };
        return progress.show_during(context.with_session(session, listed)).await;
    };
    let arguments = parse_arguments(words)?;
    let wanted = args.complete.as_deref().map(CompletionQuery::parse).transpose()?;
    let session = context.session(target, Some(progress.clone()))?;
    context
        .with_session(session, async |session| {
            if let Some(wanted) = &wanted {
                let prompt = json!({"type": "ref/prompt", "name": name});
                return progress.show_during(wanted.print_completions(context, session, prompt, &arguments)).await;
            }
            let result = match progress.show_during(session.request(&get_prompt_call(name, &arguments))).await {
                Ok(result) => result,
                Err(failure) => return Err(explain_failure(session, name, &arguments, failure).await),
            };
            warn_unknown_arguments(context, session, name, &arguments);
            match args.form {
                Some(form) => print_prompt_messages(context, &result, form)?,
                None if context.ui.is_json() => context.ui.print_raw_json(&result)?,
                None => context.ui.print_prompt(&result)?,
            }
            session.take_declined().map_or(Ok(Exit::Done), Err)
        })
        .await
}

fn get_prompt_call(name: &str, arguments: &Map<String, Value>) -> Operation {
    let mut params = Map::new();
    params.insert("name".into(), name.into());
    // Also without arguments: the TypeScript SDK refuses a request without this member for a prompt whose schema is an
    // object, even if all of its members are optional.
    params.insert("arguments".into(), Value::Object(arguments.clone()));
    Operation::read_only(method::PROMPTS_GET, params).with_mcp_name(name).with_progress()
}

/// `name=value` words; values are always strings, `name=@file` is the file's text.
fn parse_arguments(words: &[String]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    let mut reader = ArgumentFiles::default();
    for word in words {
        let usage = |message: String| Failure::new(ErrorKind::Usage, message);
        let Some((name, value)) = word.split_once('=') else {
            return Err(usage(format!("invalid argument '{word}'")).hint(format!("write it as name=value: {word}=…")));
        };
        if let Some(name) = name.strip_suffix(':') {
            return Err(usage(format!("{name}: a prompt's arguments are strings, not JSON")).hint(format!(
                "write it as name=value: {}",
                format_args!("{}={}", crate::util::quoting::quote(name), crate::util::quoting::quote(value))
            )));
        }
        let text = match value.strip_prefix('@') {
            Some(literal) if literal.starts_with('@') => literal.to_owned(),
            Some(file) => {
                let bytes = if file == "-" { reader.read_stdin() } else { reader.read_file(file) };
                let bytes = bytes.map_err(|error| usage(format!("{name}: cannot read {file}")).caused_by(&error))?;
                String::from_utf8(bytes).map_err(|_| usage(format!("{name}: {file} is not UTF-8 text")))?
            }
            None => value.to_owned(),
        };
        if all.insert(name.to_owned(), Value::String(text)).is_some() {
            return Err(usage(format!("{name}: given twice")));
        }
    }
    Ok(all)
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
        return failure.hint(match nearest.first() {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => format!("list the prompts: {}", session.target().command_line("prompt", &[])),
        });
    };
    argument_problems(&prompt, given).into_iter().fold(failure, Failure::cause)
}

/// Warns of arguments that do not match the cached list of prompts: some servers substitute `undefined` for a missing
/// argument instead of failing.
///
/// Nothing is requested if the list is not cached, and nothing is refused: the server decides.
fn warn_unknown_arguments(context: &Context, session: &Session, name: &str, given: &Map<String, Value>) {
    let listing = session.cached_list(ListKind::Prompts);
    // A prompt without any declared arguments may accept some all the same.
    let prompt = listing.and_then(|listing| listing.find(name)).filter(|it| it.value().get("arguments").is_some());
    for misfit in prompt.iter().flat_map(|prompt| argument_problems(prompt, given)) {
        context.ui.warn(&format!("{name}: {misfit}"));
    }
}

/// The problems of a prompt's arguments: missing ones, and undeclared ones.
fn argument_problems(prompt: &ListItem, given: &Map<String, Value>) -> Vec<String> {
    let known: Vec<(&str, bool)> = prompt
        .value()
        .get("arguments")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|argument| Some((argument.get("name")?.as_str()?, argument.get("required") == Some(&json!(true)))))
        .collect();
    let missing = known.iter().filter(|(name, required)| *required && !given.contains_key(*name));
    let mut wrong: Vec<String> = missing.map(|(name, _)| format!("{name}: missing")).collect();
    for name in given.keys().filter(|name| !known.iter().any(|(known, _)| known == name)) {
        wrong.push(match nearest_names(name, known.iter().map(|(known, _)| *known)).first() {
            Some(nearest) => format!("{name}: unknown; did you mean {nearest}?"),
            None => format!("{name}: unknown"),
        });
    }
    wrong
}

/// Prints the messages of a prompt.
fn print_prompt_messages(context: &Context, result: &RawValue, form: ApiFormat) -> Result<()> {
    let api = match form {
        ApiFormat::Anthropic => ModelApi::Anthropic,
        ApiFormat::Openai => ModelApi::OpenAiChat,
        ApiFormat::OpenaiResponses => ModelApi::OpenAiResponses,
        ApiFormat::Gemini => ModelApi::Gemini,
    };
    let messages = prompts::prompt_messages(api, result)
        .ok_or_else(|| Failure::new(ErrorKind::Protocol, "the server's response to prompts/get has no messages"))?;
    context.ui.print_json_value(&messages)
}
