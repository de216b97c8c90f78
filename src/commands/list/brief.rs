//! `list --brief`, `--tokens` and `--budget`: what the tools of a server cost in a model's context.

use serde_json::{Value, json};

use crate::cli::ListArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::lists::{ListFilter, fetch_entries, signature};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::{Column, Table};
use crate::protocol::views::{ListItem, ListKind};
use crate::session::Session;

/// How many bytes of a tool definition a token has on average. The tokenizers of models differ by a fifth and more.
const BYTES_PER_TOKEN: usize = 4;

/// Prints one line for each tool: its name and parameters.
///
/// # Errors
/// When the list cannot be fetched or printed.
pub(super) async fn print_signatures(context: &Context, session: &Session, args: &ListArgs) -> Result<Exit> {
    let tools = fetch_entries(context, session, ListKind::Tools, ListFilter::from_args(args)).await?;
    let mut lines = tools.iter().map(|tool| format!("{}({})", tool.name(), signature(tool)));
    if context.ui.is_json() {
        context.ui.print_json_value(&json!({ "tools": lines.collect::<Vec<_>>() }))?;
    } else {
        lines.try_for_each(|line| context.ui.print_line(&line.replace('\n', " ")))?;
    }
    Ok(Exit::Done)
}

/// Prints how many tokens the tools take in a model's context, each and together.
///
/// # Errors
/// [`ErrorKind::Mismatch`] if they exceed the budget; when the list cannot be fetched or printed.
pub(super) async fn print_tokens(context: &Context, session: &Session, args: &ListArgs) -> Result<Exit> {
    let tools = fetch_entries(context, session, ListKind::Tools, ListFilter::from_args(args)).await?;
    let sizes: Vec<(&str, usize)> = tools.iter().map(|tool| (tool.name(), definition_size(tool))).collect();
    let bytes: usize = sizes.iter().map(|(_, bytes)| bytes).sum();
    let total: usize = sizes.iter().map(|(_, bytes)| tokens(*bytes)).sum();
    if context.ui.is_json() {
        let each: Vec<Value> =
            sizes.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes, "tokens": tokens(*bytes)})).collect();
        context.ui.print_json_value(&json!({"tools": each, "bytes": bytes, "tokens": total}))?;
    } else {
        let mut table = Table::new([Column::new("NAME").on_one_line(), Column::new("TOKENS"), Column::new("BYTES")]);
        for (name, bytes) in &sizes {
            table.add_row([(*name).into(), tokens(*bytes).to_string().into(), bytes.to_string().into()]);
        }
        table.add_row(["total".into(), total.to_string().into(), bytes.to_string().into()]);
        context.ui.print_table(&table)?;
    }
    match args.budget {
        Some(budget) if total as u64 > budget => {
            Err(Failure::new(ErrorKind::Mismatch, format!("the tools take about {total} tokens, more than {budget}"))
                .hint("choose tools with allow_tools or deny_tools in the configuration"))
        }
        _ => Ok(Exit::Done),
    }
}

/// The bytes of what a model gets of a tool: name, description and input schema.
fn definition_size(tool: &ListItem) -> usize {
    let definition = json!({
        "name": tool.name(),
        "description": tool.description(),
        "input_schema": tool.input_schema(),
    });
    definition.to_string().len()
}

fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
}
