//! What servers offer: tables of tools, resources and prompts, and all servers at a glance.

use std::time::Duration;

use serde_json::Value;

use super::Style;
use super::content::format_rounded_size;
use super::escape::collapse_whitespace;
use super::table::{Cell, Column, Table};
use crate::error::Failure;
use crate::protocol::views::{ListItem, ListKind};

/// One element of a list, and its server, if several share one table.
type ListedEntry<'a> = (Option<&'a str>, &'a ListItem);

/// Tools: name, description, parameters. `signature` summarizes the parameters.
#[must_use]
fn tools_table<'a>(tools: impl IntoIterator<Item = ListedEntry<'a>>, signature: impl Fn(&ListItem) -> String) -> Table {
    // `list TARGET TOOL` shows both in full.
    let columns = [name_column("NAME"), description_column().cut(), Column::new("PARAMETERS").cut()];
    entries_table(columns, tools, |tool| {
        let description = description(tool);
        let first_paragraph = description.split("\n\n").next().unwrap_or_default().to_owned();
        let cell = Cell::new(collapse_whitespace(&description)).short(first_paragraph);
        vec![name_cell(tool.name()), cell, signature(tool).into()]
    })
}

/// Resources: URI, name, MIME type, size, description.
#[must_use]
fn resources_table<'a>(resources: impl IntoIterator<Item = ListedEntry<'a>>) -> Table {
    let columns =
        [name_column("URI"), Column::new("NAME"), Column::new("TYPE"), Column::new("SIZE"), description_column()];
    entries_table(columns, resources, |resource| {
        let bytes = resource.value().get("size");
        let exact = bytes.map(|bytes| Cell::new(bytes.to_string())).unwrap_or_default();
        vec![
            name_cell(resource.uri()),
            other_name_cell(resource),
            resource.string_member("mimeType").unwrap_or_default().into(),
            match bytes.and_then(Value::as_u64) {
                Some(bytes) => exact.short(format_rounded_size(bytes)),
                None => exact,
            },
            description_cell(resource),
        ]
    })
}

/// Resource templates: the columns of resources; a template has no size.
#[must_use]
fn templates_table<'a>(templates: impl IntoIterator<Item = ListedEntry<'a>>) -> Table {
    let columns = [
        name_column("URI TEMPLATE"),
        Column::new("NAME"),
        Column::new("TYPE"),
        Column::new("SIZE"),
        description_column(),
    ];
    entries_table(columns, templates, |template| {
        vec![
            name_cell(template.uri()),
            other_name_cell(template),
            template.string_member("mimeType").unwrap_or_default().into(),
            Cell::default(),
            description_cell(template),
        ]
    })
}

/// Prompts: name, description, arguments; `?` marks an optional argument.
#[must_use]
fn prompts_table<'a>(prompts: impl IntoIterator<Item = ListedEntry<'a>>) -> Table {
    let columns = [name_column("NAME"), description_column(), Column::new("ARGUMENTS")];
    entries_table(columns, prompts, |prompt| {
        vec![name_cell(prompt.name()), description_cell(prompt), prompt_arguments(prompt).into()]
    })
}

/// Skills: name, URI, files, size, description.
#[must_use]
fn skills_table<'a>(skills: impl IntoIterator<Item = ListedEntry<'a>>) -> Table {
    let columns =
        [name_column("NAME"), name_column("URI"), Column::new("FILES"), Column::new("SIZE"), description_column()];
    entries_table(columns, skills, |skill| {
        let resources = skill.value().get("resources");
        let files = resources.and_then(Value::as_array);
        let add = |sum: u64, file: &Value| Some(sum.saturating_add(file.get("size")?.as_u64()?));
        let bytes = files.and_then(|files| files.iter().try_fold(0, add));
        vec![
            name_cell(skill.name()),
            skill.uri().into(),
            match files {
                Some(files) => files.len().to_string().into(),
                None => resources.and_then(Value::as_str).unwrap_or_default().into(),
            },
            bytes.map_or_else(Cell::default, |bytes| Cell::new(bytes.to_string()).short(format_rounded_size(bytes))),
            description_cell(skill),
        ]
    })
}

/// The table for a kind of list; `signature` is called for tools only.
#[must_use]
pub fn kind_table<'a>(
    kind: ListKind,
    entries: impl IntoIterator<Item = ListedEntry<'a>>,
    signature: impl Fn(&ListItem) -> String,
) -> Table {
    match kind {
        ListKind::Tools => tools_table(entries, signature),
        ListKind::Resources => resources_table(entries),
        ListKind::Templates => templates_table(entries),
        ListKind::Prompts => prompts_table(entries),
        ListKind::Skills => skills_table(entries),
    }
}

fn entries_table<'a>(
    columns: impl IntoIterator<Item = Column>,
    entries: impl IntoIterator<Item = ListedEntry<'a>>,
    cells: impl Fn(&ListItem) -> Vec<Cell>,
) -> Table {
    let entries: Vec<ListedEntry> = entries.into_iter().collect();
    let servers = entries.iter().any(|(server, _)| server.is_some());
    let first = servers.then(|| name_column("SERVER"));
    let mut table = Table::new(first.into_iter().chain(columns).collect::<Vec<_>>());
    for (server, entry) in entries {
        let first = servers.then(|| Cell::new(server.unwrap_or_default()));
        table.add_row(first.into_iter().chain(cells(entry)));
    }
    table
}

pub(super) fn name_column(heading: &'static str) -> Column {
    Column::new(heading).on_one_line()
}

fn description_column() -> Column {
    Column::new("DESCRIPTION").style(Style::DIM)
}

/// A name as it is; at a terminal, one that holds blanks or nothing is marked as what it is.
pub(super) fn name_cell(name: &str) -> Cell {
    let cell = Cell::new(name);
    if name.trim().is_empty() {
        cell.short("(no name)")
    } else if name.contains(char::is_whitespace) {
        cell.short(format!("'{name}'"))
    } else {
        cell
    }
}

/// The name of what has a URI; a terminal shows it only if it differs from the URI.
fn other_name_cell(entry: &ListItem) -> Cell {
    let cell = Cell::new(entry.name());
    if entry.name() == entry.uri() { cell.short("") } else { cell }
}

/// The description, else the title.
fn description(entry: &ListItem) -> String {
    let text = match entry.description().trim() {
        "" => entry.title().unwrap_or_default(),
        text => text,
    };
    let text = text.trim().replace("\r\n", "\n");
    // The warning about it says what is missing.
    match entry.is_object() {
        false => "(cannot be read)".to_owned(),
        true if entry.is_truncated() => format!("(read in part) {text}"),
        true => text,
    }
}

fn description_cell(entry: &ListItem) -> Cell {
    Cell::new(collapse_whitespace(&description(entry)))
}

fn prompt_arguments(prompt: &ListItem) -> String {
    let arguments = prompt.value().get("arguments").and_then(Value::as_array);
    let one = |argument: &Value| {
        let name = argument.get("name")?.as_str()?;
        let required = argument.get("required").and_then(Value::as_bool).unwrap_or(false);
        Some(format!("{name}{}", if required { "" } else { "?" }))
    };
    arguments.into_iter().flatten().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// The result of querying a server.
#[derive(Clone, Debug, Default)]
pub enum ServerState {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It answered.
    Ok,
    /// It failed.
    Failed(Failure),
}

impl ServerState {
    /// In a table: `ok`, or the failure's class, what it says and why, and the server's last word.
    fn cell(&self) -> Cell {
        match self {
            ServerState::NotAsked => Cell::default(),
            ServerState::Ok => Cell::new("ok").style(Style::GREEN),
            ServerState::Failed(failure) => {
                let details = failure.details();
                let class = details.kind.as_str();
                // The innermost cause says most, but for what the server said itself.
                let said = details.stderr_tail.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
                let innermost = details.causes.last().map(String::as_str);
                let parts: Vec<String> = [Some(details.message.as_str()), innermost, said]
                    .into_iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect();
                let whole = [format!("{class}: {failure}")].into_iter().chain(said.map(str::to_owned));
                let cell = Cell::new(whole.collect::<Vec<_>>().join(": "));
                cell.short(format!("{class}: {}", parts.join(": "))).with_tail(class, parts).style(Style::RED)
            }
        }
    }
}

/// A server among all configured ones.
#[derive(Clone, Debug, Default)]
pub struct ServerRow {
    /// Its name.
    pub name: String,
    /// The transport.
    pub transport: String,
    /// The revision spoken; empty if unknown.
    pub revision: String,
    /// How many tools; `None` if it offers none or was not asked.
    pub tools: Option<usize>,
    /// How many resources.
    pub resources: Option<usize>,
    /// How many prompts.
    pub prompts: Option<usize>,
    /// How long it took to ask.
    pub time: Option<Duration>,
    /// The result.
    pub state: ServerState,
}

/// All servers at a glance.
#[must_use]
pub fn servers_table(servers: &[ServerRow]) -> Table {
    let mut table = Table::new([
        name_column("NAME"),
        Column::new("TRANSPORT"),
        Column::new("REVISION"),
        Column::new("TOOLS"),
        Column::new("RESOURCES"),
        Column::new("PROMPTS"),
        Column::new("TIME").style(Style::DIM),
        Column::new("STATE"),
    ]);
    let count = |count: Option<usize>| Cell::new(count.map_or(String::new(), |count| count.to_string()));
    for server in servers {
        let time = server.time.map_or_else(Cell::default, |time| {
            let seconds = time.as_secs_f64();
            let short = if seconds < 1.0 { format!("{} ms", time.as_millis()) } else { format!("{seconds:.1} s") };
            Cell::new(format!("{seconds:.3}")).short(short)
        });
        table.add_row([
            Cell::new(server.name.as_str()),
            server.transport.as_str().into(),
            server.revision.as_str().into(),
            count(server.tools),
            count(server.resources),
            count(server.prompts),
            time,
            server.state.cell(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::super::testing::*;
    use super::*;
    use crate::error::ErrorKind;

    fn entry(text: &str) -> ListItem {
        ListItem::new(&RawValue::from_string(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    fn shown(table: &Table) -> (String, String) {
        render_both(|ui| ui.print_table(table))
    }

    #[test]
    fn tools_keep_duplicates_order_and_odd_names() {
        let tools = [
            entry(r#"{"name":"get","description":"Gets.\nQuickly.\n\nLong story."}"#),
            entry(r#"{"name":"get","title":"Again"}"#),
            entry(r#"{"name":"b \u001b[2J","annotations":{"title":"T"}}"#),
            entry("7"),
        ];
        let table = tools_table(tools.iter().map(|tool| (None, tool)), |tool| format!("<{}>", tool.name().len()));
        let (pipe, terminal) = shown(&table);
        assert_eq!(
            pipe,
            "get\tGets. Quickly. Long story.\t<3>\nget\tAgain\t<3>\nb \x1b[2J\tT\t<6>\n-\t(cannot be read)\t<0>\n"
        );
        assert_eq!(
            terminal,
            "NAME         DESCRIPTION       PARAMETERS\n\
             get          Gets. Quickly.    <3>\n\
             get          Again             <3>\n\
             'b \\x1b[2J'  T                 <6>\n\
             (no name)    (cannot be read)  <0>\n"
        );
    }

    #[test]
    fn several_servers_share_a_table() {
        let tool = entry(r#"{"name":"a"}"#);
        let table = tools_table([(Some("x"), &tool), (Some("y"), &tool)], |_| String::new());
        assert_eq!(shown(&table), ("x\ta\t-\t-\ny\ta\t-\t-\n".into(), "SERVER  NAME\nx       a\ny       a\n".into()));
    }

    #[test]
    fn resources_templates_and_prompts() {
        let resource = entry(r#"{"uri":"demo://a","name":"A","mimeType":"text/plain","size":12345}"#);
        assert_eq!(
            shown(&resources_table([(None, &resource)])),
            (
                "demo://a\tA\ttext/plain\t12345\t-\n".into(),
                "URI       NAME  TYPE        SIZE\ndemo://a  A     text/plain  12.3 kB\n".into()
            )
        );
        let repeated = entry(r#"{"uri":"demo://a","name":"demo://a"}"#);
        assert_eq!(
            shown(&resources_table([(None, &repeated)])),
            ("demo://a\tdemo://a\t-\t-\t-\n".into(), "URI\ndemo://a\n".into())
        );
        let template = entry(r#"{"uriTemplate":"demo://{id}","name":"T"}"#);
        assert_eq!(shown(&templates_table([(None, &template)])).0, "demo://{id}\tT\t-\t-\t-\n");
        let prompt = entry(r#"{"name":"p","arguments":[{"name":"a","required":true},{"name":"b"},5]}"#);
        assert_eq!(shown(&prompts_table([(None, &prompt)])).0, "p\t-\ta, b?\n");
    }

    #[test]
    fn all_servers_at_a_glance() {
        let rows = [
            ServerRow {
                name: "a".into(),
                transport: "stdio".into(),
                revision: "2025-11-25".into(),
                tools: Some(3),
                time: Some(Duration::from_millis(230)),
                state: ServerState::Ok,
                ..ServerRow::default()
            },
            ServerRow {
                name: "b".into(),
                transport: "http".into(),
                time: Some(Duration::from_millis(1500)),
                state: ServerState::Failed(Failure::new(ErrorKind::Auth, "log in first").cause("HTTP 401")),
                ..ServerRow::default()
            },
        ];
        let (pipe, terminal) = shown(&servers_table(&rows));
        assert_eq!(
            pipe,
            "a\tstdio\t2025-11-25\t3\t-\t-\t0.230\tok\nb\thttp\t-\t-\t-\t-\t1.500\tauth: log in first: HTTP 401\n"
        );
        assert_eq!(
            terminal,
            "NAME  TRANSPORT  REVISION    TOOLS  TIME    STATE\n\
             a     stdio      2025-11-25  3      230 ms  ok\n\
             b     http                          1.5 s   auth: log in first: HTTP 401\n"
        );
    }
}
