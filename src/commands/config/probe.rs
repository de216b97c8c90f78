//! Connects to a server before its entry is written: `config add --check`.

use serde_json::{Value, json};

use crate::commands::context::Context;
use crate::commands::lists::{ListFilter, fetch_entries};
use crate::config::Config;
use crate::error::Result;
use crate::protocol::views::{ListKind, ServerInfo};
use crate::session::Session;
use crate::target::TargetOptions;
use crate::transport::Endpoint;
use crate::util::count::counted;
use crate::util::quoting;

/// A server's identity and what it offers.
#[derive(Clone, Debug, Default)]
pub struct ProbeResult {
    name: Option<String>,
    version: Option<String>,
    revision: Option<String>,
    transport: Option<String>,
    tools: Option<usize>,
    resources: Option<usize>,
    prompts: Option<usize>,
}

impl ProbeResult {
    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({
            "server": { "name": self.name, "version": self.version }, "revision": self.revision,
            "transport": self.transport, "tools": self.tools, "resources": self.resources, "prompts": self.prompts,
        })
    }

    /// For display.
    pub fn summary(&self) -> String {
        let name = self.name.as_deref().unwrap_or("the server");
        let version = self.version.iter().map(|version| format!(" {version}"));
        let revision = self.revision.iter().map(|revision| format!(" speaks {revision}"));
        let said: String = version.chain(revision).collect();
        let counts = [("tool", self.tools), ("resource", self.resources), ("prompt", self.prompts)];
        let counts: Vec<String> =
            counts.into_iter().filter_map(|(one, count)| count.map(|count| counted(count, one))).collect();
        format!("connected: {name}{said}, {}", counts.join(", "))
    }
}

/// Connects to a configured server and lists what it offers.
///
/// # Errors
/// Those of the connection, with their own error kinds.
pub async fn probe(context: &Context, config: &Config, name: &str) -> Result<ProbeResult> {
    let mut target = context.resolve_configured(config, name, &TargetOptions::default(), false).await?;
    target.warnings.iter().for_each(|warning| context.ui.warn(warning));
    // The server has no name yet that the next command could use.
    target.is_configured = false;
    target.name = match &target.endpoint {
        Endpoint::Http(http) | Endpoint::WebSocket(http) => http.url.to_string(),
        Endpoint::Replay(_) => target.name.clone(),
        Endpoint::Unix(unix) => format!("unix:{}", unix.path.display()),
        Endpoint::Stdio(stdio) => quoting::join(std::iter::once(&stdio.program).chain(&stdio.args).map(String::as_str)),
    };
    let progress = context.progress(&format!("connecting to {name}"));
    let session = context.session(target, Some(progress.clone()))?;
    let ask = async |session: &Session| {
        let mut counts = Vec::new();
        for kind in [ListKind::Tools, ListKind::Resources, ListKind::Prompts] {
            // Tools are listed in any case, since that shows that the server works.
            let asked = kind == ListKind::Tools || session.may_offer_list(kind).await;
            counts.push(if asked {
                Some(fetch_entries(context, session, kind, ListFilter::default()).await?.len())
            } else {
                None
            });
        }
        Ok((counts, session.connection_info().await))
    };
    let (counts, known) = progress.show_during(context.with_session(session, ask)).await?;
    let count = |at: usize| counts.get(at).copied().flatten();
    let probe = ProbeResult { tools: count(0), resources: count(1), prompts: count(2), ..ProbeResult::default() };
    let Some((ServerInfo { name, version, .. }, revision, wire)) = known else { return Ok(probe) };
    Ok(ProbeResult {
        name,
        version,
        revision: Some(revision.as_str().to_owned()),
        transport: Some(wire.as_str().to_owned()),
        ..probe
    })
}
