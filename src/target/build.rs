//! Builds a target: from options alone, or from a configured entry and options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bundle;
use super::options::TargetOptions;
use super::parse::{self, ParsedUrl};
use super::types::{Target, TargetFlags};
use crate::config::Config;
use crate::config::keys::AppliesTo;
use crate::config::oauth::OAuthSettings;
use crate::config::origin::ConfigDiagnostic;
use crate::config::paths::absolute_path;
use crate::config::paths::resolve_path;
use crate::config::policy::ToolPolicy;
use crate::config::settings::{Defaults, ServerSettings};
use crate::config::value::read::{InheritEnv, Spanned};
use crate::env::{Environment, is_mcpipe_variable, is_same_variable};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::revision::RevisionPin;
use crate::secret::Secret;
use crate::transport::replay::Recording;
use crate::transport::{Endpoint, HttpEndpoint, InheritedEnv, StdioEndpoint, TlsOptions, UnixEndpoint};
use crate::util::quoting;

/// The target of a command line.
pub fn target_from_command(
    words: &[String],
    options: &TargetOptions,
    environment: &Environment,
    defaults: Defaults,
) -> Result<Target> {
    let name = quoting::join(words.iter().map(String::as_str));
    reject_flags_for_stdio(options, &name)?;
    let Some((program, args)) = words.split_first().filter(|(program, _)| !program.is_empty()) else {
        return Err(Failure::new(ErrorKind::Usage, "no program after `--`"));
    };
    let mut endpoint = StdioEndpoint {
        program: program.clone(),
        args: args.to_vec(),
        inherited_env: inherited_environment(environment, &InheritEnv::All, &[]),
        env: server_variables(&[], options)?,
        cwd: working_directory(options, environment, None)?,
    };
    let bundle = bundle::resolve(&mut endpoint, environment)?.map(Arc::new);
    let target = ad_hoc_target(name, Endpoint::Stdio(endpoint), options, defaults, Vec::new())?;
    Ok(Target { bundle, ..target })
}

/// The target of a URL.
pub fn target_from_url(
    text: &str,
    options: &TargetOptions,
    environment: &Environment,
    defaults: Defaults,
) -> Result<Target> {
    if let Some(path) = parse::unix_socket_path(text) {
        let resolve = |path: &str| absolute_path(environment, Path::new(&environment.expand_tilde(path)));
        let endpoint = unix_endpoint(path, options, resolve).map_err(|why| Failure::new(ErrorKind::Usage, why))?;
        let name = format!("unix:{}", endpoint.path.display());
        return ad_hoc_target(name, Endpoint::Unix(endpoint), options, defaults, Vec::new());
    }
    if let Some(path) = parse::recording_path(text) {
        let file = check_recording(path, options).map(|()| environment.expand_tilde(path))?;
        let recording = Recording::open(&file, true)?;
        return ad_hoc_target(format!("replay:{path}"), Endpoint::Replay(recording), options, defaults, Vec::new());
    }
    let place = parse::parse_url(text).map_err(|why| Failure::new(ErrorKind::Usage, why))?;
    reject_flags_for_url(options, &place.display_url, place.url.scheme())?;
    if parse::is_plaintext_to_remote(&place.url) && !options.allow_http && options.unix_socket.is_none() {
        return Err(Failure::new(ErrorKind::Usage, plaintext_message(&place))
            .cause("anyone on the network path can read and change everything, including tokens")
            .hint(format!("use {}s://, or add --allow-http", place.url.scheme())));
    }
    let name = place.display_url.clone();
    let headers = flag_headers(options, environment)?;
    let (endpoint, warnings) = http_endpoint(place, Vec::new(), headers, None, options, environment)?;
    let endpoint = http_or_websocket(endpoint);
    ad_hoc_target(name, endpoint, options, defaults, warnings)
}

/// The error for a URL whose traffic is not encrypted.
fn plaintext_message(place: &ParsedUrl) -> String {
    format!("{} is unencrypted {} to another host", place.display_url, place.url.scheme())
}

/// Checks a recording as target: FILE, or `FILE#SERVER` for one of several servers.
fn check_recording(text: &str, options: &TargetOptions) -> Result<()> {
    if let Some(name) = option_of_one_kind(options) {
        return Err(usage(format!("{name} does not apply to a recording")));
    }
    if text.is_empty() {
        return Err(usage("replay: has no file".to_owned()).hint("name a recording: replay:FILE"));
    }
    Ok(())
}

/// The target of a Unix socket; `resolve` makes its path absolute.
fn unix_endpoint(
    path: &str,
    options: &TargetOptions,
    resolve: impl Fn(&str) -> PathBuf,
) -> Result<UnixEndpoint, String> {
    if path.is_empty() {
        return Err("unix: has no path; use unix:/run/server.sock".to_owned());
    }
    match option_of_one_kind(options) {
        Some(name) => Err(format!("{name} does not apply to a unix: target")),
        None => Ok(UnixEndpoint { path: resolve(path) }),
    }
}

fn ad_hoc_target(
    name: String,
    endpoint: Endpoint,
    options: &TargetOptions,
    defaults: Defaults,
    warnings: Vec<String>,
) -> Result<Target> {
    Ok(Target {
        name,
        is_configured: false,
        endpoint,
        bundle: None,
        protocol: protocol_pin(options)?.unwrap_or_default(),
        timeout: defaults.timeout,
        connect_timeout: defaults.connect_timeout,
        roots: Vec::new(),
        policy: ToolPolicy {
            confirm: defaults.confirm.unwrap_or_default(),
            read_only: options.read_only,
            ..ToolPolicy::default()
        },
        auth: OAuthSettings::default(),
        bearer: None,
        credential_store: defaults.credential_store,
        warnings,
        flags: TargetFlags::default(),
        keep_alive: None,
        reference: None,
    })
}

/// Why a configured entry cannot be used as a target.
pub(super) enum EntryError {
    /// A value of the entry is wrong.
    Entry(ConfigDiagnostic),
    /// Something else: an option of the command line, or the server's working directory.
    Other(Failure),
}

impl From<ConfigDiagnostic> for EntryError {
    fn from(diagnostic: ConfigDiagnostic) -> Self {
        EntryError::Entry(diagnostic)
    }
}

impl From<Failure> for EntryError {
    fn from(failure: Failure) -> Self {
        EntryError::Other(failure)
    }
}

/// The target of a configured entry.
pub(super) fn target_from_config(
    name: &str,
    settings: ServerSettings,
    options: &TargetOptions,
    environment: &Environment,
    config: &Config,
) -> Result<Target, EntryError> {
    let mut bundle = None;
    let (endpoint, mut warnings) = match (&settings.url, &settings.command) {
        (Some(url), _) => configured_url_endpoint(name, &settings, url, options, environment)?,
        (None, Some(program)) => {
            reject_flags_for_stdio(options, name)?;
            let own = config.secret_variables();
            let mut endpoint = StdioEndpoint {
                program: program.value.clone(),
                args: settings.args.clone(),
                inherited_env: inherited_environment(environment, &settings.inherit_env, &own),
                env: server_variables(&settings.env, options)?,
                cwd: working_directory(options, environment, Some(&settings))?,
            };
            bundle = bundle::resolve(&mut endpoint, environment)?.map(Arc::new);
            (Endpoint::Stdio(endpoint), Vec::new())
        }
        (None, None) => {
            return Err(Failure::new(ErrorKind::Config, format!("'{name}' has neither 'url' nor 'command'")).into());
        }
    };
    warnings.splice(0..0, config.skip_warnings().chain(config.warnings.iter().cloned()));
    Ok(Target {
        name: name.to_owned(),
        is_configured: true,
        endpoint,
        bundle,
        protocol: protocol_pin(options)?.unwrap_or(settings.protocol),
        timeout: settings.timeout,
        connect_timeout: settings.connect_timeout,
        roots: settings.roots,
        policy: ToolPolicy { read_only: settings.policy.read_only || options.read_only, ..settings.policy },
        auth: settings.auth,
        bearer: settings.bearer,
        credential_store: config.defaults.credential_store.clone(),
        warnings,
        flags: TargetFlags::default(),
        keep_alive: settings.keep_alive,
        reference: None,
    })
}

fn configured_url_endpoint(
    name: &str,
    settings: &ServerSettings,
    url: &Spanned<Secret>,
    options: &TargetOptions,
    environment: &Environment,
) -> Result<(Endpoint, Vec<String>), EntryError> {
    let fault =
        |at: usize, message: String| ConfigDiagnostic::at(&settings.source, at, format!("{message} ('{name}')"));
    if let Some(path) = parse::unix_socket_path(url.value.reveal()) {
        let resolve = |path: &str| resolve_path(environment, &settings.source, path);
        let endpoint = unix_endpoint(path, options, resolve).map_err(|why| fault(url.offset, why))?;
        return Ok((Endpoint::Unix(endpoint), Vec::new()));
    }
    if let Some(path) = parse::recording_path(url.value.reveal()) {
        check_recording(path, options)?;
        let file = resolve_path(environment, &settings.source, path).display().to_string();
        return Ok((Endpoint::Replay(Recording::open(&file, false)?), Vec::new()));
    }
    let place = parse::parse_url(url.value.reveal()).map_err(|why| fault(url.offset, why))?;
    reject_flags_for_url(options, name, place.url.scheme())?;
    let socket = options.unix_socket.is_some() || settings.unix_socket.is_some();
    if parse::is_plaintext_to_remote(&place.url) && !(options.allow_http || settings.allow_http || socket) {
        return Err(fault(url.offset, plaintext_message(&place))
            .hint(format!("use {}s://, or set allow_http = true in the entry", place.url.scheme()))
            .into());
    }
    let mut headers = Vec::new();
    for (name, set) in &settings.headers {
        parse::validate_header(name, set.value.reveal()).map_err(|why| fault(set.offset, why))?;
        headers.push((name.clone(), set.value.clone()));
    }
    let flags = flag_headers(options, environment)?;
    let is_replaced = flags.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if let Some(variable) = settings.bearer_env.as_ref().filter(|_| !is_replaced) {
        let token = parse::bearer_header_from_env(&variable.value, environment).map_err(|why| {
            let hint = format!("set {}, or use another variable with --bearer-env", variable.value);
            fault(variable.offset, why).hint(hint)
        })?;
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            let message = "'bearer_env' and a header 'Authorization' are both set".to_owned();
            return Err(fault(variable.offset, message).into());
        }
        headers.push(("Authorization".to_owned(), token));
    }
    let (mut endpoint, warnings) = http_endpoint(place, headers, flags, Some(settings), options, environment)?;
    if let (None, Some(set)) = (&endpoint.proxy, &settings.proxy) {
        let proxy = parse::parse_proxy(set.value.reveal()).map_err(|why| fault(set.offset, why))?;
        endpoint.proxy = Some(proxy);
    }
    Ok((http_or_websocket(endpoint), warnings))
}

fn http_or_websocket(endpoint: HttpEndpoint) -> Endpoint {
    if endpoint.url.scheme().starts_with("ws") { Endpoint::WebSocket(endpoint) } else { Endpoint::Http(endpoint) }
}

/// Headers of options replace configured ones with the same name, and any `Authorization` replaces that of the URL's
/// password. Its proxy is that of `--proxy`.
fn http_endpoint(
    place: ParsedUrl,
    mut headers: Vec<(String, Secret)>,
    flags: Vec<(String, Secret)>,
    settings: Option<&ServerSettings>,
    options: &TargetOptions,
    environment: &Environment,
) -> Result<(HttpEndpoint, Vec<String>)> {
    headers.retain(|(name, _)| !flags.iter().any(|(flag, _)| flag.eq_ignore_ascii_case(name)));
    headers.extend(flags);
    let authorized = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    headers.extend(place.basic_auth.filter(|_| !authorized).map(|basic| ("Authorization".to_owned(), basic)));
    let configured = |get: fn(&ServerSettings) -> Option<PathBuf>| settings.and_then(get);
    let insecure = options.insecure || settings.is_some_and(|settings| settings.insecure);
    let mut warnings = Vec::new();
    if insecure && matches!(place.url.scheme(), "https" | "wss") {
        warnings.push(format!(
            "the certificate of {} is NOT verified: anyone on the network path can read and change everything",
            place.url.host_str().unwrap_or_default()
        ));
    }
    // A certificate given as an option comes with its own key.
    let cert = options.cert.clone().or_else(|| configured(|settings| settings.cert.clone()));
    let key = match &options.cert {
        Some(_) => options.key.clone(),
        None => options.key.clone().or_else(|| configured(|settings| settings.key.clone())),
    };
    let proxy = options.proxy.as_deref().map(parse::parse_proxy).transpose();
    let proxy = proxy.map_err(|why| Failure::new(ErrorKind::Usage, why))?;
    let endpoint = HttpEndpoint {
        url: place.url,
        headers,
        mode: (options.transport.or_else(|| settings.and_then(|settings| settings.transport))).unwrap_or_default(),
        tls: TlsOptions {
            cacert: options.cacert.clone().or_else(|| configured(|settings| settings.cacert.clone())),
            cert,
            key,
            insecure,
        },
        proxy,
        unix_socket: (options.unix_socket.as_ref().map(|path| absolute_path(environment, path)))
            .or_else(|| configured(|settings| settings.unix_socket.clone())),
        no_cookies: options.no_cookies || settings.is_some_and(|settings| settings.no_cookies),
    };
    Ok((endpoint, warnings))
}

/// The headers of `--header` and `--bearer-env`.
fn flag_headers(options: &TargetOptions, environment: &Environment) -> Result<Vec<(String, Secret)>> {
    let mut headers = Vec::new();
    for (index, text) in options.headers.iter().enumerate() {
        headers.extend(parse::parse_header_flag(text, index + 1)?);
    }
    if let Some(variable) = &options.bearer_env {
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            return Err(Failure::new(
                ErrorKind::Usage,
                "--bearer-env and --header Authorization cannot be used together",
            ));
        }
        let token = parse::bearer_header_from_env(variable, environment).map_err(|why| {
            let hint = format!("set {variable}, or use another variable with --bearer-env");
            Failure::new(ErrorKind::Config, why).hint(hint)
        })?;
        headers.push(("Authorization".to_owned(), token));
    }
    Ok(headers)
}

fn protocol_pin(options: &TargetOptions) -> Result<Option<RevisionPin>> {
    let parse = |text: &String| {
        RevisionPin::parse(text).map_err(|why| Failure::new(ErrorKind::Usage, format!("--protocol: {why}")))
    };
    options.protocol.as_ref().map(parse).transpose()
}

/// Variables that every child process inherits: on Windows, sockets and random numbers do not work without them.
const REQUIRED_VARIABLES: &[&str] = if cfg!(windows) { &["SYSTEMROOT"] } else { &[] };

/// What a child process inherits: everything except mcpipe's own secrets, or what the entry names.
fn inherited_environment(environment: &Environment, inherit: &InheritEnv, own: &[String]) -> InheritedEnv {
    let ours = |name: &str| is_mcpipe_variable(name) || own.iter().any(|own| is_same_variable(own, name));
    let only = |wanted: &dyn Fn(&str) -> bool| {
        let needed = |name: &str| REQUIRED_VARIABLES.iter().any(|needed| is_same_variable(needed, name));
        let some = environment.iter().filter(|(name, _)| wanted(name) || needed(name));
        InheritedEnv::Only(some.map(|(name, value)| (name.to_owned(), Secret::new(value))).collect())
    };
    match inherit {
        InheritEnv::All => {
            let names = environment.iter().map(|(name, _)| name).filter(|name| ours(name));
            InheritedEnv::AllBut(names.map(ToOwned::to_owned).collect())
        }
        InheritEnv::Nothing => only(&|_| false),
        // A variable that the entry names is meant for the server, even if others use it too.
        InheritEnv::Only(names) => {
            only(&|name| names.iter().any(|wanted| is_same_variable(wanted, name)) && !is_mcpipe_variable(name))
        }
    }
}

/// The variables that are set for this server: the entry's, overridden by those of options.
fn server_variables(configured: &[(String, Secret)], options: &TargetOptions) -> Result<BTreeMap<String, Secret>> {
    let mut all: BTreeMap<String, Secret> = configured.iter().cloned().collect();
    for (index, text) in options.env.iter().enumerate() {
        let (name, value) = parse::parse_variable(text, index + 1)?;
        all.insert(name, value);
    }
    Ok(all)
}

fn working_directory(
    options: &TargetOptions,
    environment: &Environment,
    settings: Option<&ServerSettings>,
) -> Result<Option<PathBuf>> {
    if let Some(flag) = &options.cwd {
        let path = absolute_path(environment, flag);
        parse::check_directory(&path).map_err(|why| {
            Failure::new(ErrorKind::Usage, format!("--cwd: {why}")).hint("name a directory that exists")
        })?;
        return Ok(Some(path));
    }
    let Some((settings, cwd)) = settings.and_then(|settings| Some((settings, settings.cwd.clone()?))) else {
        return Ok(None);
    };
    parse::check_directory(&cwd).map_err(|why| {
        Failure::new(ErrorKind::Config, format!("cannot start the server: {why}"))
            .cause(format!("'cwd' is configured in {}", settings.source.display_path))
            .hint("check the configuration: mcpipe config check")
    })?;
    Ok(Some(cwd))
}

/// Rejects options that do not apply to a command.
fn reject_flags_for_stdio(options: &TargetOptions, name: &str) -> Result<()> {
    let Some(given) = options.given().find(|given| given.applies_to == AppliesTo::Url) else { return Ok(()) };
    let failure = usage(format!("{} applies only to a URL, but '{name}' is a command", given.name));
    Err(match given.name {
        "--header" | "--bearer-env" => {
            failure.hint("pass secrets to a server process in its environment: --env KEY=VALUE")
        }
        _ => failure,
    })
}

/// Rejects options that do not apply to this URL.
fn reject_flags_for_url(options: &TargetOptions, name: &str, scheme: &str) -> Result<()> {
    if let Some(given) = options.given().find(|given| given.applies_to == AppliesTo::Command) {
        let failure = usage(format!("{} applies only to a command, but '{name}' is a URL", given.name));
        return Err(match given.name {
            "--env" => failure.hint("to send a header with each request: --header 'Name: value'"),
            _ => failure,
        });
    }
    if scheme.starts_with("ws") && options.transport.is_some() {
        return Err(usage("--transport does not apply to a WebSocket"));
    }
    if options.unix_socket.is_some() && options.proxy.as_ref().is_some_and(|proxy| !proxy.is_empty()) {
        return Err(usage("--proxy and --unix-socket cannot be used together"));
    }
    Ok(())
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Usage, message)
}

/// An option that applies only to a command or only to a URL.
fn option_of_one_kind(options: &TargetOptions) -> Option<&'static str> {
    options.given().find(|given| given.applies_to != AppliesTo::Both).map(|given| given.name)
}
