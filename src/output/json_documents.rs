//! mcpipe's own JSON documents, which `--json` prints; `docs/json.md` shows each.
//!
//! Unknown members are `null`, never omitted. What a server sent is in them unchanged.

use serde_json::Value;

use super::details::ServerView;
use super::failure::failure_json;
use crate::output::list_tables::{ServerRow, ServerState};
use crate::protocol::json::join_lines;
use crate::protocol::json_string::encode_string;
use crate::protocol::views::{ListItem, ListKind};

/// What one server offers: `{"tools":[…],"resources":[…]}`, each element as the server sent it.
#[must_use]
pub fn lists<'a>(lists: impl IntoIterator<Item = (ListKind, Vec<&'a ListItem>)>) -> String {
    let one = |(kind, entries): (ListKind, Vec<&ListItem>)| {
        let entries: Vec<_> = entries.into_iter().map(|entry| join_lines(entry.raw().get())).collect();
        format!("{}:[{}]", encode_string(kind.result_member()), entries.join(","))
    };
    format!("{{{}}}", lists.into_iter().map(one).collect::<Vec<_>>().join(","))
}

/// All configured servers: `{"servers":[…]}`.
#[must_use]
pub fn dashboard(rows: &[ServerRow]) -> String {
    format!(r#"{{"servers":[{}]}}"#, rows.iter().map(dashboard_row).collect::<Vec<_>>().join(","))
}

fn dashboard_row(row: &ServerRow) -> String {
    let count = |count: Option<usize>| count.map_or("null".to_owned(), |count| count.to_string());
    let revision = if row.revision.is_empty() { "null".to_owned() } else { encode_string(&row.revision) };
    let (state, error) = match &row.state {
        ServerState::NotAsked => ("null".to_owned(), "null".to_owned()),
        ServerState::Ok => (encode_string("ok"), "null".to_owned()),
        ServerState::Failed(failure) => (encode_string(failure.kind().as_str()), failure_json(failure)),
    };
    format!(
        r#"{{"name":{},"transport":{},"revision":{revision},"tools":{},"resources":{},"prompts":{},"seconds":{},"state":{state},"error":{error}}}"#,
        encode_string(&row.name),
        if row.transport.is_empty() { "null".to_owned() } else { encode_string(&row.transport) },
        count(row.tools),
        count(row.resources),
        count(row.prompts),
        row.time.map_or("null".to_owned(), |time| format!("{:.3}", time.as_secs_f64())),
    )
}

/// Who a server is: `{"target":…,"serverInfo":{…},"capabilities":…,…}`.
#[must_use]
pub fn server_info(view: &ServerView<'_>) -> Value {
    let info = view.info;
    serde_json::json!({
        "target": view.target,
        "revision": view.revision,
        "transport": view.transport,
        "serverInfo": { "name": info.name, "title": info.title, "version": info.version },
        "capabilities": info.capabilities,
        "instructions": info.instructions,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::value::RawValue;

    use super::*;
    use crate::error::{ErrorKind, Failure};
    use crate::protocol::views::ServerInfo;

    #[test]
    fn lists_hold_what_the_server_sent() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap_or_else(|error| panic!("{error}"));
        let (odd, tool) = (ListItem::new(&raw("7")), ListItem::new(&raw("{\"name\":\"a\",\n\"x\":1E2, \"x\":2}")));
        assert_eq!(
            lists([(ListKind::Tools, vec![&tool, &odd]), (ListKind::Templates, vec![])]),
            r#"{"tools":[{"name":"a", "x":1E2, "x":2},7],"resourceTemplates":[]}"#
        );
        assert_eq!(lists([]), "{}");
    }

    #[test]
    fn every_server_has_every_member() {
        let rows = [
            ServerRow { name: "a".into(), transport: "stdio".into(), ..ServerRow::default() },
            ServerRow {
                name: "b".into(),
                transport: "http".into(),
                revision: "2026-07-28".into(),
                tools: Some(2),
                time: Some(Duration::from_millis(1234)),
                state: ServerState::Ok,
                ..ServerRow::default()
            },
            ServerRow { state: ServerState::Failed(Failure::new(ErrorKind::Timeout, "late")), ..ServerRow::default() },
        ];
        let text = dashboard(&rows);
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        assert_eq!(
            text,
            concat!(
                r#"{"servers":[{"name":"a","transport":"stdio","revision":null,"tools":null,"resources":null,"prompts":null,"seconds":null,"state":null,"error":null},"#,
                r#"{"name":"b","transport":"http","revision":"2026-07-28","tools":2,"resources":null,"prompts":null,"seconds":1.234,"state":"ok","error":null},"#,
                r#"{"name":"","transport":null,"revision":null,"tools":null,"resources":null,"prompts":null,"seconds":null,"state":"timeout","error":{"class":"timeout","code":6,"message":"late","causes":[],"hint":null,"server":null,"rpc":null}}]}"#
            )
        );
    }

    #[test]
    fn a_server_without_a_description_has_the_same_shape() {
        let info = ServerInfo::default();
        let view = ServerView { target: "t", info: &info, revision: "2025-11-25", transport: "sse" };
        assert_eq!(
            server_info(&view).to_string(),
            r#"{"target":"t","revision":"2025-11-25","transport":"sse","serverInfo":{"name":null,"title":null,"version":null},"capabilities":null,"instructions":null}"#
        );
    }

    /// The members of every object in a document, by path.
    fn shape(value: &Value, path: &str, found: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let path = format!("{path}.{name}");
                    shape(value, &path, found);
                    found.insert(path);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| shape(item, path, found)),
            _ => {}
        }
    }

    #[test]
    fn the_documentation_shows_every_member() {
        let text = include_str!("../../docs/json.md");
        let mut documented = std::collections::BTreeSet::new();
        for block in text.split("```json\n").skip(1) {
            for line in block.split("```").next().unwrap_or_default().lines() {
                let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                shape(&value, "", &mut documented);
            }
        }
        let failure = Failure::new(ErrorKind::Failed, "x").stderr_tail(vec!["y".into()]);
        let failed =
            ServerRow { state: ServerState::Failed(Failure::new(ErrorKind::Failed, "x")), ..ServerRow::default() };
        let info = ServerInfo::default();
        let view = ServerView { target: "t", info: &info, revision: "r", transport: "w" };
        let mut printed = std::collections::BTreeSet::new();
        for document in
            [dashboard(&[failed]), server_info(&view).to_string(), format!(r#"{{"error":{}}}"#, failure_json(&failure))]
        {
            let value = serde_json::from_str(&document).unwrap_or_else(|error| panic!("{document}: {error}"));
            shape(&value, "", &mut printed);
        }
        assert_eq!(printed.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
