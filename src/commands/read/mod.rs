//! `read`: resources to standard output or into files, several at once over one connection.

pub mod skills;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join, join_all};
use iri_string::template::UriTemplateStr;
use iri_string::template::context::{Context as Context6570, ListVisitor as _, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{Context, Exit, list, watch};
use crate::cli::ReadArgs;
use crate::commands::argument_completion::CompletionQuery;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::save;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ListKind;
use crate::protocol::{code, method};
use crate::session::era::Operation;
use crate::session::{CachePolicy, Session};
use crate::target::{ResolvedTarget, Target};
use crate::util::suggest::nearest_names;

/// How often it is looked whether the connection is open.
const CONNECTION_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Reads resources.
///
/// # Errors
/// That of the first resource that cannot be read, after the others were printed.
pub async fn run(context: &Context, args: ReadArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.uris).cloned().collect();
    let ResolvedTarget { target, rest: uris } =
        context.resolve_target(words, &args.command, false, &args.target_options).await?;
    if let Some(wanted) = &args.complete {
        return complete_argument(context, target, &uris, wanted).await;
    }
    let uris = expand_template(&uris)?;
    if uris.is_empty() && (args.output_file().is_some() || args.save.is_some()) {
        return Err(no_resource_given(&target));
    }
    if uris.len() > 1 && args.output_file().is_some() {
        return Err(Failure::new(ErrorKind::Usage, "several resources do not go into one file").hint(if args.watch {
            "watch one, or leave out -o"
        } else {
            "write each into a file of its own: --save DIR"
        }));
    }
    args.save.as_deref().map_or(Ok(()), save::ensure_directory_writable)?;
    args.output_file().map_or(Ok(()), save::ensure_file_writable)?;
    let progress = context.progress(&format!("waiting for {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    context
        .with_session(session, async |session| {
            if args.watch {
                return if uris.is_empty() {
                    Err(no_resource_given(session.target()))
                } else {
                    watch::resources(context, session, &args, &uris).await
                };
            }
            if uris.is_empty() {
                return progress
                    .show_during(list::print_kinds(
                        context,
                        session,
                        &[ListKind::Resources, ListKind::Templates],
                        list::ListFilter::default(),
                    ))
                    .await;
            }
            let results = progress.show_during(read_all(context, session, &args, &uris)).await?;
            print_outcomes(context, &args, &uris, results)
        })
        .await
}

/// What came of a URI.
enum ReadOutcome {
    /// A resource.
    Resource(RawJson),
    /// A whole skill.
    Skill(skills::ExportedSkill),
}

/// Brings the skills among the URIs home and reads the others at once; what came of each, in their order.
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
        None => skills::read_verified(context, session, uri).await.map(ReadOutcome::Resource),
    });
    // Boxed: it holds each of its futures in two places.
    Box::pin(read_concurrently(session, got.collect())).await
}

/// Reads several things at once.
///
/// # Errors
/// What keeps all of them from being read: a server that cannot be reached is said once.
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
    // The others do not each start the server, or knock, until it is known that there is one.
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
    Failure::new(ErrorKind::Usage, "which resource?").hint(list_hint(target))
}

fn list_hint(target: &Target) -> String {
    format!("see what there is: {}", target.command_line("read", &[]))
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
    let progress = context.progress(&format!("asking {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let reference = json!({"type": "ref/resource", "uri": template});
    let operation = async |session: &Session| wanted.print_completions(context, session, reference, &given).await;
    progress.show_during(context.with_session(session, operation)).await
}

/// The names of a template's arguments.
fn template_variables(template: &str) -> Result<Vec<String>> {
    let parsed = parse_template(template)?;
    Ok(parsed.variables().map(|name| name.as_str().to_owned()).collect())
}

fn parse_template(template: &str) -> Result<&UriTemplateStr> {
    UriTemplateStr::new(template)
        .map_err(|error| Failure::new(ErrorKind::Usage, format!("'{template}' is no URI template")).caused_by(&error))
}

fn split_argument<'a>(argument: &'a str, template: &str) -> Result<(&'a str, &'a str)> {
    argument.split_once('=').ok_or_else(|| {
        Failure::new(ErrorKind::Usage, format!("'{argument}' is no argument of the template"))
            .hint(format!("write it as name=value; one template is read at a time: {template}"))
    })
}

/// The URIs to read: the words as they are, or one template with its arguments (RFC 6570).
fn expand_template(words: &[String]) -> Result<Vec<String>> {
    let Some((template, arguments)) = words.split_first().filter(|(first, _)| first.contains('{')) else {
        return Ok(words.to_vec());
    };
    let usage = |message: String| Failure::new(ErrorKind::Usage, message);
    let parsed = parse_template(template)?;
    let mut given = TemplateArguments::default();
    for argument in arguments {
        let (name, value) = split_argument(argument, template)?;
        given.0.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    let names = template_variables(template)?;
    let needed = required_variables(template);
    let missing = names.iter().filter(|name| !given.0.contains_key(*name) && needed.contains(&name.as_str()));
    let unknown = given.0.keys().filter(|name| !names.contains(name));
    let mut problems: Vec<String> = unknown
        .map(|name| match nearest_names(name, names.iter().map(String::as_str)).first() {
            Some(nearest) => format!("{name}: not in the template; did you mean {nearest}?"),
            None => format!("{name}: not in the template"),
        })
        .collect();
    problems.extend(missing.map(|name| format!("{name}: missing")));
    if !problems.is_empty() {
        let failure = usage(format!("the arguments do not fit the template {template}"));
        return Err(problems.into_iter().fold(failure, Failure::cause));
    }
    let uri = parsed
        .expand::<iri_string::spec::UriSpec, _>(&given)
        .map_err(|error| usage(format!("'{template}' cannot be expanded")).caused_by(&error))?;
    Ok(vec![uri.to_string()])
}

/// The variables without which a template makes no sense: all but those of a query, a fragment and the parameters
/// of a path, which may be left out (`{?q}`, `{&q}`, `{#f}`, `{;p}`). One left out expands to nothing.
fn required_variables(template: &str) -> Vec<&str> {
    let expressions = template.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let paths = expressions.filter(|inner| !inner.starts_with(['?', '&', '#', ';']));
    let names = paths.flat_map(|inner| inner.trim_start_matches(['+', '/', '.']).split(','));
    names.map(|name| name.split([':', '*']).next().unwrap_or(name)).collect()
}

/// The arguments of a template; one that was given several times is a list.
#[derive(Default)]
struct TemplateArguments(BTreeMap<String, Vec<String>>);

impl Context6570 for TemplateArguments {
    fn visit<V: Visitor>(&self, visitor: V) -> V::Result {
        match self.0.get(visitor.var_name().as_str()).map(Vec::as_slice) {
            None => visitor.visit_undefined(),
            Some([only]) => visitor.visit_string(only),
            Some(several) => visitor.visit_list().visit_items_and_finish(several),
        }
    }
}

/// Reads one resource.
///
/// # Errors
/// When it cannot be read.
pub async fn read_resource(session: &Session, uri: &str) -> Result<RawJson> {
    let mut params = Map::new();
    params.insert("uri".into(), Value::String(uri.to_owned()));
    let call = Operation::read_only(method::RESOURCES_READ, params).with_mcp_name(uri).with_progress();
    match session.request(&call).await {
        Ok(result) => Ok(result),
        Err(mut failure) => {
            if failure.details().rpc.is_some() {
                let message = &mut failure.details_mut().message;
                *message = format!("{uri}: {message}");
            }
            Err(suggest_resources(session, uri, failure).await)
        }
    }
}

/// A resource that is not there gets the nearest ones named (`TOL-08`).
async fn suggest_resources(session: &Session, uri: &str, failure: Failure) -> Failure {
    let unknown = failure.details().rpc.as_ref().map(|error| error.code);
    if !matches!(unknown, Some(code::INVALID_PARAMS | code::RESOURCE_NOT_FOUND)) {
        return failure;
    }
    let Ok(listing) = session.list(ListKind::Resources, CachePolicy::Allow).await else { return failure };
    let entries = listing.parsed_items();
    let nearest = nearest_names(uri, entries.iter().map(|entry| entry.uri()));
    let hint = match nearest.first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => list_hint(session.target()),
    };
    failure.hint(hint)
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
            ReadOutcome::Resource(result) => print_resource(context, args, &result),
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

fn print_resource(context: &Context, args: &ReadArgs, result: &RawValue) -> Result<()> {
    let ui = &context.ui;
    if let Some(directory) = &args.save {
        let saved = ui.save_resource(result, directory);
        return if ui.is_json() { ui.print_raw_json(result).and(saved) } else { saved };
    }
    match args.output_file() {
        Some(file) => ui.write_resource_to(result, file),
        None if ui.is_json() => ui.print_raw_json(result),
        None => ui.print_resource(result),
    }
}

/// Several results as one document: what was asked, and what came of it.
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
            Ok(ReadOutcome::Resource(result)) => {
                let saved = args.save.as_ref().map(|directory| context.ui.save_resource(&result, directory));
                if let Some(Err(failure)) = saved {
                    failed(&failure);
                }
                text.push_str(&format!(r#"{{"uri":{uri},"result":{}}}"#, result.get()));
            }
            Err(failure) => {
                failed(&failure);
                text.push_str(&format!(r#"{{"uri":{uri},"error":{}}}"#, context.ui.redacted_failure_json(&failure)));
            }
        }
    }
    text.push_str("]}");
    context.ui.print_json_text(&text)?;
    Ok(exit)
}
