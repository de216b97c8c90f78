//! What servers offer, for people: tables of tools, resources and prompts, one tool in full, a server's
//! identity, and all servers at a glance.

use std::time::Duration;

use serde_json::Value;

use super::content::size;
use super::escape::{flat, one_line};
use super::table::{Cell, Column, Table};
use super::{Style, Ui};
use crate::error::Result;
use crate::protocol::views::{Entry, Kind, ServerInfo};

/// One element of a list, and the server it is from where several are shown in one table.
pub type Listed<'a> = (Option<&'a str>, &'a Entry);

/// Tools: name, description, parameters. `signature` says the parameters in a few words.
#[must_use]
pub fn tools_table<'a>(tools: impl IntoIterator<Item = Listed<'a>>, signature: impl Fn(&Entry) -> String) -> Table {
    let columns = [name_column("NAME"), description_column(), Column::new("PARAMETERS")];
    table(columns, tools, |tool| vec![name_cell(tool.name()), description_cell(tool), signature(tool).into()])
}

/// Resources: URI, name, MIME type, size, description.
#[must_use]
pub fn resources_table<'a>(resources: impl IntoIterator<Item = Listed<'a>>) -> Table {
    let columns =
        [name_column("URI"), Column::new("NAME"), Column::new("TYPE"), Column::new("SIZE"), description_column()];
    table(columns, resources, |resource| {
        let bytes = resource.value().get("size");
        let exact = bytes.map(|bytes| Cell::new(bytes.to_string())).unwrap_or_default();
        vec![
            name_cell(resource.uri()),
            resource.name().into(),
            resource.text("mimeType").unwrap_or_default().into(),
            match bytes.and_then(Value::as_u64) {
                Some(bytes) => exact.short(size(bytes)),
                None => exact,
            },
            description_cell(resource),
        ]
    })
}

/// Resource templates: URI template, name, MIME type, description.
#[must_use]
pub fn templates_table<'a>(templates: impl IntoIterator<Item = Listed<'a>>) -> Table {
    let columns = [name_column("URI TEMPLATE"), Column::new("NAME"), Column::new("TYPE"), description_column()];
    table(columns, templates, |template| {
        vec![
            name_cell(template.uri()),
            template.name().into(),
            template.text("mimeType").unwrap_or_default().into(),
            description_cell(template),
        ]
    })
}

/// Prompts: name, description, arguments; `?` marks an argument that may be left out.
#[must_use]
pub fn prompts_table<'a>(prompts: impl IntoIterator<Item = Listed<'a>>) -> Table {
    let columns = [name_column("NAME"), description_column(), Column::new("ARGUMENTS")];
    table(columns, prompts, |prompt| {
        vec![name_cell(prompt.name()), description_cell(prompt), prompt_arguments(prompt).into()]
    })
}

/// The table for a kind of list; `signature` is asked for tools only.
#[must_use]
pub fn kind_table<'a>(
    kind: Kind,
    entries: impl IntoIterator<Item = Listed<'a>>,
    signature: impl Fn(&Entry) -> String,
) -> Table {
    match kind {
        Kind::Tools => tools_table(entries, signature),
        Kind::Resources => resources_table(entries),
        Kind::Templates => templates_table(entries),
        Kind::Prompts => prompts_table(entries),
    }
}

fn table<'a>(
    columns: impl IntoIterator<Item = Column>,
    entries: impl IntoIterator<Item = Listed<'a>>,
    cells: impl Fn(&Entry) -> Vec<Cell>,
) -> Table {
    let entries: Vec<Listed> = entries.into_iter().collect();
    let servers = entries.iter().any(|(server, _)| server.is_some());
    let first = servers.then(|| name_column("SERVER"));
    let mut table = Table::new(first.into_iter().chain(columns).collect::<Vec<_>>());
    for (server, entry) in entries {
        let first = servers.then(|| Cell::new(server.unwrap_or_default()));
        table.row(first.into_iter().chain(cells(entry)));
    }
    table
}

fn name_column(heading: &'static str) -> Column {
    Column::new(heading).whole()
}

fn description_column() -> Column {
    Column::new("DESCRIPTION").style(Style::DIM)
}

/// A name as it is; at a terminal, one that holds blanks or nothing is marked as what it is.
fn name_cell(name: &str) -> Cell {
    let cell = Cell::new(name);
    if name.trim().is_empty() {
        cell.short("(no name)")
    } else if name.contains(char::is_whitespace) {
        cell.short(format!("'{name}'"))
    } else {
        cell
    }
}

/// The description, else the title; a terminal shows the first paragraph.
fn description_cell(entry: &Entry) -> Cell {
    let text = match entry.description().trim() {
        "" => entry.title().unwrap_or_default(),
        text => text,
    };
    let text = text.trim().replace("\r\n", "\n");
    let first = text.split("\n\n").next().unwrap_or_default().to_owned();
    Cell::new(flat(&text)).short(first)
}

fn prompt_arguments(prompt: &Entry) -> String {
    let arguments = prompt.value().get("arguments").and_then(Value::as_array);
    let one = |argument: &Value| {
        let name = argument.get("name")?.as_str()?;
        let required = argument.get("required").and_then(Value::as_bool).unwrap_or(false);
        Some(format!("{name}{}", if required { "" } else { "?" }))
    };
    arguments.into_iter().flatten().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// A row of the parameters of a tool, in words.
#[derive(Clone, Debug, Default)]
pub struct ParameterRow {
    /// The name; `a.b` for a member of an object.
    pub name: String,
    /// The type: `string`, `integer[]`, `"a" | "b"`.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// The default as JSON; empty where there is none.
    pub default: String,
    /// Allowed values and limits; empty where there are none.
    pub allowed: String,
    /// The description.
    pub description: String,
}

/// One tool, to be shown in full.
pub struct ToolView<'a> {
    /// The tool.
    pub tool: &'a Entry,
    /// Its parameters.
    pub parameters: &'a [ParameterRow],
    /// The shape of its structured output, where it declares one.
    pub output: Option<&'a str>,
    /// A command that works when pasted.
    pub example: &'a str,
}

/// A server, to be described.
pub struct ServerView<'a> {
    /// The target as the user named it.
    pub target: &'a str,
    /// What it says of itself.
    pub info: &'a ServerInfo,
    /// The revision spoken.
    pub revision: &'a str,
    /// The transport.
    pub transport: &'a str,
}

/// A server among all configured ones.
#[derive(Clone, Debug, Default)]
pub struct ServerRow {
    /// Its name.
    pub name: String,
    /// The transport.
    pub transport: String,
    /// The revision spoken; empty where it is not known.
    pub revision: String,
    /// How many tools; `None` where it offers none or was not asked.
    pub tools: Option<usize>,
    /// How many resources.
    pub resources: Option<usize>,
    /// How many prompts.
    pub prompts: Option<usize>,
    /// How long it took to ask.
    pub time: Option<Duration>,
    /// `ok`, or the failure: its class, then what it says.
    pub state: String,
    /// Whether that is good.
    pub ok: bool,
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
        let style = if server.ok { Style::GREEN } else { Style::RED };
        let time = server.time.map_or_else(Cell::default, |time| {
            let seconds = time.as_secs_f64();
            let short = if seconds < 1.0 { format!("{} ms", time.as_millis()) } else { format!("{seconds:.1} s") };
            Cell::new(format!("{seconds:.3}")).short(short)
        });
        table.row([
            Cell::new(server.name.as_str()),
            server.transport.as_str().into(),
            server.revision.as_str().into(),
            count(server.tools),
            count(server.resources),
            count(server.prompts),
            time,
            Cell::new(server.state.as_str()).style(style),
        ]);
    }
    table
}

/// Names and values.
#[must_use]
pub fn facts<'a>(rows: impl IntoIterator<Item = (&'static str, &'a str)>) -> Table {
    let mut table = Table::new([Column::new("").whole().style(Style::BOLD), Column::new("")]).bare();
    for (name, value) in rows {
        table.row([name.into(), value.into()]);
    }
    table
}

/// The capabilities in words: `tools (listChanged), resources (subscribe)`.
fn capabilities(info: &ServerInfo) -> String {
    let Some(Value::Object(all)) = &info.capabilities else { return "not told".to_owned() };
    let one = |(name, value): (&String, &Value)| {
        let inner = value.as_object().into_iter().flatten();
        let parts: Vec<&str> =
            inner.filter(|(_, value)| !value.is_null() && **value != false).map(|(name, _)| name.as_str()).collect();
        if parts.is_empty() { name.clone() } else { format!("{name} ({})", parts.join(", ")) }
    };
    let all: Vec<String> = all.iter().filter(|(_, value)| !value.is_null() && **value != false).map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// The hints a tool gives about itself, as it gives them.
fn hints(tool: &Entry) -> String {
    let names = [
        ("readOnlyHint", "read-only"),
        ("destructiveHint", "destructive"),
        ("idempotentHint", "idempotent"),
        ("openWorldHint", "open world"),
    ];
    let one =
        |(key, word): (&str, &str)| tool.hint(key).map(|yes| format!("{word}: {}", if yes { "yes" } else { "no" }));
    names.into_iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

impl Ui {
    /// Who a server is, what it speaks and offers, and its instructions, which are its own words.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn server_info(&self, server: &ServerView<'_>) -> Result<()> {
        let info = server.info;
        let or_not_told = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".to_owned());
        let name = match (&info.title, &info.name) {
            (Some(title), Some(name)) if title != name => format!("{title} ({name})"),
            (Some(title), None) => title.clone(),
            (_, name) => or_not_told(name),
        };
        let capabilities = capabilities(info);
        self.table(&facts([
            ("target", server.target),
            ("name", &name),
            ("version", &or_not_told(&info.version)),
            ("protocol", server.revision),
            ("transport", server.transport),
            ("capabilities", &capabilities),
        ]))?;
        match info.instructions.as_deref().map(str::trim_end) {
            None | Some("") => Ok(()),
            Some(text) => {
                self.section("Instructions")?;
                self.line(text)
            }
        }
    }

    /// One tool in full.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tool_in_full(&self, view: &ToolView<'_>) -> Result<()> {
        let tool = view.tool;
        let name = self.paint(Style::BOLD, &self.shown(&flat(tool.name()))).into_owned();
        self.put_line(&match tool.title().map(str::trim) {
            Some(title) if !title.is_empty() && title != tool.name() => format!("{name}: {}", self.shown(&flat(title))),
            _ => name,
        })?;
        let description = tool.description().trim();
        if !description.is_empty() {
            self.text("\n")?;
            self.line(description)?;
        }
        let hints = hints(tool);
        if !hints.is_empty() {
            self.section("Hints of the server, not verified")?;
            self.line(&hints)?;
        }
        self.section("Parameters")?;
        if view.parameters.is_empty() {
            self.line("none")?;
        }
        self.table(&parameters_table(view.parameters))?;
        if let Some(output) = view.output {
            self.section("Output")?;
            self.line(output)?;
        }
        self.section("Example")?;
        self.line(view.example)
    }

    /// A blank line and a heading.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn section(&self, heading: &str) -> Result<()> {
        self.put_line(&format!("\n{}", self.paint(Style::BOLD, heading)))
    }
}

fn parameters_table(parameters: &[ParameterRow]) -> Table {
    let mut table = Table::new([
        name_column("NAME"),
        Column::new("TYPE"),
        Column::new("REQUIRED"),
        Column::new("DEFAULT"),
        Column::new("ALLOWED"),
        description_column(),
    ]);
    for parameter in parameters {
        table.row([
            name_cell(&parameter.name),
            parameter.kind.as_str().into(),
            (if parameter.required { "required" } else { "optional" }).into(),
            parameter.default.as_str().into(),
            parameter.allowed.as_str().into(),
            Cell::new(flat(&parameter.description)),
        ]);
    }
    table
}

/// A name in a sentence: on one line, in quotes where it needs them.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("'{}'", one_line(name))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::super::testing::*;
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::new(&RawValue::from_string(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    fn shown(table: &Table) -> (String, String) {
        both(|ui| ui.table(table))
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
        assert_eq!(pipe, "get\tGets. Quickly. Long story.\t<3>\nget\tAgain\t<3>\nb \x1b[2J\tT\t<6>\n\t\t<0>\n");
        assert_eq!(
            terminal,
            "NAME         DESCRIPTION     PARAMETERS\n\
             get          Gets. Quickly.  <3>\n\
             get          Again           <3>\n\
             'b \\x1b[2J'  T               <6>\n\
             (no name)                    <0>\n"
        );
    }

    #[test]
    fn several_servers_share_a_table() {
        let tool = entry(r#"{"name":"a"}"#);
        let table = tools_table([(Some("x"), &tool), (Some("y"), &tool)], |_| String::new());
        assert_eq!(shown(&table), ("x\ta\t\t\ny\ta\t\t\n".into(), "SERVER  NAME\nx       a\ny       a\n".into()));
    }

    #[test]
    fn resources_templates_and_prompts() {
        let resource = entry(r#"{"uri":"demo://a","name":"A","mimeType":"text/plain","size":12345}"#);
        assert_eq!(
            shown(&resources_table([(None, &resource)])),
            (
                "demo://a\tA\ttext/plain\t12345\t\n".into(),
                "URI       NAME  TYPE        SIZE\ndemo://a  A     text/plain  12.3 kB\n".into()
            )
        );
        let template = entry(r#"{"uriTemplate":"demo://{id}","name":"T"}"#);
        assert_eq!(shown(&templates_table([(None, &template)])).0, "demo://{id}\tT\t\t\n");
        let prompt = entry(r#"{"name":"p","arguments":[{"name":"a","required":true},{"name":"b"},5]}"#);
        assert_eq!(shown(&prompts_table([(None, &prompt)])).0, "p\t\ta, b?\n");
    }

    #[test]
    fn one_tool_in_full() {
        let tool = entry(
            r#"{"name":"add","title":"Adds","description":"Adds two.\n\nNumbers.","annotations":{"readOnlyHint":true,"openWorldHint":false}}"#,
        );
        let parameters = [
            ParameterRow { name: "a".into(), kind: "number".into(), required: true, ..ParameterRow::default() },
            ParameterRow {
                name: "b".into(),
                kind: "number".into(),
                default: "2".into(),
                description: "The\nother".into(),
                ..ParameterRow::default()
            },
        ];
        let view = ToolView {
            tool: &tool,
            parameters: &parameters,
            output: Some("{ sum: number }"),
            example: "mcpipe call demo add a=1",
        };
        let (pipe, terminal) = both(|ui| ui.tool_in_full(&view));
        let frame = |table: &str| {
            format!(
                "add: Adds\n\nAdds two.\n\nNumbers.\n\nHints of the server, not verified\nread-only: yes, open world: no\n\n\
                 Parameters\n{table}\nOutput\n{{ sum: number }}\n\nExample\nmcpipe call demo add a=1\n"
            )
        };
        assert_eq!(pipe, frame("a\tnumber\trequired\t\t\t\nb\tnumber\toptional\t2\t\tThe other\n"));
        assert_eq!(
            terminal,
            frame(
                "NAME  TYPE    REQUIRED  DEFAULT  DESCRIPTION\n\
                 a     number  required\n\
                 b     number  optional  2        The other\n"
            )
        );
    }

    #[test]
    fn a_server_tells_who_it_is() {
        let result = serde_json::json!({
            "serverInfo": {"name": "demo", "title": "Demo\u{1b}[2J", "version": "1"},
            "capabilities": {"tools": {"listChanged": true}, "logging": {}, "prompts": null},
            "instructions": "Be\nnice\u{202e}",
        });
        let info = ServerInfo::read(&result);
        let view = ServerView { target: "d", info: &info, revision: "2025-11-25", transport: "stdio" };
        let (pipe, terminal) = both(|ui| ui.server_info(&view));
        assert_eq!(
            pipe,
            "target\td\nname\tDemo\x1b[2J (demo)\nversion\t1\nprotocol\t2025-11-25\ntransport\tstdio\n\
             capabilities\ttools (listChanged), logging\n\nInstructions\nBe\nnice\u{202e}\n"
        );
        assert_eq!(
            terminal,
            "target        d\nname          Demo\\x1b[2J (demo)\nversion       1\nprotocol      2025-11-25\n\
             transport     stdio\ncapabilities  tools (listChanged), logging\n\nInstructions\nBe\nnice<U+202E>\n"
        );
        let unknown = ServerInfo::default();
        let view = ServerView { info: &unknown, ..view };
        assert!(both(|ui| ui.server_info(&view)).0.contains("name\tnot told\n"));
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
                state: "ok".into(),
                ok: true,
                ..ServerRow::default()
            },
            ServerRow {
                name: "b".into(),
                transport: "http".into(),
                time: Some(Duration::from_millis(1500)),
                state: "auth: log in first".into(),
                ..ServerRow::default()
            },
        ];
        let (pipe, terminal) = shown(&servers_table(&rows));
        assert_eq!(pipe, "a\tstdio\t2025-11-25\t3\t\t\t0.230\tok\nb\thttp\t\t\t\t\t1.500\tauth: log in first\n");
        assert_eq!(
            terminal,
            "NAME  TRANSPORT  REVISION    TOOLS  TIME    STATE\n\
             a     stdio      2025-11-25  3      230 ms  ok\n\
             b     http                          1.5 s   auth: log in first\n"
        );
    }
}
