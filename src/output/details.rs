//! The details of one tool, or of a server.

use serde_json::Value;

use super::escape::collapse_whitespace;
use super::table::{Cell, Column, Table};
use super::{Style, Ui};
use crate::error::Result;
use crate::output::list_tables::{name_cell, name_column};
use crate::protocol::views::{ListItem, ServerInfo};

/// A row of the table of a tool's parameters.
#[derive(Clone, Debug, Default)]
pub struct ParameterRow {
    /// The name; `a.b` for a member of an object.
    pub name: String,
    /// The type: `string`, `integer[]`, `"a" | "b"`.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// The default as JSON; empty if there is none.
    pub default: String,
    /// Allowed values and limits; empty if there are none.
    pub allowed: String,
    /// The description.
    pub description: String,
}

/// One tool, with everything that is shown of it.
pub struct ToolView<'a> {
    /// The tool.
    pub tool: &'a ListItem,
    /// Its parameters.
    pub parameters: &'a [ParameterRow],
    /// The shape of its structured output, if it declares one.
    pub output: Option<&'a str>,
    /// A command that works when pasted.
    pub example: &'a str,
}

/// A server, with everything that is shown of it.
pub struct ServerView<'a> {
    /// The target as the user named it.
    pub target: &'a str,
    /// How it describes itself.
    pub info: &'a ServerInfo,
    /// The protocol revision in use.
    pub revision: &'a str,
    /// The transport.
    pub transport: &'a str,
}

/// Names and values.
#[must_use]
pub fn key_value_table<'a>(rows: impl IntoIterator<Item = (&'static str, &'a str)>) -> Table {
    let mut table = Table::new([Column::new("").on_one_line().style(Style::BOLD), Column::new("")]).without_heading();
    for (name, value) in rows {
        table.add_row([name.into(), value.into()]);
    }
    table
}

/// The capabilities as text: `tools (listChanged), resources (subscribe)`.
fn capabilities_text(info: &ServerInfo) -> String {
    let Some(Value::Object(all)) = &info.capabilities else { return "not specified".to_owned() };
    let one = |(name, value): (&String, &Value)| {
        let inner = value.as_object().into_iter().flatten();
        let parts: Vec<&str> =
            inner.filter(|(_, value)| !value.is_null() && **value != false).map(|(name, _)| name.as_str()).collect();
        if parts.is_empty() { name.clone() } else { format!("{name} ({})", parts.join(", ")) }
    };
    let all: Vec<String> = all.iter().filter(|(_, value)| !value.is_null() && **value != false).map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// The four boolean hints of a tool, in words; what is missing is left out.
fn hints_text(tool: &ListItem) -> String {
    let names = [
        ("readOnlyHint", "read-only"),
        ("destructiveHint", "destructive"),
        ("idempotentHint", "idempotent"),
        ("openWorldHint", "open world"),
    ];
    let one = |(key, word): (&str, &str)| {
        tool.boolean_annotation(key).map(|yes| format!("{word}: {}", if yes { "yes" } else { "no" }))
    };
    names.into_iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

impl Ui {
    /// Prints a server's identity, protocol revision and capabilities, and its instructions in full.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_server_info(&self, server: &ServerView<'_>) -> Result<()> {
        let info = server.info;
        let or_unspecified = |text: &Option<String>| text.clone().unwrap_or_else(|| "not specified".to_owned());
        let title = info.title.as_deref().map(str::trim).filter(|title| !title.is_empty());
        let name = match (title, &info.name) {
            (Some(title), Some(name)) if title != name => format!("{title} ({name})"),
            (Some(title), None) => title.to_owned(),
            (_, name) => or_unspecified(name),
        };
        let capabilities = capabilities_text(info);
        self.print_table(&key_value_table([
            ("target", server.target),
            ("name", &name),
            ("version", &or_unspecified(&info.version)),
            ("protocol", server.revision),
            ("transport", server.transport),
            ("capabilities", &capabilities),
        ]))?;
        match info.instructions.as_deref().map(str::trim_end) {
            None | Some("") => Ok(()),
            Some(text) => {
                self.print_heading("Instructions")?;
                self.print_prose(text)
            }
        }
    }

    /// One tool in full.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_tool_details(&self, view: &ToolView<'_>) -> Result<()> {
        let tool = view.tool;
        let name = self.paint(Style::BOLD, &self.escape_for_stdout(&collapse_whitespace(tool.name()))).into_owned();
        self.write_line(&match tool.title().map(str::trim) {
            Some(title) if !title.is_empty() && title != tool.name() => {
                format!("{name}: {}", self.escape_for_stdout(&collapse_whitespace(title)))
            }
            _ => name,
        })?;
        let description = tool.description().trim();
        if !description.is_empty() {
            self.print_text("\n")?;
            self.print_prose(description)?;
        }
        let hints = hints_text(tool);
        if !hints.is_empty() {
            self.print_heading("Annotations (claimed by the server, not verified)")?;
            self.print_prose(&hints)?;
        }
        self.print_heading("Parameters")?;
        if view.parameters.is_empty() {
            self.print_line("none")?;
        }
        self.print_table(&parameters_table(view.parameters))?;
        if let Some(output) = view.output {
            self.print_heading("Output")?;
            self.print_prose(output)?;
        }
        self.print_heading("Example")?;
        self.print_line(view.example)
    }

    /// A heading at the beginning of the output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_first_heading(&self, heading: &str) -> Result<()> {
        self.write_line(&self.paint(Style::BOLD, heading))
    }

    /// A blank line and a heading.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_heading(&self, heading: &str) -> Result<()> {
        self.write_line(&format!("\n{}", self.paint(Style::BOLD, heading)))
    }
}

fn parameters_table(parameters: &[ParameterRow]) -> Table {
    let mut table = Table::new([
        name_column("NAME"),
        Column::new("TYPE"),
        Column::new("REQUIRED"),
        Column::new("DEFAULT"),
        Column::new("ALLOWED"),
        Column::new("DESCRIPTION").style(Style::DIM),
    ]);
    for parameter in parameters {
        table.add_row([
            name_cell(&parameter.name),
            parameter.kind.as_str().into(),
            (if parameter.required { "required" } else { "optional" }).into(),
            parameter.default.as_str().into(),
            parameter.allowed.as_str().into(),
            Cell::new(collapse_whitespace(&parameter.description)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::super::testing::*;
    use super::*;

    fn entry(text: &str) -> ListItem {
        ListItem::new(&RawValue::from_string(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}")))
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
        let (pipe, terminal) = render_both(|ui| ui.print_tool_details(&view));
        let frame = |table: &str| {
            format!(
                "add: Adds\n\nAdds two.\n\nNumbers.\n\nAnnotations (claimed by the server, not verified)\nread-only: yes, open world: no\n\n\
                 Parameters\n{table}\nOutput\n{{ sum: number }}\n\nExample\nmcpipe call demo add a=1\n"
            )
        };
        assert_eq!(pipe, frame("a\tnumber\trequired\t-\t-\t-\nb\tnumber\toptional\t2\t-\tThe other\n"));
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
    fn a_server_is_described() {
        let result = serde_json::json!({
            "serverInfo": {"name": "demo", "title": "Demo\u{1b}[2J", "version": "1"},
            "capabilities": {"tools": {"listChanged": true}, "logging": {}, "prompts": null},
            "instructions": "Be\nnice\u{202e}",
        });
        let info = ServerInfo::from_result(&result);
        let view = ServerView { target: "d", info: &info, revision: "2025-11-25", transport: "stdio" };
        let (pipe, terminal) = render_both(|ui| ui.print_server_info(&view));
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
        assert!(render_both(|ui| ui.print_server_info(&view)).0.contains("name\tnot specified\n"));
    }
}
