//! `list --watch`: prints lists now, and again whenever they change, until interrupted.

use crate::cli::ListArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::lists;
use crate::commands::watch::{finish, is_transient, note_connection_lost, note_watching, warn_unwatched};
use crate::error::Result;
use crate::protocol::views::ListKind;
use crate::session::Session;
use crate::session::watch::{WatchEvent, WatchFilter};

/// Watches lists: prints them again when they differ from what was printed last.
///
/// # Errors
/// When the first listing fails, or the server sends no change notifications.
pub async fn run(context: &Context, session: &Session, args: &ListArgs, kinds: &[ListKind]) -> Result<Exit> {
    let interest = WatchFilter { uris: Vec::new(), lists: kinds.to_vec() };
    let mut last: Option<String> = None;
    let ended = session
        .watch(&interest, async |news| {
            match news {
                WatchEvent::Subscribed(mute) => warn_unwatched(context, &mute),
                WatchEvent::Changed(_) | WatchEvent::Missed => {}
                WatchEvent::Disconnected(failure, pause) => return note_connection_lost(context, &failure, pause),
            }
            let lists = match lists::fetch_lists(context, session, kinds, lists::ListFilter::from_args(args)).await {
                Ok(lists) => lists,
                Err(failure) if last.is_some() && is_transient(&failure) => {
                    context.ui.report_failure(&failure.server(&session.target().name));
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            };
            let document = lists::lists_json(&lists);
            if last.as_ref() == Some(&document) {
                return Ok(());
            }
            if context.ui.is_json() {
                context.ui.print_json_line(&document)?;
            } else {
                if last.is_some() {
                    context.ui.print_text("\n")?;
                }
                lists::print_lists(context, session, &lists, args.search.is_some())?;
            }
            if last.is_none() {
                note_watching(context);
            }
            last = Some(document);
            Ok(())
        })
        .await;
    finish(ended)
}
