//! `list`: what one server offers, one of its tools in full, or who it is.

pub mod dashboard;
use super::tools::{self, ToolList};
use super::{Context, Exit, watch};
use crate::cli::ListArgs;
use crate::commands::model_formats;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::details::{ParameterRow, ServerView, ToolView};
use crate::output::json_documents;
use crate::output::list_tables::kind_table;
use crate::protocol::views::{ListItem, ListKind};
use crate::schema;
use crate::session::{CachePolicy, Session};
use crate::target::ResolvedTarget;

/// Lists.
///
/// # Errors
/// When the server, or the first of several, cannot be asked.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit> {
    if let Some(form) = args.form {
        return model_formats::print_tools(context, &args, form).await;
    }
    let anywhere = args.target.is_none() && args.command.is_empty();
    if args.offline && !anywhere {
        // clap would show a usage with both.
        return Err(Failure::new(ErrorKind::Usage, "--offline goes without TARGET: it shows every configured server")
            .hint("leave TARGET out: mcpipe list --offline"));
    }
    if anywhere {
        if args.watch {
            return Err(Failure::new(ErrorKind::Usage, "--watch needs a target")
                .hint("watch one server: mcpipe list TARGET --watch"));
        }
        if let Some(option) = single_server_option(&args) {
            return Err(Failure::new(ErrorKind::Usage, format!("{option} needs a target"))
                .hint(format!("name a server: mcpipe list TARGET {option}")));
        }
        return dashboard::run(context, &args).await;
    }
    let words = args.target.iter().chain(&args.tool).cloned().collect();
    let ResolvedTarget { target, rest: words } =
        context.resolve_target(words, &args.command, true, &args.target_options).await?;
    if let (Some(option), Some(tool)) = (list_only_option(&args), words.first()) {
        return Err(Failure::new(ErrorKind::Usage, format!("{option} is about lists, and '{tool}' is one tool"))
            .hint(format!("leave out one of them: {}", target.command_line("list", &[option]))));
    }
    let progress = context.progress(&format!("asking {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| match words.as_slice() {
        [] if args.info => print_server_info(context, session).await,
        [] if args.schema => Err(Failure::new(ErrorKind::Usage, "--schema needs a tool")
            .hint(format!("name one: {}", session.target().command_line("list", &["TOOL", "--schema"])))),
        [] if args.all => print_all_kinds(context, session, &args).await,
        [] => print_kinds(context, session, &selected_kinds(&args), ListFilter::from_args(&args)).await,
        [tool] => print_tool(context, session, tool, args.schema).await,
        [_, extra, ..] => Err(Failure::new(ErrorKind::Usage, format!("unexpected word '{extra}' after the tool"))),
    };
    if args.watch && words.is_empty() {
        // What is waited for now may never come: no line says so.
        return context
            .with_session(session, async |session| watch::lists(context, session, &args, &selected_kinds(&args)).await)
            .await;
    }
    progress.show_during(context.with_session(session, operation)).await
}

/// The first option that chooses lists.
fn list_selecting_option(args: &ListArgs) -> Option<&'static str> {
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
fn list_only_option(args: &ListArgs) -> Option<&'static str> {
    let grep = args.search.is_some().then_some("--search WORD");
    list_selecting_option(args).or(args.info.then_some("--info")).or(grep)
}

/// The first option that means nothing without a target. What is looked for is looked for in the chosen lists.
fn single_server_option(args: &ListArgs) -> Option<&'static str> {
    let chosen = list_selecting_option(args).filter(|_| args.search.is_none());
    chosen.or(args.info.then_some("--info")).or(args.schema.then_some("TOOL --schema"))
}

/// Every list; that of skills only where the server says that it has some.
async fn print_all_kinds(context: &Context, session: &Session, args: &ListArgs) -> Result<Exit> {
    let mut all = selected_kinds(args);
    if session.offers_skills().await? {
        all.push(ListKind::Skills);
    }
    print_kinds(context, session, &all, ListFilter::from_args(args)).await
}

/// The kinds of lists asked for; tools unless told otherwise.
#[must_use]
pub fn selected_kinds(args: &ListArgs) -> Vec<ListKind> {
    if args.all {
        return vec![ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts];
    }
    let chosen = [
        (args.resources, ListKind::Resources),
        (args.templates, ListKind::Templates),
        (args.prompts, ListKind::Prompts),
        (args.skills, ListKind::Skills),
    ];
    let chosen: Vec<ListKind> = chosen.into_iter().filter_map(|(yes, kind)| yes.then_some(kind)).collect();
    if chosen.is_empty() { vec![ListKind::Tools] } else { chosen }
}

/// Which elements of a list are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListFilter<'a> {
    /// Those that hold this word.
    pub grep: Option<&'a str>,
    /// Also tools that are meant for the server's own app only.
    pub include_hidden: bool,
}

impl<'a> ListFilter<'a> {
    /// As the options say.
    #[must_use]
    pub fn from_args(args: &'a ListArgs) -> Self {
        ListFilter { grep: args.search.as_deref(), include_hidden: args.hidden }
    }
}

/// What a server offers of one kind, policy applied and filtered.
///
/// # Errors
/// When it cannot be asked.
pub async fn fetch_entries(
    context: &Context,
    session: &Session,
    kind: ListKind,
    filter: ListFilter<'_>,
) -> Result<Vec<ListItem>> {
    let entries = if kind == ListKind::Tools {
        let ToolList { mut entries, hidden, .. } = tools::fetch_tools(context, session, CachePolicy::Bypass).await?;
        if !hidden.is_empty() {
            let are = if hidden.len() == 1 { "tool is" } else { "tools are" };
            let name = &session.target().name;
            context.ui.note(&format!("{name}: {} {are} hidden by the configuration", hidden.len()));
        }
        let all = entries.len();
        entries.retain(|entry| filter.include_hidden || !tools::is_app_only(entry));
        let left_out = all - entries.len();
        if left_out > 0 {
            let (name, are) = (&session.target().name, if left_out == 1 { "tool is" } else { "tools are" });
            context.ui.note(&format!("{left_out} more {are} for the app of {name} only; --hidden lists them too"));
        }
        entries
    } else {
        session.list(kind, CachePolicy::Bypass).await?.parsed_items()
    };
    Ok(match filter.grep {
        Some(word) => entries.into_iter().filter(|entry| matches_word(entry, word)).collect(),
        None => entries,
    })
}

/// Whether a word occurs in the name, title, URI or description, whatever its case.
#[must_use]
pub fn matches_word(entry: &ListItem, word: &str) -> bool {
    let word = word.to_lowercase();
    let texts = [Some(entry.name()), entry.title(), Some(entry.uri()), Some(entry.description())];
    texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&word))
}

/// Prints lists of these kinds; one that cannot be had is told beside the others.
///
/// # Errors
/// When none can be had, or somebody interrupted us.
pub async fn print_kinds(
    context: &Context,
    session: &Session,
    kinds: &[ListKind],
    filter: ListFilter<'_>,
) -> Result<Exit> {
    let mut gathered = FetchedLists::default();
    for kind in kinds {
        if !gathered.add(*kind, fetch_entries(context, session, *kind, filter).await) {
            break;
        }
    }
    let FetchedLists { lists, mut failures } = gathered;
    let interrupted = |failure: &Failure| matches!(failure.kind(), ErrorKind::Interrupted | ErrorKind::Terminated);
    if !failures.is_empty() && (lists.is_empty() || failures.iter().any(interrupted)) {
        return Err(failures.swap_remove(0));
    }
    if context.ui.is_json() {
        context.ui.print_json_text(&lists_json(&lists))?;
    } else {
        print_lists(context, session, &lists, filter.grep.is_some())?;
    }
    let first = failures.first().map(Failure::kind);
    for failure in failures {
        context.ui.report_failure(&failure.server(&session.target().name));
    }
    Ok(first.map_or(Exit::Done, Exit::Reported))
}

/// The lists of one server, as far as they can be had.
#[derive(Debug, Default)]
pub struct FetchedLists {
    /// Those that came.
    pub lists: Vec<(ListKind, Vec<ListItem>)>,
    /// Why others did not.
    pub failures: Vec<Failure>,
}

impl FetchedLists {
    /// Takes what came of one list, and tells whether there is a use in asking for another: what a server says of one
    /// it says of that alone, but one that cannot be reached, say, has nothing to say of any.
    #[must_use]
    pub fn add(&mut self, kind: ListKind, outcome: Result<Vec<ListItem>>) -> bool {
        match outcome {
            Ok(entries) => {
                self.lists.push((kind, entries));
                true
            }
            Err(failure) => {
                let goes_on = matches!(failure.kind(), ErrorKind::Failed | ErrorKind::Protocol);
                self.failures.push(failure);
                goes_on
            }
        }
    }
}

/// Lists of these kinds.
///
/// # Errors
/// When one cannot be had.
pub async fn fetch_lists(
    context: &Context,
    session: &Session,
    kinds: &[ListKind],
    filter: ListFilter<'_>,
) -> Result<Vec<(ListKind, Vec<ListItem>)>> {
    let mut lists = Vec::new();
    for kind in kinds {
        lists.push((*kind, fetch_entries(context, session, *kind, filter).await?));
    }
    Ok(lists)
}

/// Prints lists for people; `sifted` tells whether something was left out.
///
/// # Errors
/// When they cannot be printed.
pub fn print_lists(
    context: &Context,
    session: &Session,
    lists: &[(ListKind, Vec<ListItem>)],
    sifted: bool,
) -> Result<()> {
    let ui = &context.ui;
    if lists.iter().all(|(_, entries)| entries.is_empty()) {
        let names: Vec<&str> = lists.iter().map(|(kind, _)| kind.plural_name()).collect();
        let about = if sifted { "has no matching" } else { "offers no" };
        ui.note(&format!("{} {about} {}", session.target().name, names.join(" or ")));
    }
    let several = lists.len() > 1;
    for (kind, entries) in lists.iter().filter(|(_, entries)| !entries.is_empty()) {
        // At a terminal each list has its heading; in a pipe each line says what it is.
        let headed = several && ui.terminal().stdout_is_tty;
        if headed {
            ui.print_heading(kind.plural_name())?;
        }
        let tag = (several && !headed).then_some(kind.plural_name());
        ui.print_table(&kind_table(*kind, entries.iter().map(|entry| (tag, entry)), signature))?;
    }
    Ok(())
}

/// The parameters of a tool in a few words.
#[must_use]
pub fn signature(tool: &ListItem) -> String {
    schema::signature(tool.value())
}

/// Lists as one document, every element as the server sent it.
#[must_use]
pub fn lists_json(lists: &[(ListKind, Vec<ListItem>)]) -> String {
    json_documents::lists(lists.iter().map(|(kind, entries)| (*kind, entries.iter().collect())))
}

async fn print_server_info(context: &Context, session: &Session) -> Result<Exit> {
    let about = session.session_info().await?;
    let target = session.target().name.as_str();
    let view = ServerView {
        target,
        info: &about.server,
        revision: about.revision.as_str(),
        transport: about.transport.as_str(),
    };
    let ui = &context.ui;
    if ui.is_json() { ui.print_json_value(&json_documents::server_info(&view)) } else { ui.print_server_info(&view) }?;
    Ok(Exit::Done)
}

async fn print_tool(context: &Context, session: &Session, name: &str, schema_only: bool) -> Result<Exit> {
    let tools = tools::fetch_tools(context, session, CachePolicy::Bypass).await?;
    let target = session.target();
    let Some(tool) = tools.find(name) else { return Err(tools.unavailable_tool(target, name)) };
    let ui = &context.ui;
    if schema_only {
        let raw = crate::protocol::views::member(tool.raw(), "inputSchema");
        match raw {
            Some(raw) => ui.print_raw_json(raw)?,
            None => return Err(Failure::new(ErrorKind::Protocol, format!("the tool '{name}' has no input schema"))),
        }
    } else if ui.is_json() {
        ui.print_raw_json(tool.raw())?;
    } else {
        let parameters = parameter_rows(tool);
        let output = tool.output_schema().map(schema::output_shape);
        let made = tool.input_schema().map(schema::example_arguments);
        let fits = made.as_ref().is_none_or(|made| made.is_accepted);
        let mut words = vec![crate::util::quoting::quote(name)];
        words.extend(made.map(|made| made.words).unwrap_or_default());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut example = target.command_line("call", &words);
        if !fits {
            example.push_str("\nits values are to be filled in: the schema asks for more than can be made up");
        }
        ui.print_tool_details(&ToolView {
            tool,
            parameters: &parameters,
            output: output.as_deref(),
            example: &example,
        })?;
    }
    Ok(Exit::Done)
}

fn parameter_rows(tool: &ListItem) -> Vec<ParameterRow> {
    let all = tool.input_schema().map(schema::parameters).unwrap_or_default();
    all.into_iter()
        .map(|parameter| {
            let mut allowed: Vec<String> = parameter.allowed_values.iter().map(ToString::to_string).collect();
            allowed.extend(parameter.constraints);
            ParameterRow {
                name: parameter.name,
                kind: parameter.type_text,
                required: parameter.is_required,
                default: parameter.default.map(|value| value.to_string()).unwrap_or_default(),
                allowed: allowed.join(", "),
                description: parameter.description,
            }
        })
        .collect()
}
