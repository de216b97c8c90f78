//! `list`: what one server offers, one of its tools in full, or who it is.

use super::dashboard;
use super::tools::{self, Tools};
use super::{Context, Exit, models, watch};
use crate::cli::ListArgs;
use crate::error::{Class, Failure, Result};
use crate::output::details::{ParameterRow, ServerView, ToolView};
use crate::output::documents;
use crate::output::listing::kind_table;
use crate::protocol::views::{Entry, Kind};
use crate::schema;
use crate::session::{Session, Use};
use crate::target::Resolved;

/// Lists.
///
/// # Errors
/// When the server, or the first of several, cannot be asked.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit> {
    if let Some(form) = args.form {
        return models::list(context, &args, form).await;
    }
    let anywhere = args.target.is_none() && args.command.is_empty();
    if args.offline && !anywhere {
        // clap would show a usage with both.
        return Err(Failure::new(Class::Usage, "--offline goes without TARGET: it shows every configured server")
            .hint("leave TARGET out: mcpipe list --offline"));
    }
    if anywhere {
        if args.watch {
            return Err(Failure::new(Class::Usage, "--watch needs a target")
                .hint("watch one server: mcpipe list TARGET --watch"));
        }
        if let Some(option) = only_of_one(&args) {
            return Err(Failure::new(Class::Usage, format!("{option} needs a target"))
                .hint(format!("name a server: mcpipe list TARGET {option}")));
        }
        return dashboard::run(context, &args).await;
    }
    let words = args.target.iter().chain(&args.tool).cloned().collect();
    let Resolved { target, rest: words } = context.target(words, &args.command, true, &args.reach).await?;
    if let (Some(option), Some(tool)) = (only_of_lists(&args), words.first()) {
        return Err(Failure::new(Class::Usage, format!("{option} is about lists, and '{tool}' is one tool"))
            .hint(format!("leave out one of them: {}", target.line("list", &[option]))));
    }
    let progress = context.progress(&format!("asking {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| match words.as_slice() {
        [] if args.info => info(context, session).await,
        [] if args.schema => Err(Failure::new(Class::Usage, "--schema needs a tool")
            .hint(format!("name one: {}", session.target().line("list", &["TOOL", "--schema"])))),
        [] if args.all => everything(context, session, &args).await,
        [] => kinds(context, session, &wanted(&args), Filter::of(&args)).await,
        [tool] => one_tool(context, session, tool, args.schema).await,
        [_, extra, ..] => Err(Failure::new(Class::Usage, format!("unexpected word '{extra}' after the tool"))),
    };
    if args.watch && words.is_empty() {
        // What is waited for now may never come: no line says so.
        return context
            .with(session, async |session| watch::lists(context, session, &args, &wanted(&args)).await)
            .await;
    }
    progress.during(context.with(session, operation)).await
}

/// The first option that chooses lists.
fn chooses(args: &ListArgs) -> Option<&'static str> {
    let options = [
        (args.resources, "--resources"),
        (args.templates, "--templates"),
        (args.prompts, "--prompts"),
        (args.skills, "--skills"),
        (args.all, "--all"),
    ];
    options.into_iter().find_map(|(given, name)| given.then_some(name))
}

/// The first option that means nothing for a tool.
fn only_of_lists(args: &ListArgs) -> Option<&'static str> {
    let grep = args.grep.is_some().then_some("--grep WORD");
    chooses(args).or(args.info.then_some("--info")).or(grep)
}

/// The first option that means nothing without a target. What is looked for is looked for in the chosen lists.
fn only_of_one(args: &ListArgs) -> Option<&'static str> {
    let chosen = chooses(args).filter(|_| args.grep.is_none());
    chosen.or(args.info.then_some("--info")).or(args.schema.then_some("TOOL --schema"))
}

/// Every list; that of skills only where the server says that it has some.
async fn everything(context: &Context, session: &Session, args: &ListArgs) -> Result<Exit> {
    let mut all = wanted(args);
    if session.offers_skills().await? {
        all.push(Kind::Skills);
    }
    kinds(context, session, &all, Filter::of(args)).await
}

/// The kinds of lists asked for; tools unless told otherwise.
#[must_use]
pub fn wanted(args: &ListArgs) -> Vec<Kind> {
    if args.all {
        return vec![Kind::Tools, Kind::Resources, Kind::Templates, Kind::Prompts];
    }
    let chosen = [
        (args.resources, Kind::Resources),
        (args.templates, Kind::Templates),
        (args.prompts, Kind::Prompts),
        (args.skills, Kind::Skills),
    ];
    let chosen: Vec<Kind> = chosen.into_iter().filter_map(|(yes, kind)| yes.then_some(kind)).collect();
    if chosen.is_empty() { vec![Kind::Tools] } else { chosen }
}

/// Which elements of a list are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Those that hold this word.
    pub grep: Option<&'a str>,
    /// Also tools that are meant for the server's own app only.
    pub hidden: bool,
}

impl<'a> Filter<'a> {
    /// As the options say.
    #[must_use]
    pub fn of(args: &'a ListArgs) -> Self {
        Filter { grep: args.grep.as_deref(), hidden: args.hidden }
    }
}

/// What a server offers of one kind, policy applied and filtered.
///
/// # Errors
/// When it cannot be asked.
pub async fn offered(context: &Context, session: &Session, kind: Kind, filter: Filter<'_>) -> Result<Vec<Entry>> {
    let entries = if kind == Kind::Tools {
        let Tools { mut entries, hidden, .. } = tools::load(context, session, Use::Server).await?;
        if !hidden.is_empty() {
            let are = if hidden.len() == 1 { "tool is" } else { "tools are" };
            let name = &session.target().name;
            context.ui.note(&format!("{name}: {} {are} hidden by the configuration", hidden.len()));
        }
        let all = entries.len();
        entries.retain(|entry| filter.hidden || !tools::is_for_app(entry));
        let left_out = all - entries.len();
        if left_out > 0 {
            let (name, are) = (&session.target().name, if left_out == 1 { "tool is" } else { "tools are" });
            context.ui.note(&format!("{left_out} more {are} for the app of {name} only; --hidden lists them too"));
        }
        entries
    } else {
        session.list(kind, Use::Server).await?.entries()
    };
    Ok(match filter.grep {
        Some(word) => entries.into_iter().filter(|entry| matches(entry, word)).collect(),
        None => entries,
    })
}

/// Whether a word occurs in the name, title, URI or description, whatever its case.
#[must_use]
pub fn matches(entry: &Entry, word: &str) -> bool {
    let word = word.to_lowercase();
    let texts = [Some(entry.name()), entry.title(), Some(entry.uri()), Some(entry.description())];
    texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&word))
}

/// Prints lists of these kinds.
///
/// # Errors
/// When one cannot be had.
pub async fn kinds(context: &Context, session: &Session, kinds: &[Kind], filter: Filter<'_>) -> Result<Exit> {
    let lists = gather(context, session, kinds, filter).await?;
    if context.ui.json() {
        context.ui.json_text(&document(&lists))?;
        return Ok(Exit::Done);
    }
    show(context, session, &lists, filter.grep.is_some())?;
    Ok(Exit::Done)
}

/// Lists of these kinds.
///
/// # Errors
/// When one cannot be had.
pub async fn gather(
    context: &Context,
    session: &Session,
    kinds: &[Kind],
    filter: Filter<'_>,
) -> Result<Vec<(Kind, Vec<Entry>)>> {
    let mut lists = Vec::new();
    for kind in kinds {
        lists.push((*kind, offered(context, session, *kind, filter).await?));
    }
    Ok(lists)
}

/// Prints lists for people; `sifted` tells whether something was left out.
///
/// # Errors
/// When they cannot be printed.
pub fn show(context: &Context, session: &Session, lists: &[(Kind, Vec<Entry>)], sifted: bool) -> Result<()> {
    let ui = &context.ui;
    if lists.iter().all(|(_, entries)| entries.is_empty()) {
        let names: Vec<&str> = lists.iter().map(|(kind, _)| kind.plural()).collect();
        let about = if sifted { "has no matching" } else { "offers no" };
        ui.note(&format!("{} {about} {}", session.target().name, names.join(" or ")));
    }
    let several = lists.len() > 1;
    for (kind, entries) in lists.iter().filter(|(_, entries)| !entries.is_empty()) {
        // At a terminal each list has its heading; in a pipe each line says what it is.
        let headed = several && ui.terminal().stdout;
        if headed {
            ui.section(kind.plural())?;
        }
        let tag = (several && !headed).then_some(kind.plural());
        ui.table(&kind_table(*kind, entries.iter().map(|entry| (tag, entry)), signature))?;
    }
    Ok(())
}

/// The parameters of a tool in a few words.
#[must_use]
pub fn signature(tool: &Entry) -> String {
    schema::signature(tool.value())
}

/// Lists as one document, every element as the server sent it.
#[must_use]
pub fn document(lists: &[(Kind, Vec<Entry>)]) -> String {
    documents::lists(lists.iter().map(|(kind, entries)| (*kind, entries.iter().collect())))
}

async fn info(context: &Context, session: &Session) -> Result<Exit> {
    let about = session.about().await?;
    let target = session.target().name.as_str();
    let view =
        ServerView { target, info: &about.server, revision: about.revision.as_str(), transport: about.wire.as_str() };
    let ui = &context.ui;
    if ui.json() { ui.json_value(&documents::server_info(&view)) } else { ui.server_info(&view) }?;
    Ok(Exit::Done)
}

async fn one_tool(context: &Context, session: &Session, name: &str, schema_only: bool) -> Result<Exit> {
    let tools = tools::load(context, session, Use::Server).await?;
    let target = session.target();
    let Some(tool) = tools.find(name) else { return Err(tools.missing(target, name)) };
    let ui = &context.ui;
    if schema_only {
        let raw = crate::protocol::views::member(tool.raw(), "inputSchema");
        match raw {
            Some(raw) => ui.raw_json(raw)?,
            None => return Err(Failure::new(Class::Protocol, format!("the tool '{name}' has no input schema"))),
        }
    } else if ui.json() {
        ui.raw_json(tool.raw())?;
    } else {
        let parameters = parameters(tool);
        let output = tool.output_schema().map(schema::output_shape);
        let made = tool.input_schema().map(schema::example);
        let fits = made.as_ref().is_none_or(|made| made.fits);
        let mut words = vec![crate::shell::quoted(name)];
        words.extend(made.map(|made| made.words).unwrap_or_default());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut example = target.line("call", &words);
        if !fits {
            example.push_str("\nits values are to be filled in: the schema asks for more than can be made up");
        }
        ui.tool_in_full(&ToolView { tool, parameters: &parameters, output: output.as_deref(), example: &example })?;
    }
    Ok(Exit::Done)
}

fn parameters(tool: &Entry) -> Vec<ParameterRow> {
    let all = tool.input_schema().map(schema::parameters).unwrap_or_default();
    all.into_iter()
        .map(|parameter| {
            let mut allowed: Vec<String> = parameter.allowed.iter().map(ToString::to_string).collect();
            allowed.extend(parameter.limits);
            ParameterRow {
                name: parameter.name,
                kind: parameter.kind,
                required: parameter.required,
                default: parameter.default.map(|value| value.to_string()).unwrap_or_default(),
                allowed: allowed.join(", "),
                description: parameter.description,
            }
        })
        .collect()
}
