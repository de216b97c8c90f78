//! Whether a value is secret, judged by its name.
//!
//! There are two rules. [`is_secret_name`] is for what is exchanged with servers: hiding too much there makes messages
//! and traces useless. [`looks_secret`] is for configuration, variables and arguments, of which too much may be hidden.

/// Names of secrets, in lower case without `-` and `_`.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "setcookie",
    "secret",
    "token",
    "codeverifier",
    "devicecode",
    "passphrase",
    "passwd",
    "mcpsessionid",
    "requeststate",
    "credentials",
];
/// How names of secrets end, in the same form.
const SECRET_SUFFIXES: &[&str] = &[
    "authorization",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "clientassertion",
    "password",
    "apikey",
    "privatekey",
    "secretkey",
];
/// What names that look secret contain, in lower case.
const SUSPICIOUS_PARTS: &[&str] =
    &["auth", "token", "key", "secret", "passw", "passphrase", "pwd", "credential", "cookie", "session", "signature"];
/// Words that make a name look secret, but only as a whole word: `pin`, not `spin`.
const SUSPICIOUS_WORDS: &[&str] = &["pass", "sig", "jwt", "pat", "pin", "creds", "dsn"];

/// Whether a member, header or variable with this name is a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name: String = name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether a configured query parameter with this name is a secret.
#[must_use]
pub fn is_secret_parameter(name: &str) -> bool {
    is_secret_name(name) || matches!(name, "key" | "sig" | "signature")
}

/// Whether a query parameter with this name is a secret in a URL that is shown, such as one of an OAuth redirect: `code`
/// and `state` too (RFC 6749 §4.1.2).
#[must_use]
pub fn is_secret_parameter_of_shown_url(name: &str) -> bool {
    is_secret_parameter(name) || matches!(name, "code" | "state")
}

/// Whether a header, variable, option or argument with this name may be a secret.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_secret_name(&lower)
        || SUSPICIOUS_PARTS.iter().any(|part| lower.contains(part))
        || lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| SUSPICIOUS_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_names_are_recognized_in_any_spelling() {
        for name in
            ["Authorization", "X-Api-Key", "apiKey", "GITHUB_ACCESS_TOKEN", "client_secret", "Set-Cookie", "token"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["progressToken", "key", "tokens", "author", "secretary", "nextCursor"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn names_that_may_be_secret_are_recognized() {
        for name in
            ["Authorization", "X-API-Key", "GITHUB_TOKEN", "db_pass", "GH_PAT", "Cookie", "PASSWORD", "deviceCode"]
        {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["PATH", "X-Team", "DEBUG", "compass", "pattern", "design", "spin"] {
            assert!(!looks_secret(name), "{name}");
        }
    }

    #[test]
    fn a_shown_url_has_more_secret_parameters() {
        assert!(is_secret_parameter("sig") && !is_secret_parameter("code") && !is_secret_parameter("page"));
        assert!(is_secret_parameter_of_shown_url("code") && !is_secret_parameter_of_shown_url("page"));
    }
}
