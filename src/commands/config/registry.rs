//! `config add NAME registry:WHICH`: the settings of a server from its description (`server.json`) in a registry, at a
//! URL, or in a file.

use std::pin::pin;

use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::context::ConfigContext;
use super::report::escape_untrusted;
use crate::auth::http_client::{OAuthHttpClient, ResponseLimits};
use crate::cli::ConfigAddArgs;
use crate::commands::context::Context;
use crate::commands::runtime::block_on;
use crate::config::LazyConfig;
use crate::config::server_json::{DescribedServer, ServerJsonError, read_server_json};
use crate::config::value::secrets::Secrets;
use crate::env::{CONFIG, REGISTRY};
use crate::error::{ErrorKind, Failure, Result};
use crate::target::{TargetName, TargetOptions};
use crate::transport::HttpMode;
use crate::util::bounded_read::{self, MAX_FILE};
use crate::util::json_error::json_fault_at;
use crate::util::uri_template::EXCEPT_UNRESERVED;

/// The registry that the MCP project runs.
const OFFICIAL_REGISTRY: &str = "https://registry.modelcontextprotocol.io";

/// The same arguments with the URL or the command line of the described server, and what to say about it; `None` if the
/// target is not `registry:`.
pub(super) fn resolve(
    context: &ConfigContext<'_>,
    args: &ConfigAddArgs,
) -> Result<Option<(ConfigAddArgs, Vec<String>)>> {
    let Some(which) = args.target.as_deref().and_then(|target| target.strip_prefix("registry:")) else {
        return Ok(None);
    };
    let document = read_document(context, args, which)?;
    let server = read_server_json(&document, &args.name).map_err(|error| unusable(which, &error))?;
    let mut notes = vec![format!("{}:", escape_untrusted(&server.title))];
    notes.extend(server.inputs.iter().map(|input| {
        let verb = if input.is_required { "set" } else { "you may set" };
        let description = if input.description.is_empty() { String::new() } else { format!(": {}", input.description) };
        escape_untrusted(&format!("  {verb} {}{description}", input.variable))
    }));
    notes.truncate(if server.inputs.is_empty() { 0 } else { usize::MAX });
    Ok(Some((with_server(args, server), notes)))
}

/// As if the user had typed what the description says; options of the user override it.
fn with_server(args: &ConfigAddArgs, server: DescribedServer) -> ConfigAddArgs {
    let mut args = args.clone();
    let headers = server.headers.into_iter().map(|(name, value)| format!("{name}: {value}"));
    let env = server.env.into_iter().map(|(name, value)| format!("{name}={value}"));
    let options = &mut args.target_options;
    options.headers = headers.chain(std::mem::take(&mut options.headers)).collect();
    options.env = env.chain(std::mem::take(&mut options.env)).collect();
    if server.is_sse {
        options.transport.get_or_insert(HttpMode::Sse);
    }
    args.target = server.url;
    args.command = server.command;
    args
}

fn read_document(context: &ConfigContext<'_>, args: &ConfigAddArgs, which: &str) -> Result<Value> {
    let is_file = which.starts_with(['.', '/', '~']) || (which.ends_with(".json") && !which.contains("://"));
    let bytes = if is_file {
        let path = context.environment.expand_tilde(which);
        bounded_read::read(&path, MAX_FILE)
            .map_err(|error| Failure::new(ErrorKind::Config, format!("cannot read {path}")).cause(error.to_string()))?
    } else {
        let url = if which.contains("://") { which.to_owned() } else { registry_url(context, which) };
        (context.fetch)(&url, &args.target_options)?
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(ErrorKind::Config, format!("the server description from {which} is not JSON"))
            .cause(json_fault_at(&error))
            .hint("name the URL or the file of a server.json: registry:URL or registry:./server.json")
    })
}

/// Where a registry has the description of `NAME` or `NAME@VERSION`.
fn registry_url(context: &ConfigContext<'_>, which: &str) -> String {
    let (name, version) = which.rsplit_once('@').unwrap_or((which, "latest"));
    let base = context.environment.get(REGISTRY).unwrap_or(OFFICIAL_REGISTRY).trim_end_matches('/');
    let encode = |text| utf8_percent_encode(text, EXCEPT_UNRESERVED).to_string();
    format!("{base}/v0.1/servers/{}/versions/{}", encode(name), encode(version))
}

fn unusable(which: &str, error: &ServerJsonError) -> Failure {
    match error {
        ServerJsonError::NotServerJson => {
            Failure::new(ErrorKind::Config, format!("'{which}' does not describe a server"))
                .cause("a server.json of the MCP registry has at least a name")
        }
        ServerJsonError::Unsupported(kinds) => {
            let kinds = if kinds.is_empty() { "nothing".to_owned() } else { escape_untrusted(&kinds.join(", ")) };
            Failure::new(ErrorKind::Config, format!("'{which}' cannot be used by mcpipe"))
                .cause(format!("it offers {kinds}; mcpipe uses streamable-http and sse servers with an http or https URL, and packages of npm, pypi, nuget and oci"))
        }
    }
}

/// The document at a URL. Of the target options only those that concern the connection apply: headers and credentials
/// are meant for the server.
///
/// # Errors
/// If there is none, or it cannot be fetched.
pub(super) fn fetch(context: &Context, url: &str, options: &TargetOptions) -> Result<Vec<u8>> {
    let options = TargetOptions {
        cacert: options.cacert.clone(),
        proxy: options.proxy.clone(),
        insecure: options.insecure,
        allow_http: options.allow_http,
        ..TargetOptions::default()
    };
    // The file that the variable names may not exist yet.
    let environment = context.env.without(CONFIG);
    let lookup = LazyConfig::new(&environment, None);
    let (name, _) = TargetName::split_off(&Some(url.to_owned()), &[], false, &lookup)?;
    let target = name.resolve(&options, &lookup, &Secrets::placeholders())?;
    let Some(endpoint) = target.endpoint.http_endpoint() else {
        return Err(Failure::new(ErrorKind::Usage, format!("'{url}' is not an HTTP URL")));
    };
    let timeout = context.connect_timeout(&target);
    let client = OAuthHttpClient::new(&endpoint, timeout, ResponseLimits::default(), context.trace()?);
    client.allow_host(url);
    let response = block_on(&context.interrupt, pin!(context.interrupt.run_until_interrupted(client.get(url))))???;
    match response.status {
        200..300 => Ok(response.body),
        404 => Err(Failure::new(ErrorKind::Config, format!("no server was found at {}", response.url))
            .cause("it answered with HTTP 404")
            .hint("check the name, the version or the URL: registry:NAME, registry:NAME@VERSION or registry:URL")),
        status => Err(Failure::new(ErrorKind::Unreachable, format!("{} answered with HTTP {status}", response.url))
            .hint("try again later")),
    }
}
