//! `auth login`: obtain credentials, and check that the server accepts them.

use std::path::PathBuf;
use std::time::Duration;

use super::super::credentials::LoginOptions;
use super::super::{Context, Exit};
use super::shared::{format_expiry, login_json, own_credentials_failure, refuse_unused_login, resolve_http_target};
use crate::auth::credentials::Credentials;
use crate::auth::{BrowserMode, Grant, LOGIN_TIMEOUT, OAuthSettings, TokenProvider};
use crate::cli::AuthLoginArgs;
use crate::commands::timeouts::effective_timeout;
use crate::config::oauth::{ClientAuthMethod, RedirectUri, ResourceParameter, SigningAlgorithm, check_param_name};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::views::ListKind;
use crate::secret::Secret;
use crate::session::{CachePolicy, Session};
use crate::target::Target;
use crate::util::home::shown_location;
use crate::util::quoting::quote;
use crate::util::when::When;

/// Logs in.
///
/// # Errors
/// If the login fails or cannot be stored, or the server does not accept it.
pub async fn run(context: &Context, args: AuthLoginArgs) -> Result<Exit> {
    let word = args.target.as_deref().unwrap_or_default();
    let (target, _) = resolve_http_target(context, word, &args.target_options).await?;
    if target.has_own_credentials() {
        return Err(own_credentials_failure(&target, "log in to"));
    }
    let settings = merge_settings(context, &args, &target)?;
    let timeout = effective_timeout(context.global.timeout, None, LOGIN_TIMEOUT).unwrap_or(Duration::MAX);
    let browser = if args.no_browser { BrowserMode::Manual } else { BrowserMode::Launch };
    let entry = LoginOptions {
        mode: When::Always,
        browser,
        timeout,
        force: true,
        settings: Some(settings),
        words: typed_words(&args),
    };
    let Some(gate) = context.token_provider(&target, entry)? else {
        return Err(Failure::new(ErrorKind::Bug, "no token provider for a URL"));
    };
    let (name, choice) = (target.name.clone(), target.credential_store.clone());
    let checked = probe_login(context, target.clone(), &gate).await;
    let (record, checked) = match (gate.credentials_from_this_run().await, checked) {
        (Some(record), checked) => (record, checked),
        (None, Err(failure)) if gate.has_tried_login().await || !may_follow_from_missing_login(&failure) => {
            return Err(failure.server(&name));
        }
        (None, checked) => Box::pin(log_in_without_challenge(context, target, &gate, checked))
            .await
            .map_err(|failure| failure.server(&name))?,
    };
    let checked = match checked {
        Err(failure) => evaluate_check(context, &name, &gate, failure).await,
        Ok(()) => Ok(()),
    };
    if let Some(failure) = gate.store_failure().await {
        return Err(failure.server(&name));
    }
    report(context, &name, choice.as_deref(), &record)?;
    checked.map(|()| Exit::Done).map_err(|failure| failure.server(&name))
}

/// Whether a server without a token can be expected to fail like this: with any response.
fn may_follow_from_missing_login(failure: &Failure) -> bool {
    let kinds = [ErrorKind::Auth, ErrorKind::Failed, ErrorKind::Protocol, ErrorKind::Unreachable];
    kinds.contains(&failure.kind()) && !failure.details().is_unsent
}

/// Logs in to a server that did not ask for it: it accepts requests without a token, or refuses them in a way of its
/// own.
async fn log_in_without_challenge(
    context: &Context,
    target: Target,
    gate: &TokenProvider,
    checked: Result<()>,
) -> Result<(Credentials, Result<()>)> {
    let (name, list) = (target.name.clone(), target.command_line("list", &[]));
    let found = context.interrupt.run_until_interrupted(gate.log_in()).await?;
    match (found, checked) {
        (Ok(Some(record)), Ok(())) => Ok((record, Ok(()))),
        (Ok(Some(record)), Err(_)) => Ok((record, probe_login(context, target, gate).await)),
        (Ok(None), Err(refusal)) => Err(refusal),
        (Ok(None), Ok(())) => Err(Failure::new(ErrorKind::Usage, format!("{name} does not require a login"))
            .cause("it accepts requests without one and names no authorization server")
            .hint(format!("use it without a login: {list}"))),
        // The server does not work; that its metadata cannot be fetched either adds nothing.
        (Err(failure), Err(refusal))
            if [&failure, &refusal].iter().all(|one| one.kind() == ErrorKind::Unreachable)
                && !gate.has_tried_login().await =>
        {
            Err(refusal)
        }
        (Err(failure), _) => Err(failure),
    }
}

/// Lists the tools of the server, so that it requires a login, and shows whether it accepts the login.
async fn probe_login(context: &Context, target: Target, gate: &TokenProvider) -> Result<()> {
    let progress = context.progress(&format!("asking {}", target.name));
    let session = context.session_with_provider(target, Some(gate), Some(progress.clone()))?;
    let ask = async |session: &Session| session.list(ListKind::Tools, CachePolicy::Bypass).await.map(|_| ());
    progress.show_during(context.with_session(session, ask)).await
}

/// The outcome of a login whose check failed. Warns if the server could not be asked.
async fn evaluate_check(context: &Context, name: &str, gate: &TokenProvider, failure: Failure) -> Result<()> {
    match failure.kind() {
        kind if kind.is_interrupt() => return Err(failure),
        ErrorKind::Auth if gate.is_login_refused().await => return Err(failure),
        // A server without tools, or one that requires more scopes to list them.
        ErrorKind::Failed | ErrorKind::Auth => {}
        _ => context.ui.warn(&format!("logged in to {name}, but could not check the login: {failure}")),
    }
    Ok(())
}

fn report(context: &Context, name: &str, choice: Option<&str>, record: &Credentials) -> Result<()> {
    let store = context.credential_store(choice)?;
    let about = record.summary(Some(name));
    let stored = store.list()?.into_iter().find(|one| one.key == about.key);
    let about = stored.unwrap_or(about);
    if context.ui.is_json() {
        return context.ui.print_json_value(&login_json(&about, &*store));
    }
    context.ui.note(&format!(
        "Logged in to {name} at {}. The token is valid for: {}. It is stored in {}.",
        record.issuer,
        format_expiry(&about),
        shown_location(&store.location_of(&about.key)),
    ));
    Ok(())
}

/// The options that say how to log in, as they were typed.
fn typed_words(args: &AuthLoginArgs) -> Vec<String> {
    let typed = &args.oauth;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let values = [
        ("--client-id", typed.client_id.clone()),
        ("--client-secret-env", typed.client_secret_env.clone()),
        ("--redirect-port", typed.redirect_port.map(|port| port.to_string())),
        ("--redirect-uri", typed.redirect_uri.clone()),
        ("--client-metadata-url", typed.client_metadata_url.clone()),
        // Hints may add `--device`, which excludes it.
        ("--grant", typed.grant.clone().filter(|grant| grant != Grant::default().as_str())),
        ("--private-key", path(&typed.private_key)),
        ("--issuer", typed.issuer.clone()),
        ("--client-name", args.client_name.clone()),
        ("--signing-algorithm", args.signing_algorithm.clone()),
        ("--token-endpoint-auth-method", args.token_endpoint_auth_method.clone()),
        ("--assertion-file", path(&args.assertion_file)),
        ("--resource", args.resource.clone()),
    ];
    let scopes = typed.scopes.iter().map(|scope| ("--scope", Some(scope.clone())));
    let params = args.auth_params.iter().map(|(name, value)| ("--auth-param", Some(format!("{name}={value}"))));
    let flags = [
        ("--no-browser", args.no_browser),
        ("--device", args.device),
        ("--no-resource", args.no_resource),
        ("--dpop", args.dpop),
    ];
    let values = values.into_iter().chain(scopes).chain(params);
    let values = values.filter_map(|(option, value)| Some(format!("{option} {}", quote(&value?))));
    let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag.to_owned());
    flags.chain(values).collect()
}

/// The settings of the command line over those of the configuration.
fn merge_settings(context: &Context, args: &AuthLoginArgs, target: &Target) -> Result<OAuthSettings> {
    let (typed, under) = (&args.oauth, target.auth.clone());
    let (client_id, issuer) = (typed.client_id.as_deref(), typed.issuer.as_deref());
    refuse_unused_login(target, ("--client-id", client_id), ("--issuer", issuer))?;
    let secret = match &typed.client_secret_env {
        Some(variable) => Some(context.env.get(variable).map(Secret::new).ok_or_else(|| {
            Failure::new(ErrorKind::Config, format!("the variable {variable} is not set"))
                .cause("--client-secret-env names it")
        })?),
        // The configured secret belongs to the configured client.
        None => under.client_secret.filter(|_| typed.client_id.is_none()),
    };
    let grant = match &typed.grant {
        _ if args.device => Some(Grant::DeviceCode),
        Some(word) => Grant::parse(word),
        None => None,
    };
    let path = |file: &std::path::Path| context.env.cwd().map_or_else(|| file.to_owned(), |cwd| cwd.join(file));
    let scopes: Vec<String> =
        typed.scopes.iter().flat_map(|words| words.split_whitespace()).map(ToOwned::to_owned).collect();
    let method = args.token_endpoint_auth_method.as_deref().and_then(ClientAuthMethod::parse);
    if let Some(wrong) = typed.redirect_uri.as_deref().and_then(|uri| RedirectUri::parse(uri).err()) {
        return Err(Failure::new(ErrorKind::Usage, format!("--redirect-uri {wrong}")));
    }
    for (name, _) in &args.auth_params {
        check_param_name(name).map_err(|why| Failure::new(ErrorKind::Usage, format!("--auth-param: {why}")))?;
    }
    let settings = OAuthSettings {
        client_id: typed.client_id.clone().or(under.client_id),
        client_secret: secret,
        scopes: if typed.scopes.is_empty() { under.scopes } else { Some(scopes) },
        grant: grant.or(under.grant),
        issuer: typed.issuer.clone().or(under.issuer),
        client_name: args.client_name.clone().or(under.client_name),
        client_metadata_url: typed.client_metadata_url.clone().or(under.client_metadata_url),
        redirect_port: typed.redirect_port.or(under.redirect_port),
        // An option takes the place of either setting.
        redirect_uri: typed.redirect_uri.clone().or(under.redirect_uri.filter(|_| typed.redirect_port.is_none())),
        token_endpoint_auth_method: method.or(under.token_endpoint_auth_method),
        private_key_file: typed.private_key.as_deref().map(path).or(under.private_key_file),
        signing_algorithm: args
            .signing_algorithm
            .as_deref()
            .and_then(SigningAlgorithm::parse)
            .or(under.signing_algorithm),
        assertion_file: args.assertion_file.as_deref().map(path).or(under.assertion_file),
        resource: match &args.resource {
            _ if args.no_resource => Some(ResourceParameter::Omitted),
            Some(stated) => Some(ResourceParameter::Stated(stated.clone())),
            None => under.resource,
        },
        params: under.params.into_iter().chain(args.auth_params.iter().cloned()).collect(),
        dpop: args.dpop.then_some(true).or(under.dpop),
        ..under
    };
    check_settings(&settings, target)?;
    Ok(settings)
}

/// Rejects settings that cannot work, before any request.
fn check_settings(settings: &OAuthSettings, target: &Target) -> Result<()> {
    if settings.client_id.is_some() {
        return Ok(());
    }
    let needs = |what: &str| Failure::new(ErrorKind::Usage, format!("{what} needs a client ID"));
    if settings.grant() == Grant::ClientCredentials {
        let words = ["--grant", "client-credentials", "--client-id", "ID", "--client-secret-env", "VAR"];
        return Err(needs("the grant client-credentials").hint(target.command_line("auth login", &words)));
    }
    if settings.client_secret.is_some() || settings.private_key_file.is_some() {
        return Err(needs("a secret or a key").hint("set it with --client-id ID, or client_id in [servers.NAME.auth]"));
    }
    Ok(())
}
