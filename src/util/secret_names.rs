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
/// The words of a query parameter's name that make its value a secret.
const SECRET_WORDS: &[&str] = &[
    "key",
    "apikey",
    "accesskey",
    "token",
    "apitoken",
    "secret",
    "auth",
    "pwd",
    "pass",
    "password",
    "pin",
    "jwt",
    "sig",
    "signature",
    "credential",
    "session",
    "sessionid",
];
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

/// Whether one of the words of a query parameter's name is that of a secret: `access_key`, `apiToken`, not `author`.
#[must_use]
pub fn has_secret_word(name: &str) -> bool {
    let (mut words, mut was_lowercase) = (String::new(), false);
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_lowercase) {
            words.push(' ');
        }
        words.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
        was_lowercase = c.is_lowercase();
    }
    words.split(' ').any(|word| SECRET_WORDS.contains(&word))
}

/// Whether a query parameter with this name is a secret in a URL that is shown, such as one of an OAuth redirect:
/// `code` and `state` too (RFC 6749 §4.1.2).
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

/// Whether a segment of a URL's path looks like a key: random characters, as some services put them into the URL of a
/// user's own server. Names have no long runs of mixed letters and digits.
#[must_use]
pub fn looks_like_key(segment: &str) -> bool {
    let is_key_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '=');
    if segment.len() < 16 || !segment.chars().all(is_key_char) {
        return false;
    }
    let count = |text: &str, fits: fn(&char) -> bool| text.chars().filter(fits).count();
    let digits = |text: &str| count(text, char::is_ascii_digit);
    let letters = |text: &str| count(text, char::is_ascii_alphabetic);
    let has_random_run =
        segment.split(['-', '_', '.', '~', '=']).any(|run| run.len() >= 16 && digits(run) >= 3 && letters(run) >= 3);
    // A UUID: groups of 8, 4, 4, 4 and 12 hexadecimal digits (RFC 9562 §4).
    let is_uuid = segment.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && segment.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    // Base64url, in which any run may be short.
    let is_mixed = segment.len() >= 24
        && digits(segment) >= 3
        && count(segment, char::is_ascii_uppercase) >= 3
        && count(segment, char::is_ascii_lowercase) >= 3;
    has_random_run || is_uuid || is_mixed
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
    fn words_of_secrets_are_found_in_the_names_of_parameters() {
        for name in ["access_key", "apiToken", "Key", "PWD", "X-Amz-Signature", "sessionId", "api.secret"] {
            assert!(has_secret_word(name), "{name}");
        }
        for name in ["author", "keyword", "auth2", "monkey", "design", ""] {
            assert!(!has_secret_word(name), "{name}");
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
    fn keys_in_a_path_are_recognized() {
        for key in [
            "NjU4OWY3ZGUtNWYxMC00YzE5LWFi",
            "550e8400-e29b-41d4-a716-446655440000",
            "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            "a1B2-c3D4_e5F6-g7H8_i9J0-kL",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert!(looks_like_key(key), "{key}");
        }
        for name in [
            "mcp",
            "sse",
            "v1",
            "2024-11-05",
            "my-long-server-name-v2-production",
            "modelcontextprotocol",
            "project-1234567890123456",
            "a%20b",
            "My-Team-Server-In-Production-2",
        ] {
            assert!(!looks_like_key(name), "{name}");
        }
    }

    #[test]
    fn a_shown_url_has_more_secret_parameters() {
        assert!(is_secret_parameter("sig") && !is_secret_parameter("code") && !is_secret_parameter("page"));
        assert!(is_secret_parameter_of_shown_url("code") && !is_secret_parameter_of_shown_url("page"));
    }
}
