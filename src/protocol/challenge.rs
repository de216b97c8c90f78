//! `WWW-Authenticate`: the challenges of a server that refuses a request (RFC 9110 §11.6.1, `AUT-02`).

/// One challenge: a scheme and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, in lower case.
    pub scheme: String,
    /// Parameters: names in lower case, values without quotes.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter; the first if it is repeated.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where the protected resource metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn resource_metadata(&self) -> Option<&str> {
        self.param("resource_metadata").filter(|value| !value.is_empty())
    }

    /// The scopes that the request needed; invalid ones are omitted.
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        let words = self.param("scope").unwrap_or_default().split_whitespace();
        words.filter(|word| is_valid_scope(word)).map(ToOwned::to_owned).collect()
    }

    /// The error code (RFC 6750 §3.1).
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.param("error")
    }

    fn is_oauth(&self) -> bool {
        self.scheme == "bearer" || self.scheme == "dpop"
    }
}

/// Whether a word is a valid scope (RFC 6749 §3.3). An invalid one would be refused, and may be unsafe to show.
#[must_use]
fn is_valid_scope(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| matches!(c, '!' | '#'..='[' | ']'..='~'))
}

/// Parses all header lines. What cannot be parsed is ignored.
pub fn parse_challenges<S: AsRef<str>>(lines: &[S]) -> Vec<Challenge> {
    let mut all = Vec::new();
    for line in lines {
        ChallengeParser { rest: line.as_ref(), challenges: Vec::new() }.parse_line(&mut all);
    }
    all
}

/// The challenge to answer with a token: preferably one that names resource metadata, then one with an error.
pub fn select_oauth_challenge(challenges: &[Challenge]) -> Option<&Challenge> {
    let of = |wanted: fn(&Challenge) -> bool| challenges.iter().find(|one| wanted(one));
    // Metadata means OAuth, whatever the scheme.
    of(|one| one.is_oauth() && one.resource_metadata().is_some())
        .or_else(|| of(|one| one.resource_metadata().is_some()))
        .or_else(|| of(|one| one.is_oauth() && one.error().is_some()))
        .or_else(|| of(Challenge::is_oauth))
}

struct ChallengeParser<'a> {
    rest: &'a str,
    challenges: Vec<Challenge>,
}

impl<'a> ChallengeParser<'a> {
    fn parse_line(mut self, all: &mut Vec<Challenge>) {
        // A scheme occurs only at the beginning or after a comma; elsewhere a single word belongs to a value without
        // the required quotes (`scope=a b`).
        let mut fresh = true;
        loop {
            let before = self.rest;
            self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
            fresh |= before[..before.len() - self.rest.len()].contains(',');
            if self.rest.is_empty() {
                break;
            }
            let word = self.take_while(|c| !matches!(c, ' ' | '\t' | ',' | '=' | '"'));
            if word.is_empty() {
                // A stray quote or equals sign.
                self.rest = &self.rest[1..];
            } else if let Some(after) = self.rest.trim_start_matches([' ', '\t']).strip_prefix('=') {
                self.rest = after;
                self.parse_param(word);
            } else if fresh {
                self.challenges.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
            } else if let Some((_, value)) = self.challenges.last_mut().and_then(|one| one.params.last_mut()) {
                value.push(' ');
                value.push_str(word);
            }
            fresh = false;
        }
        all.append(&mut self.challenges);
    }

    fn parse_param(&mut self, name: &str) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let value = match self.rest.strip_prefix('"') {
            Some(after) => {
                self.rest = after;
                self.parse_quoted()
            }
            None => self.take_while(|c| !matches!(c, ' ' | '\t' | ',' | '"')).to_owned(),
        };
        // `Negotiate YII==`: a token68 (RFC 9110 §11.2), not a parameter.
        if value.chars().all(|c| c == '=') && !value.is_empty() {
            return;
        }
        if let Some(challenge) = self.challenges.last_mut() {
            challenge.params.push((name.to_ascii_lowercase(), value));
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn parse_quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return value;
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                c => value.push(c),
            }
        }
        self.rest = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_single(line: &str) -> Challenge {
        let mut all = parse_challenges(&[line]);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn aut_02_reads_quoted_and_bare_values() {
        let bearer = parse_single(
            r#"Bearer realm="a, \"b\"", resource_metadata=https://h/.well-known/x?a=1&b=2 , scope="mcp:a mcp:b",error=invalid_token"#,
        );
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.param("realm"), Some("a, \"b\""));
        assert_eq!(bearer.resource_metadata(), Some("https://h/.well-known/x?a=1&b=2"));
        assert_eq!(bearer.scopes(), ["mcp:a", "mcp:b"]);
        assert_eq!(bearer.error(), Some("invalid_token"));
    }

    #[test]
    fn aut_02_reads_several_challenges_in_one_line_and_in_several() {
        let lines = [r#"Basic realm="x", Negotiate YII==, BEARER resource_metadata="https://h/p", scope="s""#, "DPoP"];
        let all = parse_challenges(&lines);
        let schemes: Vec<&str> = all.iter().map(|one| one.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "negotiate", "bearer", "dpop"]);
        assert!(all[1].params.is_empty());
        assert_eq!(select_oauth_challenge(&all).and_then(Challenge::resource_metadata), Some("https://h/p"));
    }

    #[test]
    fn the_most_specific_oauth_challenge_is_selected() {
        let all = parse_challenges(&["Bearer", "DPoP error=\"use_dpop_nonce\"", "Basic error=\"x\""]);
        assert_eq!(select_oauth_challenge(&all).and_then(Challenge::error), Some("use_dpop_nonce"));
        assert_eq!(select_oauth_challenge(&parse_challenges(&["Basic realm=\"x\""])), None);
        assert_eq!(select_oauth_challenge(&parse_challenges(&["Bearer"])).map(|one| one.params.len()), Some(0));
    }

    #[test]
    fn malformed_challenges_are_parsed_leniently() {
        assert_eq!(parse_single("Bearer scope=a b c, error=\"e\"").scopes(), ["a", "b", "c"]);
        assert_eq!(parse_single("Bearer realm=\"x\" error=\"e\"").error(), Some("e"));
        assert_eq!(parse_single("Bearer , , scope = \"a\"").scopes(), ["a"]);
        assert_eq!(parse_single("Bearer error=\"never closed, scope=x").error(), Some("never closed, scope=x"));
        assert_eq!(parse_single("bearer \"\" = \"").scheme, "bearer");
        assert!(parse_challenges(&["", " , ", "=", "\"", "a=b"]).iter().all(|one| one.params.is_empty()));
        assert_eq!(parse_single("Bearer scope=\"a é \u{202e}b c\\\\d e\\\"f ~!g\"").scopes(), ["a", "~!g"]);
        assert_eq!(parse_single("Bearer ü=1, scope=\"é\\").param("ü"), Some("1"));
    }
}
