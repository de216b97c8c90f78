//! `replay`: a recording as a server over stdio.

use std::ops::ControlFlow;
use std::path::Path;

use serde_json::value::RawValue;

use crate::cli::ReplayArgs;
use crate::commands::call::input_stream::LineStream;
use crate::commands::context::{Context, Exit};
use crate::error::Result;
use crate::protocol::code;
use crate::protocol::json::join_lines;
use crate::protocol::rpc;
use crate::transport::replay::{Recording, ReplayServer, ReplayedOutput};

/// Runs `replay`.
///
/// # Errors
/// When the recording cannot be used, or the output cannot be written.
pub async fn run(context: &Context, args: ReplayArgs) -> Result<Exit> {
    let recording = Recording::open(&context.env.expand_tilde(&args.file), true)?;
    let mut server = recording.serve()?;
    let mut input = LineStream::open(context, Path::new("-"), "messages of an MCP client").await?;
    loop {
        tokio::select! {
            biased;
            failure = context.interrupt.interrupted() => return Err(failure),
            output = server.next() => {
                if print(context, output)?.is_break() {
                    return Ok(Exit::Done);
                }
            }
            line = input.next() => match line {
                Some(line) => take_line(context, &server, &line?)?,
                None => break,
            }
        }
    }
    server.finish();
    while let Some(output) = server.try_next() {
        if print(context, output)?.is_break() {
            break;
        }
    }
    Ok(Exit::Done)
}

/// Prints what the server sends; breaks at its end.
fn print(context: &Context, output: Option<ReplayedOutput>) -> Result<ControlFlow<()>> {
    let line = match output {
        None => return Ok(ControlFlow::Continue(())),
        Some(ReplayedOutput::End) => return Ok(ControlFlow::Break(())),
        // A line feed may only end a message (2025-11-25, basic/transports, stdio).
        Some(ReplayedOutput::Message(raw)) => join_lines(raw.get()).into_owned(),
        Some(ReplayedOutput::Failure { id, message }) => match serde_json::from_str::<&RawValue>(&id) {
            Ok(id) => rpc::error_response(id, code::INTERNAL_ERROR, &message),
            Err(_) => return Ok(ControlFlow::Continue(())),
        },
    };
    context.ui.print_bytes(format!("{line}\n").as_bytes()).map(|()| ControlFlow::Continue(()))
}

/// Takes a line of the client: a message, or a batch of messages (2025-03-26).
fn take_line(context: &Context, server: &ReplayServer, line: &[u8]) -> Result<()> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(());
    }
    let messages: Vec<&RawValue> = match line.first() {
        Some(b'[') => serde_json::from_slice(line).unwrap_or_default(),
        _ => serde_json::from_slice(line).map(|message| vec![message]).unwrap_or_default(),
    };
    if messages.is_empty() {
        let error = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#;
        return context.ui.print_bytes(format!("{error}\n").as_bytes());
    }
    messages.into_iter().for_each(|message| server.take(message));
    Ok(())
}
