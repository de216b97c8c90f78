//! `auth status`: lists the stored credentials. Connects only with `--check`.

use std::collections::HashSet;

use serde_json::json;

use super::super::credentials::LoginOptions;
use super::super::{Context, Exit};
use super::shared::{
    WhichLogins, format_expiry, login_json, not_logged_in, resolve_http_target, shown_state, stored_logins, token_state,
};
use crate::auth::store::{CredentialStore, CredentialSummary, named_secrets};
use crate::cli::AuthStatusArgs;
use crate::config::oauth::OAuthSettings;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::{Cell, Column, Table};
use crate::protocol::views::ListKind;
use crate::session::{CachePolicy, Session};
use crate::util::home::shown_location;
use crate::util::when::When;

/// Prints the stored credentials.
///
/// # Errors
/// [`ErrorKind::Auth`] if a target is named and the user is not logged in to it, or if, with `--check`, the server does
/// not accept the credentials.
pub async fn run(context: &Context, args: AuthStatusArgs) -> Result<Exit> {
    let Some(word) = &args.target else {
        let store = context.credential_store(None)?;
        let all = named_secrets::login_summaries(&*store)?;
        let place = context.interrupt.run_until_interrupted(store.probe_location()).await?;
        print(context, &*store, &all, &place)?;
        return Ok(Exit::Done);
    };
    let (target, endpoint) = resolve_http_target(context, word, &args.target_options).await?;
    let name = target.name.clone();
    let (login, check) = (target.command_line("auth login", &[]), target.command_line("auth status", &["--check"]));
    let has_login_settings = target.auth != OAuthSettings::default();
    let checked = target.clone();
    let store = context.credential_store(target.credential_store.as_deref())?;
    if args.check {
        let entry = LoginOptions { mode: When::Never, ..LoginOptions::default() };
        let gate = context.token_provider(&target, entry)?;
        let progress = context.progress(&format!("asking {name}"));
        let session = context.session_with_provider(checked, gate.as_ref(), Some(progress.clone()))?;
        let ask = async |session: &Session| session.list(ListKind::Tools, CachePolicy::Bypass).await.map(|_| ());
        match progress.show_during(context.with_session(session, ask)).await {
            // A server without tools has accepted the credentials.
            Err(failure) if failure.kind() == ErrorKind::Failed => {}
            outcome => outcome?,
        }
    }
    let sends_own = args.check && target.has_own_credentials();
    let found = stored_logins(&*store, &target, &endpoint, WhichLogins::Used)?;
    let place = context.interrupt.run_until_interrupted(store.probe_location()).await?;
    print(context, &*store, &found, &place)?;
    if sends_own {
        context.ui.note(&format!("{name} accepts the credentials that are sent instead of a login"));
        return Ok(Exit::Done);
    }
    let states: Vec<&str> = found.iter().map(token_state).filter(|state| *state != "registered").collect();
    let failed = match states.first() {
        None if args.check => {
            context.ui.note(&format!("{name} accepts requests without a login"));
            return Ok(Exit::Done);
        }
        None => {
            // Only the server knows whether it needs a login, unless the configuration describes one.
            let unknown = format!("find out whether it needs a login: {check}");
            return Err(not_logged_in(&name, if has_login_settings { login } else { unknown }));
        }
        Some(_) if states.iter().any(|state| !matches!(*state, "expired" | "ended")) => return Ok(Exit::Done),
        Some(_) if states.contains(&"expired") => format!("the login to {name} has expired"),
        Some(_) => format!("the login to {name} has ended: the authorization server refused to renew it"),
    };
    Err(Failure::new(ErrorKind::Auth, failed).hint(login).server(&name))
}

fn print(context: &Context, store: &dyn CredentialStore, all: &[CredentialSummary], place: &str) -> Result<()> {
    if context.ui.is_json() {
        let all: Vec<_> = all.iter().map(|about| login_json(about, store)).collect();
        return context.ui.print_json_value(&json!({"store": place, "credentials": all}));
    }
    let name = |about: &CredentialSummary| about.server.as_ref().unwrap_or(&about.resource).clone();
    let mut names = HashSet::new();
    let shows_clients = !all.iter().all(|about| names.insert(name(about)));
    let columns = [
        Some(Column::new("SERVER").on_one_line()),
        shows_clients.then(|| Column::new("CLIENT")),
        Some(Column::new("ISSUER")),
        Some(Column::new("SCOPES")),
        Some(Column::new("VALID FOR")),
        Some(Column::state("STATE")),
        Some(Column::new("STORED IN")),
    ];
    let mut table = Table::new(columns.into_iter().flatten().collect::<Vec<_>>());
    for about in all {
        let cells = [
            Some(name(about)),
            shows_clients.then(|| about.client_id.clone().unwrap_or_default()),
            Some(about.issuer.clone()),
            Some(about.scopes.join(" ")),
            Some(format_expiry(about)),
            Some(shown_state(about).to_owned()),
            Some(shown_location(&store.location_of(&about.key))),
        ];
        table.add_row(cells.into_iter().flatten().map(Cell::new));
    }
    context.ui.print_table(&table)?;
    if all.is_empty() {
        context.ui.note(&format!("no credentials in {}", shown_location(place)));
    }
    Ok(())
}
