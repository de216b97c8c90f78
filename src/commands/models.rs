//! `--for`: tools and prompts in the form that a model's API takes, so that any HTTP client can hand them on.

use std::collections::HashSet;

use futures_util::{StreamExt, stream};
use serde_json::Value;
use serde_json::value::RawValue;

use super::dashboard::JOBS;
use super::list::{Filter, offered};
use super::{Context, Exit, overrides};
use crate::cli::{ApiForm, ListArgs, ToolForm};
use crate::config::Lookup;
use crate::error::{Class, Failure, Result};
use crate::models::tools::Named;
use crate::models::{Api, messages, names, tools, typescript};
use crate::near::near;
use crate::protocol::views::{Entry, Kind};
use crate::session::Session;
use crate::target::{Resolved, Target};

/// The tools of one server.
struct Offer {
    server: String,
    /// What stands before the names of its tools.
    prefix: Option<String>,
    tools: Vec<Entry>,
}

/// Prints the tools of one server, or of all that are configured.
///
/// # Errors
/// When the one server, or the configuration, cannot be asked.
pub async fn list(context: &Context, args: &ListArgs, form: ToolForm) -> Result<Exit> {
    if args.target.is_none() && args.command.is_empty() {
        return every(context, args, form).await;
    }
    let words = args.target.iter().chain(&args.tool).cloned().collect();
    let Resolved { target, rest } = context.target(words, &args.command, true, &args.reach).await?;
    if let Some(extra) = rest.get(1) {
        return Err(Failure::new(Class::Usage, format!("unexpected word '{extra}' after the tool")));
    }
    let progress = context.progress(&format!("asking {}", target.name));
    let (server, look) = (target.name.clone(), target.line("list", &[]));
    let session = context.session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| offered(context, session, Kind::Tools, Filter::of(args)).await;
    let mut tools = progress.during(context.with(session, operation)).await?;
    if let Some(tool) = rest.first() {
        let known: Vec<String> = tools.iter().map(|entry| entry.name().to_owned()).collect();
        tools.retain(|entry| entry.name() == tool);
        if tools.is_empty() {
            let failure = Failure::new(Class::Failed, format!("the server has no tool '{tool}'")).server(&server);
            return Err(match near(tool, known.iter().map(String::as_str)).as_slice() {
                [] => failure.hint(format!("see its tools: {look}")),
                nearest => failure.hint(format!("did you mean {}?", nearest.join(" or "))),
            });
        }
    }
    print(context, form, vec![Offer { server, prefix: None, tools }])?;
    Ok(Exit::Done)
}

/// The tools of every configured server; one that fails is told, and the others are printed.
async fn every(context: &Context, args: &ListArgs, form: ToolForm) -> Result<Exit> {
    let lookup = Lookup::new(&context.env, context.global.config.as_deref());
    let config = lookup.config()?;
    config.unread().for_each(|text| context.ui.warn(&text));
    let overrides = overrides(&args.reach);
    let servers: Vec<&str> = config.enabled().collect();
    if servers.is_empty() {
        let add = config.followed("mcpipe config add NAME URL");
        context.ui.note(&format!("no servers are configured; to add one: {add}"));
    }
    let progress = context.progress(&format!("asking {} servers", servers.len()));
    let jobs = usize::from(args.jobs.or(config.defaults.jobs).unwrap_or(JOBS));
    let target = |name| context.configured(config, name, &overrides, false);
    let asked = servers.into_iter().map(|name| ask(context, args, name, target(name)));
    let asked: Vec<Result<Offer>> = progress.during(stream::iter(asked).buffered(jobs).collect()).await;
    if let Some(failure) = context.interrupt.raised() {
        return Err(failure);
    }
    let (mut offers, mut exit) = (Vec::new(), Exit::Done);
    for one in asked {
        match one {
            Ok(offer) => offers.push(offer),
            Err(failure) => {
                context.ui.failure(&failure);
                if exit == Exit::Done {
                    exit = Exit::Said(failure.class());
                }
            }
        }
    }
    print(context, form, offers)?;
    Ok(exit)
}

async fn ask(
    context: &Context,
    args: &ListArgs,
    name: &str,
    target: impl Future<Output = Result<Target>>,
) -> Result<Offer> {
    let session = context.session(target.await.map_err(|failure| failure.server(name))?, None)?;
    let tools = async |session: &Session| offered(context, session, Kind::Tools, Filter::of(args)).await;
    let tools = context.with(session, tools).await?;
    Ok(Offer { server: name.to_owned(), prefix: Some(name.to_owned()), tools })
}

fn print(context: &Context, form: ToolForm, offers: Vec<Offer>) -> Result<()> {
    let ui = &context.ui;
    let api = match form {
        ToolForm::Anthropic => Api::Anthropic,
        ToolForm::Openai => Api::OpenAi,
        ToolForm::OpenaiResponses => Api::Responses,
        ToolForm::Gemini => Api::Gemini,
        ToolForm::Typescript => {
            let text = declarations(&offers);
            return if ui.json() { ui.json_value(&Value::String(text)) } else { ui.text(&text) };
        }
    };
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for offer in &offers {
        for tool in &offer.tools {
            let name = names::exposed(offer.prefix.as_deref(), tool.name());
            if seen.insert(name.clone()) {
                all.push(Named { name, tool });
            } else {
                ui.warn(&format!("{} lists the tool '{}' twice; it is taken once", offer.server, tool.name()));
            }
        }
    }
    let (text, changes) = tools::tools(api, &all);
    for change in changes {
        ui.warn(&change);
    }
    ui.json_text(&text)
}

/// An interface a server; two of one name would become one.
fn declarations(offers: &[Offer]) -> String {
    let mut taken = HashSet::new();
    let mut all = Vec::new();
    for offer in offers {
        let wanted = typescript::type_name(&offer.server);
        let mut name = wanted.clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}{n}");
            n += 1;
        }
        let mut seen = HashSet::new();
        let tools: Vec<&Entry> = offer.tools.iter().filter(|tool| seen.insert(tool.name())).collect();
        all.push(typescript::interface(&offer.server, &name, &tools));
    }
    all.join("\n")
}

/// Prints the messages of a prompt.
///
/// # Errors
/// [`Class::Protocol`] where it has none.
pub fn prompt(context: &Context, result: &RawValue, form: ApiForm) -> Result<Exit> {
    let api = match form {
        ApiForm::Anthropic => Api::Anthropic,
        ApiForm::Openai => Api::OpenAi,
        ApiForm::OpenaiResponses => Api::Responses,
        ApiForm::Gemini => Api::Gemini,
    };
    let messages = messages::messages(api, result)
        .ok_or_else(|| Failure::new(Class::Protocol, "the server's answer to prompts/get has no messages"))?;
    context.ui.json_value(&messages)?;
    Ok(Exit::Done)
}
