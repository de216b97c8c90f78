//! `--watch`: prints now, and again whenever the server says that something changed, until interrupted.

use std::collections::HashMap;

use super::{Context, Exit, list, skills};
use crate::cli::{ListArgs, ReadArgs};
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::Raw;
use crate::protocol::views::Kind;
use crate::session::Session;
use crate::session::link::human;
use crate::session::subscribe::{Change, Interest, News};

/// Watches resources: one document for every change that the server tells of. After a lost connection, one
/// for each resource that is no longer as it was printed last.
///
/// # Errors
/// When the first reading fails, or the server tells of no changes.
pub async fn resources(context: &Context, session: &Session, args: &ReadArgs, uris: &[String]) -> Result<Exit> {
    let mut watching = Resources { context, session, args, uris, last: HashMap::new(), begun: false };
    let interest = Interest { uris: uris.to_vec(), lists: Vec::new() };
    let ended = session.watch(&interest, async |news| watching.hear(news).await).await;
    finish(ended)
}

struct Resources<'a> {
    context: &'a Context,
    session: &'a Session,
    args: &'a ReadArgs,
    uris: &'a [String],
    /// What was printed last of each.
    last: HashMap<String, Raw>,
    begun: bool,
}

impl Resources<'_> {
    async fn hear(&mut self, news: News) -> Result<()> {
        match news {
            News::Standing(mute) => {
                warn_of(self.context, &mute);
                for uri in self.uris {
                    self.look(uri, false).await?;
                }
                self.begun = true;
                Ok(())
            }
            News::Changed(Change::Resource(uri)) => self.look(&uri, true).await,
            News::Changed(Change::Lists) => Ok(()),
            News::Lost(failure, pause) => lost(self.context, &failure, pause),
        }
    }

    /// Reads a resource and prints it; unless `always`, only if it is not what was printed last.
    async fn look(&mut self, uri: &str, always: bool) -> Result<()> {
        let result = match skills::read(self.context, self.session, uri).await {
            Ok(result) => result,
            // A resource may go and come back.
            Err(failure) if self.begun && may_pass(&failure) => {
                self.context.ui.failure(&failure.server(&self.session.target().name));
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let known = self.last.get(uri).is_some_and(|last| last.get() == result.get());
        if !known || always {
            self.print(uri, &result)?;
            self.last.insert(uri.to_owned(), result);
        }
        Ok(())
    }

    fn print(&self, uri: &str, result: &Raw) -> Result<()> {
        let ui = &self.context.ui;
        if let Some(file) = self.args.file() {
            ui.read_result_to(result, file)
        } else if !ui.json() {
            ui.read_document(result)
        } else if self.uris.len() == 1 {
            ui.json_line(result.get())
        } else {
            let uri = serde_json::Value::String(uri.to_owned());
            ui.json_line(&format!(r#"{{"uri":{uri},"result":{}}}"#, result.get()))
        }
    }
}

/// Watches lists: prints them again whenever they are no longer what was printed last.
///
/// # Errors
/// When the first listing fails, or the server tells of no changes.
pub async fn lists(context: &Context, session: &Session, args: &ListArgs, kinds: &[Kind]) -> Result<Exit> {
    let interest = Interest { uris: Vec::new(), lists: kinds.to_vec() };
    let mut last: Option<String> = None;
    let ended = session
        .watch(&interest, async |news| {
            match news {
                News::Standing(mute) => warn_of(context, &mute),
                News::Changed(_) => {}
                News::Lost(failure, pause) => return lost(context, &failure, pause),
            }
            let lists = match list::gather(context, session, kinds, list::Filter::of(args)).await {
                Ok(lists) => lists,
                Err(failure) if last.is_some() && may_pass(&failure) => {
                    context.ui.failure(&failure.server(&session.target().name));
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            };
            let document = list::document(&lists);
            if last.as_ref() == Some(&document) {
                return Ok(());
            }
            if context.ui.json() {
                context.ui.json_line(&document)?;
            } else {
                if last.is_some() {
                    context.ui.text("\n")?;
                }
                list::show(context, session, &lists, args.grep.is_some())?;
            }
            last = Some(document);
            Ok(())
        })
        .await;
    finish(ended)
}

fn warn_of(context: &Context, mute: &[String]) {
    if !mute.is_empty() {
        context.ui.warn(&format!("the server does not tell of changes to {}", mute.join(", ")));
    }
}

fn lost(context: &Context, failure: &Failure, pause: std::time::Duration) -> Result<()> {
    context.ui.note(&format!("{failure}; trying again in {}", human(pause)));
    Ok(())
}

/// Whether the next change may bring something better.
fn may_pass(failure: &Failure) -> bool {
    matches!(failure.class(), Class::Failed | Class::Unreachable | Class::Timeout | Class::Protocol)
}

/// To be interrupted is how a watch ends, and nothing to be reported.
fn finish(ended: Failure) -> Result<Exit> {
    match ended.class() {
        class @ (Class::Interrupted | Class::Terminated) => Ok(Exit::Said(class)),
        _ => Err(ended),
    }
}
