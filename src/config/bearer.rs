//! `bearer = "file:…"` and its kin: where a bearer token comes from that changes while mcpipe runs.

use std::path::PathBuf;

/// Where a bearer token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerSource {
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// An ID token of GitHub Actions for this audience.
    GitHubOidc(String),
    /// The ID token of a GitLab job that has this audience.
    GitLabOidc(String),
}

/// The token in text that may be the whole value of an `Authorization` header. Schemes ignore letter case (RFC 9110
/// §11.1).
#[must_use]
pub fn strip_bearer_scheme(text: &str) -> &str {
    match text.split_at_checked("Bearer ".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer ") => token.trim_start(),
        _ => text,
    }
}

/// The forms, for messages.
const FORMS: &str = "\"file:PATH\", \"github-oidc:AUDIENCE\" or \"gitlab-oidc:AUDIENCE\"";

impl BearerSource {
    /// Reads the value of the setting.
    ///
    /// # Errors
    /// What is wrong, to follow the name of the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (form, rest) = text.split_once(':').unwrap_or((text, ""));
        match form {
            "file" | "github-oidc" | "gitlab-oidc" if rest.is_empty() => {
                Err(format!("has nothing after '{form}:'; use {FORMS}"))
            }
            "file" => Ok(BearerSource::File(PathBuf::from(rest))),
            "github-oidc" => Ok(BearerSource::GitHubOidc(rest.to_owned())),
            "gitlab-oidc" => Ok(BearerSource::GitLabOidc(rest.to_owned())),
            // It may be the token itself.
            _ => Err(format!("must be {FORMS}")),
        }
    }

    /// What to do if the server refuses the token.
    #[must_use]
    pub fn check_hint(&self) -> String {
        format!("check the token: 'bearer' in the configuration takes it from {self}")
    }
}

impl std::fmt::Display for BearerSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BearerSource::File(path) => write!(f, "file:{}", path.display()),
            BearerSource::GitHubOidc(audience) => write!(f, "github-oidc:{audience}"),
            BearerSource::GitLabOidc(audience) => write!(f, "gitlab-oidc:{audience}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_is_written() {
        for text in ["file:/run/token", "github-oidc:https://a.example/mcp", "gitlab-oidc:a"] {
            assert_eq!(BearerSource::parse(text).map(|source| source.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "file:", "github-oidc:", "gitlab-oidc", "s3cret-token", "env:TOKEN"] {
            let wrong = BearerSource::parse(text);
            assert!(wrong.as_ref().is_err_and(|why| why.contains("github-oidc:AUDIENCE") && !why.contains("s3cret")));
        }
    }
}
