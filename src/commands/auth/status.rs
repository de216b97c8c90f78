//! `auth status`: which credentials there are. Connects only when told to.

use serde_json::json;

use super::super::credentials::Entry;
use super::super::{Context, Exit};
use super::{document, expiry, nothing, state, stored, target};
use crate::auth::Login;
use crate::auth::store::{About, Store, named};
use crate::cli::StatusArgs;
use crate::error::{Class, Failure, Result};
use crate::output::{Cell, Column, Table};
use crate::protocol::views::Kind;
use crate::session::{Session, Use};

/// Prints it.
///
/// # Errors
/// [`Class::Auth`] where a target is named and nobody is logged in to it, or, with `--check`, where the
/// server does not take the credentials.
pub async fn run(context: &Context, args: StatusArgs) -> Result<Exit> {
    let Some(word) = &args.target else {
        let store = context.store(default_choice(context).as_deref())?;
        let all = named::logins(&*store)?;
        let place = context.interrupt.guard(store.place_now()).await?;
        print(context, &*store, &all, &place)?;
        return Ok(Exit::Done);
    };
    let (target, endpoint) = target(context, word, &args.reach).await?;
    let (name, login) = (target.name.clone(), target.line("auth login", &[]));
    let store = context.store(target.credential_store.as_deref())?;
    if args.check {
        let entry = Entry { login: Login::Never, ..Entry::default() };
        let gate = context.gate(&target, entry)?;
        let progress = context.progress(&format!("asking {name}"));
        let session = context.session_through(target, gate.as_ref(), Some(progress.clone()))?;
        let ask = async |session: &Session| session.list(Kind::Tools, Use::Server).await.map(|_| ());
        match progress.during(context.with(session, ask)).await {
            // A server without tools has let us in all the same.
            Err(failure) if failure.class() == Class::Failed => {}
            outcome => outcome?,
        }
    }
    let found = stored(&*store, &endpoint)?;
    let place = context.interrupt.guard(store.place_now()).await?;
    print(context, &*store, &found, &place)?;
    if found.is_empty() {
        return Err(nothing(&name, login));
    }
    if found.iter().all(|about| state(about) == "expired") {
        return Err(Failure::new(Class::Auth, format!("the login to {name} has expired")).hint(login).server(&name));
    }
    Ok(Exit::Done)
}

fn print(context: &Context, store: &dyn Store, all: &[About], place: &str) -> Result<()> {
    if context.ui.json() {
        let all: Vec<_> = all.iter().map(|about| document(about, store)).collect();
        return context.ui.json_value(&json!({"store": place, "credentials": all}));
    }
    let mut table =
        Table::new(["SERVER", "ISSUER", "SCOPES", "GOOD FOR", "STATE", "RESTS IN"].map(Column::new).to_vec());
    for about in all {
        let name = about.server.as_deref().unwrap_or(&about.resource);
        let cells = [
            name.to_owned(),
            about.issuer.clone(),
            about.scopes.join(" "),
            expiry(about),
            state(about).to_owned(),
            store.place_of(&about.key),
        ];
        table.row(cells.map(Cell::new));
    }
    context.ui.table(&table)?;
    if all.is_empty() {
        context.ui.note(&format!("no credentials in {place}"));
    }
    Ok(())
}

/// The configured store; a broken configuration does not keep us from saying what is there.
pub(super) fn default_choice(context: &Context) -> Option<String> {
    let lookup = crate::config::Lookup::new(&context.env, context.global.config.as_deref());
    lookup.ad_hoc_defaults().ok().and_then(|defaults| defaults.credential_store)
}
