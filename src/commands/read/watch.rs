//! `read --watch`: prints resources now, and again at each change, until interrupted.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cli::ReadArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::read::skills;
use crate::commands::watch::{finish, is_transient, note_connection_lost, note_watching, warn_unwatched};
use crate::error::{ErrorKind, Result};
use crate::protocol::rpc::RawJson;
use crate::session::Session;
use crate::session::watch::{WatchEvent, WatchFilter, WatchedChange};

/// Watches resources: prints one document for each change notification. After a lost connection, or if notifications
/// come faster than they are handled, one for each resource that differs from what was printed last.
///
/// # Errors
/// When the first read fails, or the server sends no change notifications.
pub async fn run(context: &Context, session: &Session, args: &ReadArgs, uris: &[String]) -> Result<Exit> {
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
    /// What was last printed of each.
    last_printed: HashMap<String, RawJson>,
    has_started: bool,
}

impl ResourceWatch<'_> {
    async fn handle_event(&mut self, news: WatchEvent) -> Result<()> {
        match news {
            WatchEvent::Subscribed(mute) => {
                warn_unwatched(self.context, &mute);
                self.print_different().await?;
                if !self.has_started {
                    note_watching(self.context);
                }
                self.has_started = true;
                Ok(())
            }
            WatchEvent::Changed(WatchedChange::Resource(uri)) => self.read_and_print(&uri, true).await,
            WatchEvent::Changed(WatchedChange::Lists) => Ok(()),
            WatchEvent::Missed => self.print_different().await,
            WatchEvent::Disconnected(failure, pause) => note_connection_lost(self.context, &failure, pause),
        }
    }

    /// Prints each resource that differs from what was printed last.
    async fn print_different(&mut self) -> Result<()> {
        for uri in self.uris {
            self.read_and_print(uri, false).await?;
        }
        Ok(())
    }

    /// Reads a resource and prints it; unless `always`, only if it differs from what was printed last.
    async fn read_and_print(&mut self, uri: &str, always: bool) -> Result<()> {
        let log = Arc::default();
        let result = match skills::read_verified(self.context, self.session, uri, Some(&log)).await {
            Ok(result) => result,
            // A resource may disappear and come back.
            Err(failure) if self.has_started && is_transient(&failure) => {
                self.context.ui.report_failure(&failure.server(&self.session.target().name));
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let known = self.last_printed.get(uri).is_some_and(|last| last.get() == result.get());
        if !known || always {
            self.separate(uri)?;
            match self.print(uri, &result) {
                // A filter may refuse one version and not the next.
                Err(failure) if self.has_started && failure.kind() == ErrorKind::Failed => {
                    self.context.ui.report_failure(&failure);
                }
                printed => printed?,
            }
            self.last_printed.insert(uri.to_owned(), result);
        }
        log.take_failure().iter().for_each(|failure| self.context.ui.report_failure(failure));
        Ok(())
    }

    /// At a terminal, sets a new version apart from the one before.
    fn separate(&self, uri: &str) -> Result<()> {
        let ui = &self.context.ui;
        let prints_text = self.args.output_file().is_none() && !ui.is_json();
        if self.has_started && prints_text && ui.terminal().stdout_is_tty { ui.print_heading(uri) } else { Ok(()) }
    }

    fn print(&self, uri: &str, result: &RawJson) -> Result<()> {
        let ui = &self.context.ui;
        if let Some(file) = self.args.output_file() {
            ui.write_resource_to((&**result).into(), file)
        } else if !ui.is_json() {
            ui.print_resource_document(result)
        } else if self.uris.len() == 1 {
            ui.print_json_line(result.get())
        } else {
            let uri = serde_json::Value::String(uri.to_owned());
            ui.print_json_line(format!(r#"{{"uri":{uri},"result":{}}}"#, result.get()))
        }
    }
}
