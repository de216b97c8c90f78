//! `--complete`: how an argument may go on, one value a line.

use serde_json::{Map, Value};

use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::parse_value;
use crate::session::Session;

/// What is to be completed.
pub struct CompletionQuery {
    /// The argument.
    pub argument: String,
    /// What is typed of it.
    pub prefix: String,
}

impl CompletionQuery {
    /// Reads `ARG=PREFIX`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where it is not that.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((argument, prefix)) if !argument.is_empty() => {
                Ok(CompletionQuery { argument: argument.to_owned(), prefix: prefix.to_owned() })
            }
            _ => Err(Failure::new(ErrorKind::Usage, format!("--complete {text} names no prefix"))
                .hint(format!("write it as ARG=PREFIX: --complete {text}="))),
        }
    }

    /// Asks and prints.
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
        // The argument that is being typed is no context of itself.
        let mut given = given.clone();
        given.shift_remove(&self.argument);
        let result = session.complete(reference, &self.argument, &self.prefix, &given).await?;
        if context.ui.is_json() {
            context.ui.print_raw_json(&result)?;
            return Ok(Exit::Done);
        }
        let value = parse_value(result.get()).unwrap_or(Value::Null);
        let Some(values) = value.pointer("/completion/values").and_then(Value::as_array) else {
            return Err(Failure::new(ErrorKind::Protocol, "the server's answer to completion/complete has no values"));
        };
        for value in values.iter().filter_map(Value::as_str) {
            context.ui.print_line(value)?;
        }
        if value.pointer("/completion/hasMore") == Some(&Value::Bool(true)) {
            context.ui.note("there are more; type more of the word");
        }
        Ok(Exit::Done)
    }
}
