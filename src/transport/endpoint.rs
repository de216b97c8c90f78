//! Where a server is, and what a connection to it needs: plain values, made by `target`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::env::{PATH, is_same_variable, programs};
use crate::error::Result;
use crate::secret::Secret;
use crate::transport::connection::TransportKind;
use crate::transport::replay::Recording;
use crate::transport::url::http_url_of;

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A child process, over its standard streams.
    Stdio(StdioEndpoint),
    /// A URL with the scheme `http` or `https`.
    Http(HttpEndpoint),
    /// A URL with the scheme `ws` or `wss`; its mode is not used.
    WebSocket(HttpEndpoint),
    /// A Unix socket, with one message per line as over stdio.
    Unix(UnixEndpoint),
    /// A recording of an exchange with a server.
    Replay(Recording),
}

impl Endpoint {
    /// The transport that is tried first.
    #[must_use]
    pub fn transport_kind(&self) -> TransportKind {
        match self {
            Endpoint::Stdio(_) => TransportKind::Stdio,
            Endpoint::Http(endpoint) if endpoint.mode == HttpMode::Sse => TransportKind::Sse,
            Endpoint::Http(_) => TransportKind::Http,
            Endpoint::WebSocket(_) => TransportKind::WebSocket,
            Endpoint::Unix(_) => TransportKind::Unix,
            Endpoint::Replay(recording) => recording.transport_kind(),
        }
    }

    /// Where the first HTTP request goes, if there is one. A WebSocket connection begins with one too.
    #[must_use]
    pub fn http_endpoint(&self) -> Option<HttpEndpoint> {
        match self {
            Endpoint::Http(endpoint) => Some(endpoint.clone()),
            Endpoint::WebSocket(endpoint) => endpoint.with_http_url().ok(),
            Endpoint::Stdio(_) | Endpoint::Unix(_) | Endpoint::Replay(_) => None,
        }
    }
}

/// A server that is started as a child process.
#[derive(Clone, Debug, Default)]
pub struct StdioEndpoint {
    /// The program; a name without a slash is looked up in the child's `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it inherits from mcpipe's environment.
    pub inherited_env: InheritedEnv,
    /// The variables set for this server; they override inherited ones.
    pub env: BTreeMap<String, Secret>,
    /// Its working directory; mcpipe's own if `None`.
    pub cwd: Option<PathBuf>,
}

impl StdioEndpoint {
    /// The `PATH` of the child.
    #[must_use]
    pub fn search_path(&self) -> Option<OsString> {
        let is_path = |name: &&String| is_same_variable(name, PATH);
        let inherited = || match &self.inherited_env {
            InheritedEnv::Only(some) => {
                some.iter().find(|(name, _)| is_path(name)).map(|(_, path)| path.reveal().into())
            }
            InheritedEnv::AllBut(names) if names.iter().any(|name| is_path(&name)) => None,
            InheritedEnv::AllBut(_) => std::env::var_os(PATH),
        };
        let own = self.env.iter().find(|(name, _)| is_path(name)).map(|(_, path)| path.reveal().into());
        own.or_else(inherited)
    }

    /// The file to start as the program.
    #[must_use]
    pub fn resolved_program(&self) -> PathBuf {
        // On Unix the system searches `PATH` itself.
        let path = if cfg!(windows) { self.search_path() } else { None };
        programs::resolve_program(&self.program, self.cwd.as_deref(), path.as_deref())
    }
}

/// What a child inherits from mcpipe's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InheritedEnv {
    /// Everything except these variables. Nothing is copied if the list is empty.
    AllBut(Vec<String>),
    /// These variables only.
    Only(BTreeMap<String, Secret>),
}

impl Default for InheritedEnv {
    fn default() -> Self {
        InheritedEnv::AllBut(Vec::new())
    }
}

/// Which of the HTTP transports to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMode {
    /// Streamable HTTP; HTTP+SSE (2024-11-05) if the server supports only that.
    #[default]
    Auto,
    /// Streamable HTTP only.
    Streamable,
    /// HTTP+SSE only.
    Sse,
}

impl HttpMode {
    /// All modes.
    pub const ALL: [HttpMode; 3] = [HttpMode::Auto, HttpMode::Streamable, HttpMode::Sse];

    /// The word for it in `--transport` and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HttpMode::Auto => "auto",
            HttpMode::Streamable => "http",
            HttpMode::Sse => "sse",
        }
    }

    /// The mode of this [name](HttpMode::name).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// A server at a URL.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    /// The URL.
    pub url: reqwest::Url,
    /// Configured headers. They are sent to this origin only and never follow a redirect to another one.
    pub headers: Vec<(String, Secret)>,
    /// Which transport.
    pub mode: HttpMode,
    /// Certificates to trust and to present.
    pub tls: TlsOptions,
    /// A proxy for this endpoint; the usual variables if `None`.
    pub proxy: Option<Secret>,
    /// The Unix socket to connect to, instead of the URL's host and port. No proxy is used then.
    pub unix_socket: Option<PathBuf>,
    /// Whether the server's cookies are ignored.
    pub no_cookies: bool,
}

impl HttpEndpoint {
    /// The endpoint at this URL, without any options.
    #[must_use]
    pub fn new(url: reqwest::Url) -> Self {
        HttpEndpoint {
            url,
            headers: Vec::new(),
            mode: HttpMode::default(),
            tls: TlsOptions::default(),
            proxy: None,
            unix_socket: None,
            no_cookies: false,
        }
    }

    /// The endpoint of the HTTP request that opens a WebSocket connection: `ws` becomes `http`, `wss` becomes `https`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Usage`] if the URL cannot have such a scheme.
    pub(super) fn with_http_url(&self) -> Result<HttpEndpoint> {
        Ok(HttpEndpoint { url: http_url_of(&self.url)?, ..self.clone() })
    }
}

/// A server that listens on a Unix socket.
#[derive(Clone, Debug)]
pub struct UnixEndpoint {
    /// The socket.
    pub path: PathBuf,
}

/// How server certificates are verified, and which client certificate is presented.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Trust these certificate authorities (PEM) in addition to the system's.
    pub cacert: Option<PathBuf>,
    /// The client certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM); may be in the same file.
    pub key: Option<PathBuf>,
    /// Do not verify the server's certificate.
    pub insecure: bool,
}
