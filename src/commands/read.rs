//! `read`: resources to standard output or into files, several at once over one connection.

use futures_util::future::join_all;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Context, Exit, list};
use crate::cli::ReadArgs;
use crate::error::{Class, Failure, Result};
use crate::near::near;
use crate::output::content;
use crate::protocol::rpc::Raw;
use crate::protocol::views::Kind;
use crate::protocol::{code, method};
use crate::session::era::Call;
use crate::session::{Session, Use};
use crate::target::Resolved;

/// Reads resources.
///
/// # Errors
/// That of the first resource that cannot be read, after the others were printed.
pub async fn run(context: &Context, args: ReadArgs) -> Result<Exit> {
    let words = args.target.iter().chain(&args.uris).cloned().collect();
    let Resolved { target, rest: uris } = context.target(words, &args.command, false, &args.reach)?;
    let uris = expand(&uris)?;
    let progress = context.progress(&format!("waiting for {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    context
        .with(session, async |session| {
            if uris.is_empty() {
                return progress
                    .during(list::kinds(context, session, &[Kind::Resources, Kind::Templates], list::Filter::default()))
                    .await;
            }
            let results = progress.during(join_all(uris.iter().map(|uri| read_one(session, uri)))).await;
            print(context, &args, &uris, results)
        })
        .await
}

/// The URIs to read: the words as they are, or one template with its arguments (RFC 6570).
fn expand(words: &[String]) -> Result<Vec<String>> {
    let Some((template, arguments)) = words.split_first().filter(|(first, _)| first.contains('{')) else {
        return Ok(words.to_vec());
    };
    let usage = |message: String| Failure::new(Class::Usage, message);
    let parsed = iri_string::template::UriTemplateStr::new(template)
        .map_err(|error| usage(format!("'{template}' is no URI template")).source(&error))?;
    let mut values = iri_string::template::simple_context::SimpleContext::new();
    let mut given = Vec::new();
    for argument in arguments {
        let Some((name, value)) = argument.split_once('=') else {
            return Err(usage(format!("'{argument}' is no argument of the template"))
                .hint(format!("write it as name=value; one template is read at a time: {template}")));
        };
        values.insert(name, value);
        given.push(name);
    }
    let names: Vec<String> = parsed.variables().map(|name| name.as_str().to_owned()).collect();
    let missing: Vec<&str> = names.iter().map(String::as_str).filter(|name| !given.contains(name)).collect();
    let unknown = given.iter().filter(|name| !names.iter().any(|known| known == *name));
    let mut problems: Vec<String> = unknown
        .map(|name| match near(name, names.iter().map(String::as_str)).first() {
            Some(nearest) => format!("{name}: not in the template; did you mean {nearest}?"),
            None => format!("{name}: not in the template"),
        })
        .collect();
    problems.extend(missing.iter().map(|name| format!("{name}: missing")));
    if !problems.is_empty() {
        let failure = usage(format!("the arguments do not fit the template {template}"));
        return Err(problems.into_iter().fold(failure, Failure::cause));
    }
    let uri = parsed
        .expand::<iri_string::spec::UriSpec, _>(&values)
        .map_err(|error| usage(format!("'{template}' cannot be expanded")).source(&error))?;
    Ok(vec![uri.to_string()])
}

async fn read_one(session: &Session, uri: &str) -> Result<Raw> {
    let mut params = Map::new();
    params.insert("uri".into(), Value::String(uri.to_owned()));
    let call = Call::read_only(method::RESOURCES_READ, params).named(uri).with_progress();
    match session.request(&call).await {
        Ok(result) => Ok(result),
        Err(mut failure) => {
            if failure.details().rpc.is_some() {
                let message = &mut failure.details_mut().message;
                *message = format!("{uri}: {message}");
            }
            Err(explain(session, uri, failure).await)
        }
    }
}

/// A resource that is not there gets the nearest ones named (`TOL-08`).
async fn explain(session: &Session, uri: &str, failure: Failure) -> Failure {
    let unknown = failure.details().rpc.as_ref().map(|error| error.code);
    if !matches!(unknown, Some(code::INVALID_PARAMS | code::RESOURCE_NOT_FOUND)) {
        return failure;
    }
    let Ok(listing) = session.list(Kind::Resources, Use::Memory).await else { return failure };
    let entries = listing.entries();
    let nearest = near(uri, entries.iter().map(|entry| entry.uri()));
    let hint = match nearest.first() {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("see what there is: mcpipe read {}", super::quoted(&session.target().name)),
    };
    failure.hint(hint)
}

fn print(context: &Context, args: &ReadArgs, uris: &[String], results: Vec<Result<Raw>>) -> Result<Exit> {
    if context.ui.json() && results.len() > 1 {
        return print_json(context, uris, results);
    }
    let several = results.len() > 1;
    let mut exit = Exit::Done;
    for result in results {
        let printed = result.and_then(|result| print_one(context, args, &result, several));
        match printed {
            Ok(()) => {}
            Err(failure) if !several || failure.class() == Class::ClosedPipe => return Err(failure),
            Err(failure) => {
                context.ui.failure(&failure);
                if exit == Exit::Done {
                    exit = Exit::Said(failure.class());
                }
            }
        }
    }
    Ok(exit)
}

fn print_one(context: &Context, args: &ReadArgs, result: &RawValue, several: bool) -> Result<()> {
    if let Some(directory) = &args.save {
        return context.ui.read_result_saved(result, directory);
    }
    if let Some(file) = &args.output {
        if several {
            return Err(Failure::new(Class::Usage, "several resources do not go into one file")
                .hint("write each into a file of its own: --save DIR"));
        }
        return content::write_contents(result, file);
    }
    if context.ui.json() { context.ui.raw_json(result) } else { context.ui.read_result(result) }
}

/// Several results as one document: what was asked, and what came of it.
fn print_json(context: &Context, uris: &[String], results: Vec<Result<Raw>>) -> Result<Exit> {
    let mut text = String::from(r#"{"results":["#);
    let mut exit = Exit::Done;
    for (index, (uri, result)) in uris.iter().zip(results).enumerate() {
        if index > 0 {
            text.push(',');
        }
        let uri = Value::String(uri.clone());
        match result {
            Ok(result) => text.push_str(&format!(r#"{{"uri":{uri},"result":{}}}"#, result.get())),
            Err(failure) => {
                context.ui.failure(&failure);
                let message = Value::String(failure.details().message.clone());
                text.push_str(&format!(r#"{{"uri":{uri},"error":{message}}}"#));
                if exit == Exit::Done {
                    exit = Exit::Said(failure.class());
                }
            }
        }
    }
    text.push_str("]}");
    context.ui.json_text(&text)?;
    Ok(exit)
}
