//! `--watch`: prints now, and again whenever the server says that something changed, until interrupted.

use std::collections::HashMap;

use super::{Context, Exit, list};
use crate::cli::{ListArgs, ReadArgs};
use crate::commands::read::skills;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ListKind;
use crate::session::Session;
use crate::session::watch::{WatchEvent, WatchFilter, WatchedChange};
use crate::util::duration::format_duration;

/// Watches resources: one document for every change that the server tells of. After a lost connection, one
/// for each resource that is no longer as it was printed last.
///
/// # Errors
/// When the first reading fails, or the server tells of no changes.
pub async fn resources(context: &Context, session: &Session, args: &ReadArgs, uris: &[String]) -> Result<Exit> {
    let mut watching = ResourceWatch { context, session, args, uris, last_printed: HashMap::new(), has_started: false };
    let interest = WatchFilter { uris: uris.to_vec(), lists: Vec::new() };
    let ended = session.watch(&interest, async |news| watching.handle_event(news).await).await;
    finish(ended)
}

struct ResourceWatch<'a> {
    context: &'a Context,
    session: &'a Session,
    args: &'a ReadArgs,
    uris: &'a [String],
    /// What was printed last of each.
    last_printed: HashMap<String, RawJson>,
    has_started: bool,
}

impl ResourceWatch<'_> {
    async fn handle_event(&mut self, news: WatchEvent) -> Result<()> {
        match news {
            WatchEvent::Subscribed(mute) => {
                warn_unwatched(self.context, &mute);
                for uri in self.uris {
                    self.read_and_print(uri, false).await?;
                }
                self.has_started = true;
                Ok(())
            }
            WatchEvent::Changed(WatchedChange::Resource(uri)) => self.read_and_print(&uri, true).await,
            WatchEvent::Changed(WatchedChange::Lists) => Ok(()),
            WatchEvent::Disconnected(failure, pause) => note_connection_lost(self.context, &failure, pause),
        }
    }

    /// Reads a resource and prints it; unless `always`, only if it is not what was printed last.
    async fn read_and_print(&mut self, uri: &str, always: bool) -> Result<()> {
        let result = match skills::read_verified(self.context, self.session, uri).await {
            Ok(result) => result,
            // A resource may go and come back.
            Err(failure) if self.has_started && is_transient(&failure) => {
                self.context.ui.report_failure(&failure.server(&self.session.target().name));
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let known = self.last_printed.get(uri).is_some_and(|last| last.get() == result.get());
        if !known || always {
            self.print(uri, &result)?;
            self.last_printed.insert(uri.to_owned(), result);
        }
        Ok(())
    }

    fn print(&self, uri: &str, result: &RawJson) -> Result<()> {
        let ui = &self.context.ui;
        if let Some(file) = self.args.output_file() {
            ui.write_resource_to(result, file)
        } else if !ui.is_json() {
            ui.print_resource_document(result)
        } else if self.uris.len() == 1 {
            ui.print_json_line(result.get())
        } else {
            let uri = serde_json::Value::String(uri.to_owned());
            ui.print_json_line(&format!(r#"{{"uri":{uri},"result":{}}}"#, result.get()))
        }
    }
}

/// Watches lists: prints them again whenever they are no longer what was printed last.
///
/// # Errors
/// When the first listing fails, or the server tells of no changes.
pub async fn lists(context: &Context, session: &Session, args: &ListArgs, kinds: &[ListKind]) -> Result<Exit> {
    let interest = WatchFilter { uris: Vec::new(), lists: kinds.to_vec() };
    let mut last: Option<String> = None;
    let ended = session
        .watch(&interest, async |news| {
            match news {
                WatchEvent::Subscribed(mute) => warn_unwatched(context, &mute),
                WatchEvent::Changed(_) => {}
                WatchEvent::Disconnected(failure, pause) => return note_connection_lost(context, &failure, pause),
            }
            let lists = match list::fetch_lists(context, session, kinds, list::ListFilter::from_args(args)).await {
                Ok(lists) => lists,
                Err(failure) if last.is_some() && is_transient(&failure) => {
                    context.ui.report_failure(&failure.server(&session.target().name));
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            };
            let document = list::lists_json(&lists);
            if last.as_ref() == Some(&document) {
                return Ok(());
            }
            if context.ui.is_json() {
                context.ui.print_json_line(&document)?;
            } else {
                if last.is_some() {
                    context.ui.print_text("\n")?;
                }
                list::print_lists(context, session, &lists, args.search.is_some())?;
            }
            last = Some(document);
            Ok(())
        })
        .await;
    finish(ended)
}

fn warn_unwatched(context: &Context, mute: &[String]) {
    if !mute.is_empty() {
        context.ui.warn(&format!("the server does not tell of changes to {}", mute.join(", ")));
    }
}

fn note_connection_lost(context: &Context, failure: &Failure, pause: std::time::Duration) -> Result<()> {
    context.ui.note(&format!("{failure}; trying again in {}", format_duration(pause)));
    Ok(())
}

/// Whether the next change may bring something better.
fn is_transient(failure: &Failure) -> bool {
    matches!(failure.kind(), ErrorKind::Failed | ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol)
}

/// To be interrupted is how a watch ends, and nothing to be reported.
fn finish(ended: Failure) -> Result<Exit> {
    match ended.kind() {
        class @ (ErrorKind::Interrupted | ErrorKind::Terminated) => Ok(Exit::Reported(class)),
        _ => Err(ended),
    }
}
