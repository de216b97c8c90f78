//! `read`: resources to standard output or into files, several concurrently over one connection.

mod resource;
pub mod skills;
mod template;
mod watch;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::cli::ReadArgs;
use crate::commands::argument_completion::CompletionQuery;
use crate::commands::context::{Context, Exit};
use crate::commands::lists::{self, ListFilter};
use crate::commands::read::resource::list_resources_hint;
use crate::commands::read::template::{expand_template, split_argument, template_variables};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::content;
use crate::output::save::{self, FileNaming};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ListKind;
use crate::session::Session;
use crate::session::server_requests::ServerRequestLog;
use crate::target::Target;
use crate::util::suggest::nearest_names;

/// How often to check whether the connection is open.
const CONNECTION_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Reads resources.
///
/// # Errors
/// That of the first resource that cannot be read, after the others were printed.
pub async fn run(context: &Context, args: ReadArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.uris);
    let (target, uris) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    if let Some(wanted) = &args.complete {
        return complete_argument(context, target, &uris, wanted).await;
    }
    let uris = expand_template(&uris)?;
    if uris.is_empty() && (args.output_file().is_some() || args.save.is_some()) {
        return Err(no_resource_given(&target));
    }
    if uris.len() > 1 && args.output_file().is_some() {
        return Err(Failure::new(ErrorKind::Usage, "-o takes one resource, not several").hint(if args.watch {
            "watch one, or omit -o"
        } else {
            "write each to its own file: --save DIR"
        }));
    }
    args.save.as_deref().map_or(Ok(()), save::ensure_directory_writable)?;
    args.output_file().map_or(Ok(()), save::ensure_file_writable)?;
    args.output_file().and_then(save::format_name_warning).iter().for_each(|warning| context.ui.warn(warning));
    let progress = context.show_waiting_for(&target.name);
    let session = context.session(target, Some(progress.clone()))?;
    context
        .with_session(session, async |session| {
            if args.watch {
                return if uris.is_empty() {
                    Err(no_resource_given(session.target()))
                } else {
                    watch::run(context, session, &args, &uris).await
                };
            }
            if uris.is_empty() {
                return progress
                    .show_during(lists::print_kinds(
                        context,
                        session,
                        &[ListKind::Resources, ListKind::Templates],
                        ListFilter::default(),
                    ))
                    .await;
            }
            let results = progress.show_during(read_all(context, session, &args, &uris)).await?;
            let mime = match &results[..] {
                [Ok(ReadOutcome::Resource(result, _))] if args.max_bytes.is_some() => content::resource_mime(result),
                _ => None,
            };
            let naming = match &uris[..] {
                [uri] if !context.ui.is_json() => {
                    FileNaming { uri: Some(uri), mime: mime.as_deref(), ..FileNaming::default() }
                }
                _ => FileNaming::default(),
            };
            let mut exit = Exit::Done;
            context.ui.print_limited(args.max_bytes, naming, || {
                exit = print_outcomes(context, &args, &uris, results)?;
                Ok(())
            })?;
            session.server_requests().take_failure().map_or(Ok(exit), Err)
        })
        .await
}

/// What a URI yields.
enum ReadOutcome {
    /// A resource; and the failure after a request of the server during the read was declined.
    Resource(RawJson, Option<Failure>),
    /// A whole skill.
    Skill(skills::ExportedSkill),
}

/// Exports the skills among the URIs, and reads the others concurrently. The outcomes are in the order of the URIs.
async fn read_all(
    context: &Context,
    session: &Session,
    args: &ReadArgs,
    uris: &[String],
) -> Result<Vec<Result<ReadOutcome>>> {
    let mut skills = Vec::new();
    for uri in uris {
        let skill = match &args.save {
            Some(directory) => skills::export(context, session, uri, directory).await.transpose(),
            None => None,
        };
        if let (Some(Err(_)), Some(failure)) = (&skill, context.interrupt.raised_failure()) {
            return Err(failure);
        }
        skills.push(skill);
    }
    let got = skills.into_iter().zip(uris).map(async |(skill, uri)| match skill {
        Some(skill) => skill.map(ReadOutcome::Skill),
        None => {
            // One that is read alone uses the log of the session.
            let log = (uris.len() > 1).then(Arc::<ServerRequestLog>::default);
            let result = skills::read_verified(context, session, uri, log.as_ref()).await?;
            Ok(ReadOutcome::Resource(result, log.and_then(|log| log.take_failure())))
        }
    });
    // Boxed: it stores each of its futures twice.
    Box::pin(read_concurrently(session, got.collect())).await
}

/// Reads several things concurrently.
///
/// # Errors
/// A failure that all have in common: an unreachable server is reported once.
async fn read_concurrently<T>(
    session: &Session,
    reads: Vec<impl Future<Output = Result<T>>>,
) -> Result<Vec<Result<T>>> {
    let mut reads = reads.into_iter();
    let Some(first) = reads.next() else { return Ok(Vec::new()) };
    if reads.len() == 0 {
        return Ok(vec![first.await]);
    }
    let mut first = pin!(first);
    let opened = async {
        while session.connection_info().await.is_none() {
            sleep(CONNECTION_POLL_INTERVAL).await;
        }
    };
    // The others wait until the first has connected, so that they do not each try to reach the server.
    let early = tokio::select! {
        biased;
        result = &mut first => Some(result),
        () = opened => None,
    };
    let (first, others) = match early {
        Some(Err(failure)) if session.connection_info().await.is_none() => return Err(failure),
        Some(result) => (result, join_all(reads).await),
        None => join(first, join_all(reads)).await,
    };
    let same = |a: &Failure, b: &Failure| a.kind() == b.kind() && a.to_string() == b.to_string();
    if let Err(failure) = &first
        && failure.details().rpc.is_none()
        && others.iter().all(|other| other.as_ref().is_err_and(|other| same(failure, other)))
    {
        return Err(failure.clone());
    }
    Ok(std::iter::once(first).chain(others).collect())
}

fn no_resource_given(target: &Target) -> Failure {
    Failure::new(ErrorKind::Usage, "no resource given").hint(list_resources_hint(target))
}

/// Completes an argument of a template.
async fn complete_argument(context: &Context, target: Target, words: &[String], wanted: &str) -> Result<Exit> {
    let wanted = CompletionQuery::parse(wanted)?;
    let Some((template, arguments)) = words.split_first() else { return Err(no_resource_given(&target)) };
    let names = template_variables(template)?;
    if !names.contains(&wanted.argument) {
        let failure =
            Failure::new(ErrorKind::Usage, format!("the template {template} has no argument '{}'", wanted.argument));
        return Err(match nearest_names(&wanted.argument, names.iter().map(String::as_str)).first() {
            Some(nearest) => failure.hint(format!("did you mean {nearest}?")),
            None => failure,
        });
    }
    let mut given = Map::new();
    for argument in arguments {
        let (name, value) = split_argument(argument, template)?;
        given.insert(name.to_owned(), value.into());
    }
    let progress = context.progress(&format!("querying {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let reference = json!({"type": "ref/resource", "uri": template});
    let operation = async |session: &Session| wanted.print_completions(context, session, reference, &given).await;
    progress.show_during(context.with_session(session, operation)).await
}

fn print_outcomes(
    context: &Context,
    args: &ReadArgs,
    uris: &[String],
    results: Vec<Result<ReadOutcome>>,
) -> Result<Exit> {
    if context.ui.is_json() && results.len() > 1 {
        return print_json(context, args, uris, results);
    }
    let several = results.len() > 1;
    let mut exit = Exit::Done;
    for result in results {
        let printed = result.and_then(|got| match got {
            ReadOutcome::Resource(result, declined) => {
                print_resource(context, args, result).and(declined.map_or(Ok(()), Err))
            }
            ReadOutcome::Skill(skill) => skill.print(context),
        });
        match printed {
            Ok(()) => {}
            Err(failure) if !several || failure.kind() == ErrorKind::ClosedPipe => return Err(failure),
            Err(failure) => {
                context.ui.report_failure(&failure);
                if exit == Exit::Done {
                    exit = Exit::Reported(failure.kind());
                }
            }
        }
    }
    Ok(exit)
}

fn print_resource(context: &Context, args: &ReadArgs, result: RawJson) -> Result<()> {
    let ui = &context.ui;
    if let Some(directory) = &args.save {
        let saved = ui.save_resource_in_directory(&result, directory);
        return if ui.is_json() { ui.print_document(result.into()).and(saved) } else { saved };
    }
    match args.output_file() {
        Some(file) => ui.write_resource_to(result.into(), file),
        None if ui.is_json() => ui.print_document(result.into()),
        None => ui.print_resource(&result),
    }
}

/// Several results as one document: each URI with its result or error.
fn print_json(context: &Context, args: &ReadArgs, uris: &[String], results: Vec<Result<ReadOutcome>>) -> Result<Exit> {
    let mut text = String::from(r#"{"results":["#);
    let mut exit = Exit::Done;
    let mut failed = |failure: &Failure| {
        context.ui.report_failure(failure);
        if exit == Exit::Done {
            exit = Exit::Reported(failure.kind());
        }
    };
    for (index, (uri, result)) in uris.iter().zip(results).enumerate() {
        if index > 0 {
            text.push(',');
        }
        let uri = Value::String(uri.clone());
        match result {
            Ok(ReadOutcome::Skill(skill)) => text.push_str(&format!(r#"{{"uri":{uri},"export":{}}}"#, skill.json())),
            Ok(ReadOutcome::Resource(result, declined)) => {
                let saved =
                    args.save.as_ref().map(|directory| context.ui.save_resource_in_directory(&result, directory));
                saved.and_then(Result::err).iter().chain(&declined).for_each(&mut failed);
                text.push_str(&format!(r#"{{"uri":{uri},"result":{}}}"#, result.get()));
            }
            Err(failure) => {
                failed(&failure);
                text.push_str(&format!(r#"{{"uri":{uri},"error":{}}}"#, context.ui.redacted_failure_json(&failure)));
            }
        }
    }
    text.push_str("]}");
    context.ui.print_json_text(text)?;
    Ok(exit)
}
