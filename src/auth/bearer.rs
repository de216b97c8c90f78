//! Bearer tokens from a file or from the CI system, which change while mcpipe runs (`bearer` in the configuration).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use crate::auth::clock::unix_seconds;
use crate::auth::credentials::is_token_of;
use crate::auth::http_client::OAuthHttpClient;
use crate::auth::interaction::UserInteraction;
use crate::config::bearer::{BearerSource, strip_bearer_scheme};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::challenge;
use crate::secret::Secret;
use crate::transport::{Authorize, BoxFuture, UnexpectedResponse};
use crate::util::home::shown_path;

/// The longest token file, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 << 10;
/// How long a token counts as new.
const NEW_TOKEN_AGE: Duration = Duration::from_secs(60);
/// How long before its end a token of the CI system is replaced, in seconds.
const EXPIRY_MARGIN: u64 = 30;

/// What the CI system sets in the environment of a job.
#[derive(Clone, Debug, Default)]
pub struct CiVariables {
    /// Where GitHub Actions issues ID tokens (`ACTIONS_ID_TOKEN_REQUEST_URL`).
    pub github_url: Option<String>,
    /// The token for requests to it (`ACTIONS_ID_TOKEN_REQUEST_TOKEN`).
    pub github_token: Option<Secret>,
    /// The URL of the GitLab instance (`CI_SERVER_URL`), which issues its ID tokens.
    pub gitlab_url: Option<String>,
    /// The values of variables that may be ID tokens: a GitLab job names the variables itself.
    pub values: Vec<Secret>,
}

/// Supplies the token of one server.
pub struct BearerProvider {
    source: BearerSource,
    server: Url,
    target_name: String,
    variables: CiVariables,
    http: OAuthHttpClient,
    user: Arc<dyn UserInteraction>,
    current: Mutex<CurrentToken>,
}

#[derive(Default)]
struct CurrentToken {
    token: Option<Secret>,
    /// What the file looked like when the token was read.
    file_stamp: Option<FileStamp>,
    /// When the token ends, in seconds since 1970.
    expires_at: Option<u64>,
    /// When the token was obtained because the one before it was refused.
    replaced_at: Option<Instant>,
}

/// What changes when a file is replaced or written.
type FileStamp = (Option<SystemTime>, u64, u64);

impl BearerProvider {
    /// Creates a provider. Nothing is read or requested yet.
    #[must_use]
    pub fn new(
        source: BearerSource,
        target_name: String,
        variables: CiVariables,
        http: OAuthHttpClient,
        user: Arc<dyn UserInteraction>,
    ) -> Self {
        let server = http.server().clone();
        BearerProvider { source, server, target_name, variables, http, user, current: Mutex::default() }
    }

    /// The token, read or requested again if it may have changed.
    async fn token(&self, current: &mut CurrentToken) -> Result<Secret> {
        match &self.source {
            BearerSource::File(path) => {
                let stamp = file_stamp(path).map_err(|error| unreadable(path, &error))?;
                if current.token.is_none() || current.file_stamp != Some(stamp) {
                    let path = path.clone();
                    // The file may be a pipe, whose other end takes its time.
                    let reading = tokio::task::spawn_blocking(move || read_token_file(&path));
                    let token = reading.await.unwrap_or_else(|error| {
                        Err(Failure::new(ErrorKind::Bug, "reading the token was aborted").caused_by(&error))
                    })?;
                    self.replace(current, token);
                    current.file_stamp = Some(stamp);
                }
            }
            BearerSource::GitHubOidc(audience) => {
                let fresh = current.expires_at.is_none_or(|at| unix_seconds() + EXPIRY_MARGIN < at);
                if current.token.is_none() || !fresh {
                    let token = self.request_github_token(audience).await?;
                    self.replace(current, token);
                }
            }
            BearerSource::GitLabOidc(audience) => {
                if current.token.is_none() {
                    let token = self.find_gitlab_token(audience)?;
                    self.replace(current, token);
                }
            }
        }
        Ok(current.token.clone().unwrap_or_default())
    }

    fn replace(&self, current: &mut CurrentToken, token: Secret) {
        self.user.register_secret(&token);
        current.expires_at = jwt_claims(token.reveal()).and_then(|claims| claims.get("exp")?.as_u64());
        current.token = Some(token);
    }

    /// An ID token of GitHub Actions
    /// (<https://docs.github.com/en/actions/reference/security/oidc>).
    async fn request_github_token(&self, audience: &str) -> Result<Secret> {
        let failed = || Failure::new(ErrorKind::Config, "cannot get an ID token of GitHub Actions");
        let (Some(url), Some(token)) = (&self.variables.github_url, &self.variables.github_token) else {
            return Err(failed()
                .cause("ACTIONS_ID_TOKEN_REQUEST_URL or ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set")
                .hint("run it in a job of GitHub Actions that has the permission `id-token: write`"));
        };
        let mut asked = Url::parse(url)
            .map_err(|error| failed().cause(format!("ACTIONS_ID_TOKEN_REQUEST_URL is not a URL: {error}")))?;
        asked.query_pairs_mut().append_pair("audience", audience);
        self.user.register_secret(token);
        self.http.allow_host(url);
        let response = self.http.get_with_token(asked.as_str(), token).await?;
        let document: Option<Value> = serde_json::from_slice(&response.body).ok();
        let text = |name: &str| document.as_ref()?.get(name)?.as_str().filter(|text| !text.is_empty());
        match text("value").filter(|_| response.status == 200) {
            Some(token) => Ok(Secret::new(token)),
            None => {
                let said = text("message").map(|text| format!(": {text}")).unwrap_or_default();
                let cause = format!("the issuer returned HTTP {} and no token{said}", response.status);
                Err(Failure::new(ErrorKind::Auth, "cannot get an ID token of GitHub Actions").cause(cause))
            }
        }
    }

    /// The ID token of a GitLab job that is for this audience
    /// (<https://docs.gitlab.com/ci/secrets/id_token_authentication/>).
    fn find_gitlab_token(&self, audience: &str) -> Result<Secret> {
        let is_wanted = |token: &&Secret| {
            let Some(claims) = jwt_claims(token.reveal()) else { return false };
            let issued_here = match (&self.variables.gitlab_url, claims.get("iss").and_then(Value::as_str)) {
                (Some(here), Some(issuer)) => issuer.trim_end_matches('/') == here.trim_end_matches('/'),
                _ => false,
            };
            let for_audience = match claims.get("aud") {
                Some(Value::String(one)) => one == audience,
                Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
                _ => false,
            };
            issued_here && for_audience
        };
        self.variables.values.iter().find(is_wanted).cloned().ok_or_else(|| {
            Failure::new(ErrorKind::Config, format!("GitLab provided no ID token for the audience '{audience}'"))
                .cause(match &self.variables.gitlab_url {
                    Some(_) => "no variable of the job contains one",
                    None => "this is not a GitLab job: CI_SERVER_URL is not set",
                })
                .hint(format!(
                    "add it to the job in .gitlab-ci.yml: id_tokens: {{ MCP_ID_TOKEN: {{ aud: {audience} }} }}"
                ))
        })
    }

    /// Whether there is another token than the one that was refused.
    async fn replaced_after_refusal(
        &self,
        authorization: Option<&Secret>,
        response: &UnexpectedResponse,
    ) -> Result<bool> {
        if response.status != 401 {
            return Ok(false);
        }
        let mut current = self.current.lock().await;
        // Another request was refused for the same token, and obtained a new one.
        if let (Some(sent), Some(token)) = (authorization, &current.token)
            && !is_token_of(sent, token)
        {
            return Ok(true);
        }
        // Every ID token of GitHub is another one: a new one that is refused at once is not the cause.
        let is_new = current.replaced_at.is_some_and(|at| at.elapsed() < NEW_TOKEN_AGE);
        if !is_new {
            let refused = current.token.take();
            if Some(self.token(&mut current).await?) != refused {
                current.replaced_at = Some(Instant::now());
                return Ok(true);
            }
        }
        let challenges = challenge::parse_challenges(&response.challenges);
        let challenge = challenge::select_oauth_challenge(&challenges);
        let failure =
            Failure::new(ErrorKind::Auth, format!("{} refuses the token of {}", self.target_name, self.source))
                .hint(self.source.check_hint());
        let why = challenge.and_then(|challenge| challenge.param("error_description").or(challenge.error()));
        Err(why.into_iter().fold(failure, |failure, why| failure.cause(format!("response: {why}"))))
    }
}

impl Authorize for BearerProvider {
    fn headers<'a>(&'a self, _method: &'a str, url: &'a Url) -> BoxFuture<'a, Result<Vec<(HeaderName, Secret)>>> {
        Box::pin(async move {
            // The token is sent to this server only (`AUT-20`).
            if url.origin() != self.server.origin() {
                return Ok(Vec::new());
            }
            let mut current = self.current.lock().await;
            let token = self.token(&mut current).await?;
            Ok(vec![(AUTHORIZATION, Secret::new(format!("Bearer {}", token.reveal())))])
        })
    }

    fn handle_rejection<'a>(
        &'a self,
        authorization: Option<&'a Secret>,
        response: &'a UnexpectedResponse,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.replaced_after_refusal(authorization, response))
    }
}

fn file_stamp(path: &Path) -> std::io::Result<FileStamp> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    // A pipe can be read only once.
    let modified = metadata.modified().ok().filter(|_| metadata.is_file());
    Ok((modified, metadata.len(), inode))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::Config, format!("cannot read the bearer token in '{}'", shown_path(path))).caused_by(error)
}

fn read_token_file(path: &Path) -> Result<Secret> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    let token = strip_bearer_scheme(text.trim());
    let wrong = |why: &str| Failure::new(ErrorKind::Config, format!("'{}' {why}", shown_path(path)));
    if token.is_empty() {
        return Err(wrong("is empty; it should contain a bearer token"));
    }
    // RFC 6750 §2.1: a token has no white space; a header cannot carry control characters.
    if token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("contains spaces or control characters, which a bearer token cannot have"));
    }
    Ok(Secret::new(token))
}

/// Whether a value has the form of an ID token.
#[must_use]
pub fn is_jwt(value: &str) -> bool {
    jwt_claims(value).is_some()
}

/// The claims of a JWT, which are not verified: the server does that.
fn jwt_claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()
}
