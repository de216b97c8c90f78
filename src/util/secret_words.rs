//! Which part of a word of a command line, or of a URL, may be a secret.

use super::secret_names::looks_secret;

/// Where the secret in a word begins, if it may have one: the value of `NAME=VALUE` and of `Name: value`, behind an
/// option too (`--header=Name: value`, `-HName: value`), what follows the colon after `-u`, and the whole word after an
/// option with the name of a secret.
#[must_use]
pub fn secret_start(previous: Option<&str>, word: &str) -> Option<usize> {
    match previous {
        // `--no-cookies` and the like have no value.
        Some(option)
            if option.starts_with('-')
                && !option.starts_with("--no-")
                && !option.contains('=')
                && looks_secret(option) =>
        {
            return Some(0);
        }
        Some("-u" | "--user") if !word.contains("://") => {
            if let Some(colon) = word.find(':') {
                return Some(colon + 1);
            }
        }
        _ => {}
    }
    let mut start = 0;
    loop {
        let rest = &word[start..];
        let name = &rest[..rest.find(['=', ':'])?];
        let after = start + name.len() + 1;
        if name.contains(['/', ' ', '{', '(']) {
            return None;
        }
        if looks_secret(name) {
            return Some(word.len() - word[after..].trim_start_matches(['=', ' ']).len());
        }
        // `--header=Name: value`
        if !name.starts_with("--") {
            return None;
        }
        start = after;
    }
}

/// Where the secret in a connection string begins, which has several pairs: `Server=h;Password=s3cret`. What precedes it
/// may have others, such as a URL with a password.
#[must_use]
pub fn secret_pair_start(word: &str) -> Option<usize> {
    let pairs = word.match_indices([';', ',']).map(|(at, _)| (at + 1, &word[at + 1..]));
    // Names may have blanks here: `User Id`.
    let mut names = pairs.filter_map(|(at, rest)| Some((at, &rest[..rest.find(['=', ';', ','])?])));
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    names
        .find(|(at, name)| word[at + name.len()..].starts_with('=') && name.chars().all(is_name) && looks_secret(name))
        .map(|(at, name)| at + name.len() + 1)
}

/// Whether a JSON object, or a call form such as `tool(name: "value")`, has a member with the name of a secret.
#[must_use]
pub fn has_secret_member(word: &str) -> bool {
    let is_name_char = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let around = [' ', '"', '\'', '\\'];
    let parts: Vec<&str> = word.split([':', '=']).collect();
    let is_secret = |part: &str| {
        let name = part.trim_end_matches(around).rsplit(|c| !is_name_char(c)).next();
        name.is_some_and(looks_secret) && !part.ends_with("${keychain")
    };
    // A reference is not secret, but its default may be: `${NAME:-default}`.
    let part_starts = |at: usize, text: &str| parts.get(at).is_some_and(|part| part.starts_with(text));
    // Nothing follows the reference in the value.
    let ends_value = |rest: &str| {
        let next = rest.trim_start_matches(around).chars().next();
        next.is_none_or(|next| matches!(next, ',' | '}' | ')' | ']'))
    };
    let is_reference = |at: usize| {
        let held = parts.get(at).and_then(|held| held.trim_start_matches(around).strip_prefix("${"));
        let is_whole = held.is_some_and(|held| held.split_once('}').is_none_or(|(_, rest)| ends_value(rest)));
        is_whole && !part_starts(at + 1, "-")
    };
    word.replace("${", "").contains(['{', '('])
        && parts.iter().enumerate().any(|(at, part)| is_secret(part) && !is_reference(at + 1))
}

/// A URL (or any text) with `mark` in place of its password and the values of secret parameters.
#[must_use]
pub fn hide_in_url(text: &str, mark: &str) -> String {
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + "://".len()));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // Neither a reference nor the mark is a secret.
    let is_shown = |user: &str| {
        let held = user.split_once(':').map_or(user, |(_, password)| password);
        held == mark || is_reference(held)
    };
    let authority = match authority.rsplit_once('@') {
        // In a text without a scheme, `@` may be part of a name: `npm:package@1.0`.
        Some(_) if scheme.is_empty() => authority.to_owned(),
        Some((user, _)) if is_shown(user) => authority.to_owned(),
        Some((_, host)) => format!("{mark}@{host}"),
        None => authority.to_owned(),
    };
    let shown = format!("{scheme}{authority}{tail}");
    // In a text without a scheme, the first URL may be a parameter.
    let Some((path, query)) = shown.split_once('?') else { return shown };
    let hidden = |part: &str| {
        // The value may be a URL with parameters of its own.
        let mut names = part.match_indices('=').map(|(at, _)| (&part[..at], &part[at + 1..]));
        let is_secret =
            |name: &str| name.rsplit('?').next().is_some_and(|name| !name.contains('=') && looks_secret(name));
        let secret = names.find(|(name, held)| is_secret(name) && !held.starts_with("${"));
        let part = secret.map_or_else(|| part.to_owned(), |(name, _)| format!("{name}={mark}"));
        match part.split_once('=') {
            Some((name, held)) if held.contains("://") => format!("{name}={}", hide_in_url(held, mark)),
            _ => part,
        }
    };
    let query: Vec<String> = query.split('&').map(hidden).collect();
    format!("{path}?{}", query.join("&"))
}

/// What precedes the name of a package (`npm:@scope/name`), an image, a file or the like: not a user name.
const OTHER_SCHEMES: [&str; 10] =
    ["npm", "pypi", "docker", "oci", "github", "gitlab", "registry", "file", "unix", "replay"];

/// As [`hide_in_url`], for a word in place of a URL: its scheme may be missing, or have too few or too many slashes, and
/// its password may have a character that ends the name of a host.
#[must_use]
pub fn hide_in_likely_url(text: &str, mark: &str) -> String {
    let is_scheme = |word: &str| ["https", "http", "wss", "ws"].iter().any(|known| known.eq_ignore_ascii_case(word));
    let after_scheme = text.trim_start().split_once(':').filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest);
    let rest = after_scheme.map_or(text, |rest| rest.trim_start_matches(['/', '\\']));
    // `image:tag@sha256:…` is an image.
    let before_host = rest.split_once('@').filter(|(_, host)| !host.starts_with("sha256:"));
    let user_and_password = before_host.and_then(|(user, _)| user.split_once(':'));
    let has_password =
        user_and_password.is_some_and(|(user, password)| !password.is_empty() && !OTHER_SCHEMES.contains(&user));
    let has_scheme = text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    if after_scheme.is_none() && (has_scheme || !has_password) {
        return hide_in_url(text, mark);
    }
    // A password may have a question mark, and so may follow one; but a parameter may have the other sign too.
    let host_start = rest[..rest.find('?').unwrap_or(rest.len())].rfind('@').or_else(|| rest.find('@'));
    let hidden = match host_start.filter(|_| has_no_port(rest)) {
        Some(at) => format!("{mark}{}", &rest[at..]),
        None => hide_in_url(&format!("://{rest}"), mark).split_off("://".len()),
    };
    // A parameter may be a URL.
    hide_in_url(&format!("{}{hidden}", text.strip_suffix(rest).unwrap_or_default()), mark)
}

/// Whether the colon behind what seems to be a host is not followed by a port: it precedes a password, such as `a/b`.
fn has_no_port(rest: &str) -> bool {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) || port.ends_with([']', '}']);
    host.rsplit_once(':').is_some_and(|(_, port)| !host.contains('@') && !is_port(port))
}

fn is_reference(text: &str) -> bool {
    text.starts_with("${") && text.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_begins_after_its_name() {
        for (previous, word, shown) in [
            (None, "password=s3cret", Some("password=")),
            (None, "password:=\"s3cret\"", Some("password:=")),
            (None, "--token=s3cret", Some("--token=")),
            (None, "Authorization: Bearer s3cret", Some("Authorization: ")),
            (None, "-HAuthorization: Bearer s3cret", Some("-HAuthorization: ")),
            (None, "--header=Authorization: Bearer s3cret", Some("--header=Authorization: ")),
            (None, "--env=API_KEY=s3cret", Some("--env=API_KEY=")),
            (Some("--api-key"), "s3cret", Some("")),
            (Some("-u"), "me:s3cret", Some("me:")),
            (Some("--user"), "me", None),
            (Some("--api-key=x"), "text", None),
            (Some("--no-session"), "npx", None),
            (None, "X-Team: core", None),
            (None, "https://example.com/token=1", None),
            (None, "say: token=1", None),
            (None, "--header=X-Team: core", None),
            (None, "plain", None),
        ] {
            assert_eq!(secret_start(previous, word).map(|start| &word[..start]), shown, "{previous:?} {word}");
        }
    }

    #[test]
    fn a_connection_string_has_pairs() {
        for (word, shown) in [
            ("Server=h,1;User Id=u;Password=s3cret;Encrypt=no", Some("Server=h,1;User Id=u;Password=")),
            ("h:6379,password=s3cret", Some("h:6379,password=")),
            ("--db=Data Source=h;Pwd=s3cret", Some("--db=Data Source=h;Pwd=")),
            ("Server=h;Database=d", None),
            ("a; see https://h/?token=1", None),
        ] {
            assert_eq!(secret_pair_start(word).map(|start| &word[..start]), shown, "{word}");
        }
    }

    #[test]
    fn members_with_the_names_of_secrets_are_found() {
        for word in [
            r#"{"a": 1, "password": "x"}"#,
            "login(user: \"a\", api_key: \"b\")",
            "{'token' :1}",
            r#"{"a": "{\"token\": 1}"}"#,
            r#"{"token": "${T:-x}"}"#,
            r#"{"key": "${K}", "token": "x"}"#,
            r#"{"password": "${USER}s3cret"}"#,
        ] {
            assert!(has_secret_member(word), "{word}");
        }
        for word in [
            r#"{"a": 1}"#,
            "find(text: \"x\")",
            "password: x",
            "{}",
            r#"{"key": "${K}"}"#,
            r#"{"key": "${keychain:k}"}"#,
            "https://${H}/?key=1",
        ] {
            assert!(!has_secret_member(word), "{word}");
        }
    }

    #[test]
    fn a_url_is_shown_without_secrets() {
        for (url, shown) in [
            ("https://u:p@h:1/x?a=1&api_key=k&token=${T}", "https://…@h:1/x?a=1&api_key=…&token=${T}"),
            ("https://u:${P}@h/x", "https://u:${P}@h/x"),
            ("https://${P}@h/x", "https://${P}@h/x"),
            ("https://h/x@y", "https://h/x@y"),
            ("https://h#b", "https://h#b"),
            ("text", "text"),
            ("example.com/mcp?api_key=k&a=1", "example.com/mcp?api_key=…&a=1"),
            ("npm:package@1.0", "npm:package@1.0"),
            ("example.com?api_key=k&next=https://u:p@x/", "example.com?api_key=…&next=https://…@x/"),
            ("https://h/?next=https://u:p@x/", "https://h/?next=https://…@x/"),
            ("https://h/?next=https://u:p@x/?token=k", "https://h/?next=https://…@x/?token=…"),
            ("h?a=https://x/&b=https://u:p@y/", "h?a=https://x/&b=https://…@y/"),
            ("h?next=https://x/?a=1&b=2", "h?next=https://x/?a=1&b=2"),
            ("https://h/?next=https://x/?a=1?token=k?k", "https://h/?next=https://x/?a=1?token=…"),
            ("/bin/curl https://u:p@h/?token=k", "/bin/curl https://…@h/?token=…"),
        ] {
            assert_eq!(hide_in_url(url, "…"), shown);
        }
    }

    #[test]
    fn a_word_in_place_of_a_url_is_shown_without_secrets() {
        for (word, shown) in [
            ("example.com/mcp?api_key=k", "example.com/mcp?api_key=…"),
            ("http:/docker:p@h/", "http:/…@h/"),
            ("https:npm:p@h", "https:…@h"),
            ("ws:/h?token=k", "ws:/h?token=…"),
            ("http:u:p@h/mcp", "http:…@h/mcp"),
            ("http:/u:p@h/mcp?token=k", "http:/…@h/mcp?token=…"),
            ("u:p@h/mcp", "…@h/mcp"),
            ("https://u:p@h/", "https://…@h/"),
            ("u:p@h/?next=https://u:p@x/", "…@h/?next=https://…@x/"),
            ("@team/server", "@team/server"),
            ("server@team", "server@team"),
            (":p@h/mcp", "…@h/mcp"),
            ("npm:@scope/package", "npm:@scope/package"),
            ("npm:package@1.0", "npm:package@1.0"),
            ("docker:image@sha256:0a", "docker:image@sha256:0a"),
            ("ghcr.io/o/image:1.2@sha256:0a", "ghcr.io/o/image:1.2@sha256:0a"),
            ("replay:run@2.rec", "replay:run@2.rec"),
            ("github:org/repo@v1", "github:org/repo@v1"),
            ("https://u:p/w@h/?x=a@b&token=s3cret", "https://…@h/?x=a@b&token=…"),
            ("server:@h", "server:@h"),
            (r"HTTPS:\\u:p@h", r"HTTPS:\\…@h"),
            ("https:/t0ken@h/", "https:/…@h/"),
            ("https:///u:p@h/", "https:///…@h/"),
            ("u:p/w@h/", "…@h/"),
            ("https:/h/x@y", "https:/h/x@y"),
            ("https://u:p/w@h/?token=k", "https://…@h/?token=…"),
            ("https:/u:p/w@h/", "https:/…@h/"),
            ("https://h:1/x@y", "https://h:1/x@y"),
            ("https://[::1]/x@y", "https://[::1]/x@y"),
        ] {
            assert_eq!(hide_in_likely_url(word, "…"), shown);
        }
    }
}
