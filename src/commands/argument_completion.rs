//! `--complete`: completions of an argument, one per line.

use serde_json::{Map, Value};

use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::parse_value;
use crate::session::Session;

/// A request for completions.
pub struct CompletionQuery {
    /// The argument.
    pub argument: String,
    /// The beginning of its value.
    pub prefix: String,
}

impl CompletionQuery {
    /// Parses `ARG=PREFIX`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((argument, prefix)) if !argument.is_empty() => {
                Ok(CompletionQuery { argument: argument.to_owned(), prefix: prefix.to_owned() })
            }
            _ => Err(Failure::new(ErrorKind::Usage, format!("--complete {text}: expected ARG=PREFIX"))
                .hint(format!("complete from the start: --complete {text}="))),
        }
    }

    /// Requests and prints completions.
    ///
    /// # Errors
    /// When the server does not complete, or refuses.
    pub async fn print_completions(
        &self,
        context: &Context,
        session: &Session,
        reference: Value,
        given: &Map<String, Value>,
    ) -> Result<Exit> {
        // The argument that is completed is not part of its own context.
        let mut given = given.clone();
        given.shift_remove(&self.argument);
        let result = session.complete(reference, &self.argument, &self.prefix, &given).await?;
        if context.ui.is_json() {
            context.ui.print_document(result.into())?;
            return Ok(Exit::Done);
        }
        let value = parse_value(result.get()).unwrap_or(Value::Null);
        let Some(values) = value.pointer("/completion/values").and_then(Value::as_array) else {
            return Err(Failure::new(
                ErrorKind::Protocol,
                "the server's response to completion/complete has no values",
            ));
        };
        for value in values.iter().filter_map(Value::as_str) {
            context.ui.print_line(value)?;
        }
        if value.pointer("/completion/hasMore") == Some(&Value::Bool(true)) {
            context.ui.note("more completions exist; pass a longer prefix");
        }
        Ok(Exit::Done)
    }
}
