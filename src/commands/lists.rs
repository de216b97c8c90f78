//! Lists of what servers offer: policy applied, filtered, printed.

use crate::cli::ListArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::tools::{self, ToolList};
use crate::config::Config;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::json_documents;
use crate::output::list_tables::kind_table;
use crate::protocol::views::{ListItem, ListKind};
use crate::schema;
use crate::session::{CachePolicy, Session};

/// How many servers are queried at once without `--jobs`.
pub const DEFAULT_LIST_JOBS: u16 = 32;

/// Says that no server is configured, and how to go on.
pub fn note_no_servers(context: &Context, config: &Config) {
    let add = |what: &str| config.append_config_flag(&format!("mcpipe config add NAME {what}"));
    context.ui.note(&format!(
        "no servers are configured; a URL or a command needs no configuration:\n  \
         mcpipe list https://example.com/mcp\n  \
         mcpipe list -- npx -y @modelcontextprotocol/server-everything\n\
         to save a server under a name:\n  {}\n  {}\n\
         to copy the servers of other MCP clients:\n  {}",
        add("https://example.com/mcp"),
        add("-- npx -y @modelcontextprotocol/server-everything"),
        config.append_config_flag("mcpipe config import"),
    ));
}

/// The kinds of lists that the options choose; by default tools.
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

/// Which items of a list are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListFilter<'a> {
    /// Only those that contain this word.
    pub search: Option<&'a str>,
    /// Also tools that are meant only for the server's own app UI.
    pub include_app_only: bool,
}

impl<'a> ListFilter<'a> {
    /// The filter that the options choose.
    #[must_use]
    pub fn from_args(args: &'a ListArgs) -> Self {
        ListFilter { search: args.search.as_deref(), include_app_only: args.hidden }
    }
}

/// What a server offers of one kind, policy applied and filtered.
///
/// # Errors
/// When it cannot be queried.
pub async fn fetch_entries(
    context: &Context,
    session: &Session,
    kind: ListKind,
    filter: ListFilter<'_>,
) -> Result<Vec<ListItem>> {
    let entries = if kind == ListKind::Tools {
        let ToolList { mut entries, denied, .. } = tools::fetch_tools(context, session, CachePolicy::Bypass).await?;
        if !denied.is_empty() {
            let tools_are = if denied.len() == 1 { "tool is" } else { "tools are" };
            let name = &session.target().name;
            context.ui.note(&format!(
                "{name}: {} {tools_are} not allowed by the configuration (allow_tools, deny_tools)",
                denied.len()
            ));
        }
        let all = entries.len();
        entries.retain(|entry| filter.include_app_only || !tools::is_app_only(entry));
        let left_out = all - entries.len();
        if left_out > 0 {
            let (name, tools_are) = (&session.target().name, if left_out == 1 { "tool is" } else { "tools are" });
            context.ui.note(&format!(
                "{name}: {left_out} more {tools_are} meant only for its app UI; add --hidden to list them"
            ));
        }
        entries.into_iter().map(ListItem::from).collect()
    } else {
        session.list(kind, CachePolicy::Bypass).await?.parsed_items()
    };
    let entries: Vec<ListItem> = match filter.search {
        Some(word) => entries.into_iter().filter(|entry| matches_word(entry, word)).collect(),
        None => entries,
    };
    for defect in entries.iter().filter_map(|entry| entry.defect(kind)) {
        context.ui.warn(&format!("{}: {defect}", session.target().name));
    }
    Ok(entries)
}

/// Whether the name, title, URI or description contains a word, ignoring case.
#[must_use]
fn matches_word(entry: &ListItem, word: &str) -> bool {
    let word = word.to_lowercase();
    let texts = [Some(entry.name()), entry.title(), Some(entry.uri()), Some(entry.description())];
    texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&word))
}

/// Prints lists of these kinds; one that fails is reported, and the others are printed.
///
/// # Errors
/// When all fail, or mcpipe is interrupted.
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
    let interrupted = |failure: &Failure| failure.kind().is_interrupt();
    if !failures.is_empty() && (lists.is_empty() || failures.iter().any(interrupted)) {
        return Err(failures.swap_remove(0));
    }
    if context.ui.is_json() {
        context.ui.print_json_text(lists_json(&lists))?;
    } else {
        print_lists(context, session, &lists, filter.search.is_some())?;
    }
    let exit = Exit::from_failures(&failures);
    for failure in failures {
        context.ui.report_failure(&failure.server(&session.target().name));
    }
    Ok(exit)
}

/// The lists of one server, as far as they could be fetched.
#[derive(Debug, Default)]
pub struct FetchedLists {
    /// The fetched lists.
    pub lists: Vec<(ListKind, Vec<ListItem>)>,
    /// Why the others failed.
    pub failures: Vec<Failure>,
}

impl FetchedLists {
    /// Adds the outcome of one list. True if it is worth fetching another: an error of the server concerns one list,
    /// but if it cannot be reached, the others fail as well.
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
/// When one fails.
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

/// Prints lists as tables; `is_filtered` says whether `--search` was given.
///
/// # Errors
/// When they cannot be printed.
pub fn print_lists(
    context: &Context,
    session: &Session,
    lists: &[(ListKind, Vec<ListItem>)],
    is_filtered: bool,
) -> Result<()> {
    let ui = &context.ui;
    if lists.iter().all(|(_, entries)| entries.is_empty()) {
        let names: Vec<&str> = lists.iter().map(|(kind, _)| kind.plural_name()).collect();
        let about = if is_filtered { "has no matching" } else { "offers no" };
        ui.note(&format!("{} {about} {}", session.target().name, names.join(" or ")));
    }
    // At a terminal each of several lists has a heading; in a pipe each line begins with its kind.
    let several = lists.len() > 1;
    let has_headings = several && ui.terminal().stdout_is_tty;
    let table = |(kind, entries): &(ListKind, Vec<ListItem>)| {
        let tag = (several && !has_headings).then_some(kind.plural_name());
        (*kind, kind_table(*kind, entries.iter().map(|entry| (tag, entry)), signature))
    };
    let mut tables: Vec<_> = lists.iter().filter(|(_, entries)| !entries.is_empty()).map(table).collect();
    let columns = tables.iter().map(|(_, table)| table.column_count()).max().unwrap_or_default();
    for (number, (kind, table)) in tables.iter_mut().enumerate() {
        match number {
            _ if !has_headings => table.pad_columns(columns),
            0 => ui.print_first_heading(kind.plural_name())?,
            _ => ui.print_heading(kind.plural_name())?,
        }
        ui.print_table(table)?;
    }
    Ok(())
}

/// The parameters of a tool in brief.
#[must_use]
pub fn signature(tool: &ListItem) -> String {
    schema::signature(tool.value())
}

/// Lists as one JSON document, every item as the server sent it.
#[must_use]
pub fn lists_json(lists: &[(ListKind, Vec<ListItem>)]) -> String {
    json_documents::lists(lists.iter().map(|(kind, entries)| (*kind, entries.iter().collect())))
}
