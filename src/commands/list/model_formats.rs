//! `list --for`: tools in the format of a model's API, to be sent with any HTTP client.
//!
//! They are the tools that `call --tool-use` with the same options can call: tools that a server lists only for clients
//! that can answer its requests need the options for that.

use std::collections::HashSet;

use serde_json::Value;

use crate::cli::{ListArgs, ToolFormat};
use crate::commands;
use crate::commands::context::{Context, Exit};
use crate::commands::list::configured::ConfiguredServers;
use crate::commands::lists::{ListFilter, fetch_entries};
use crate::commands::tools::ToolCache;
use crate::config::LazyConfig;
use crate::error::{ErrorKind, Failure, Result};
use crate::models::tools::NamedTool;
use crate::models::{tool_names, tools, typescript};
use crate::protocol::views::{ListItem, ListKind};
use crate::session::{CachePolicy, Session};
use crate::target::Target;

/// The tools of one server.
struct ServerTools {
    server: String,
    /// The prefix of its tools' names.
    prefix: Option<String>,
    tools: Vec<ListItem>,
}

/// Prints the tools of one server, or of all that are configured.
///
/// # Errors
/// When the server cannot be queried, or the configuration cannot be read.
pub async fn print_tools(context: &Context, args: &ListArgs, form: ToolFormat) -> Result<Exit> {
    if args.target.is_none() && args.command.is_empty() {
        return print_all_servers(context, args, form).await;
    }
    let words = args.target.iter().chain(&args.tool);
    let (target, rest) = context.resolve_target(words, &args.command, true, &args.target_options).await?;
    if let Some(tool) = rest.first().filter(|_| args.search.is_some()) {
        return Err(Failure::new(ErrorKind::Usage, format!("--search cannot be used with a tool ('{tool}')"))
            .hint("omit the tool, or --search"));
    }
    if let Some(extra) = rest.get(1) {
        return Err(Failure::new(ErrorKind::Usage, format!("unexpected argument '{extra}' after the tool")));
    }
    let progress = context.progress(&format!("querying {}", target.name));
    let server = target.short_name();
    let session = context.listing_session_for(target, Some(progress.clone()), &[])?;
    let operation = async |session: &Session| match rest.first() {
        Some(name) => {
            let tools = commands::tools::fetch_tools(context, session, CachePolicy::Bypass).await?;
            match tools.find(name) {
                Some(tool) => Ok(vec![ListItem::clone(tool)]),
                None => Err(ToolCache::default().missing_tool(context, session, &tools, name).await),
            }
        }
        None => fetch_entries(context, session, ListKind::Tools, ListFilter::from_args(args)).await,
    };
    let tools = progress.show_during(context.with_session(session, operation)).await?;
    print_server_tools(context, args, form, vec![ServerTools { server, prefix: None, tools }])?;
    Ok(Exit::Done)
}

/// The tools of every configured server; a failure is reported, and the other servers are printed.
async fn print_all_servers(context: &Context, args: &ListArgs, form: ToolFormat) -> Result<Exit> {
    let lookup = LazyConfig::new(&context.env, context.global.config.as_deref());
    let config = lookup.config()?;
    let servers = &ConfiguredServers::new(context, args, config);
    let query = |name| async move {
        let tools = fetch_server_tools(context, args, name, servers.target(name)).await;
        tools.map_err(|failure| failure.one_of_several(name))
    };
    let fetched = servers.query(query, |one| one.as_ref().err(), |_| Ok(())).await?;
    if let Some(failure) = context.interrupt.raised_failure() {
        return Err(failure);
    }
    let exit = Exit::from_failures(fetched.iter().filter_map(|one| one.as_ref().err()));
    let mut offers = Vec::new();
    for one in fetched {
        match one {
            Ok(offer) => offers.push(offer),
            Err(failure) => context.ui.report_failure(&failure),
        }
    }
    print_server_tools(context, args, form, offers)?;
    Ok(exit)
}

async fn fetch_server_tools(
    context: &Context,
    args: &ListArgs,
    name: &str,
    target: impl Future<Output = Result<Target>>,
) -> Result<ServerTools> {
    let target = target.await?;
    let session = context.listing_session_for(target, None, &[])?;
    let tools =
        async |session: &Session| fetch_entries(context, session, ListKind::Tools, ListFilter::from_args(args)).await;
    let tools = context.with_session(session, tools).await?;
    Ok(ServerTools { server: name.to_owned(), prefix: Some(name.to_owned()), tools })
}

fn print_server_tools(context: &Context, args: &ListArgs, form: ToolFormat, offers: Vec<ServerTools>) -> Result<()> {
    let ui = &context.ui;
    let ToolFormat::Api(form) = form else {
        let text = typescript_declarations(&offers);
        return if ui.is_json() { ui.print_json_value(&Value::String(text)) } else { ui.print_text(&text) };
    };
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for offer in &offers {
        for tool in offer.tools.iter().filter(|tool| tool.is_object()) {
            let name = tool_names::exposed_name(offer.prefix.as_deref(), tool.name());
            if seen.insert(name.clone()) {
                all.push(NamedTool { name, tool });
            } else {
                ui.warn(&format!("{} lists the tool '{}' twice; the first is used", offer.server, tool.name()));
            }
        }
    }
    let (text, changes) = tools::tool_definitions(form.into(), &all, args.max_description.map(|max| max as usize));
    for change in changes {
        ui.warn(&change);
    }
    ui.print_json_text(text)
}

/// One interface per server; equal names are numbered, since TypeScript would merge them.
fn typescript_declarations(offers: &[ServerTools]) -> String {
    let mut taken = HashSet::new();
    let mut all = Vec::new();
    for offer in offers {
        let wanted = typescript::interface_name(&offer.server);
        let mut name = wanted.clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}{n}");
            n += 1;
        }
        let mut seen = HashSet::new();
        let tools: Vec<&ListItem> =
            offer.tools.iter().filter(|tool| tool.is_object() && seen.insert(tool.name())).collect();
        all.push(typescript::interface(&offer.server, &name, &tools));
    }
    all.join("\n")
}
