//! The credentials that a target sends to its server or to a proxy: redacted in everything that is printed, also if the
//! other side repeats them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use crate::commands::context::Context;
use crate::config::redact::is_clearly_not_secret;
use crate::env;
use crate::target::Target;
use crate::transport::Endpoint;
use crate::util::secret_names::{has_secret_word, is_secret_name, is_secret_parameter, looks_like_key, looks_secret};

/// Shorter values may appear in any message by chance.
pub(super) const MIN_SECRET_LENGTH: usize = 6;

impl Context {
    /// Redacts the credentials that are configured for this target.
    pub(super) fn redact_credentials(&self, target: &Target) {
        let endpoint = match &target.endpoint {
            Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => endpoint,
            Endpoint::Stdio(endpoint) => {
                // Programs print their settings, in errors above all.
                let secret = |name: &str, value: &str| looks_secret(name) || !is_clearly_not_secret(value);
                let values = endpoint.env.iter().filter(|(name, value)| secret(name, value.reveal()));
                values.for_each(|(_, value)| self.redact_text(value.reveal()));
                let of_bundle = target.bundle.iter().flat_map(|bundle| &bundle.secrets);
                of_bundle.for_each(|value| self.redact_text(value.reveal()));
                return self.redact_in_arguments(&endpoint.args);
            }
            Endpoint::Unix(_) | Endpoint::Replay(_) => return,
        };
        for (name, value) in &endpoint.headers {
            if looks_secret(name) {
                self.redact_named(name, value.reveal());
            }
        }
        self.redact_in_url(&endpoint.url);
        if target.is_configured {
            self.redact_in_path(&endpoint.url);
        }
        match &endpoint.proxy {
            Some(proxy) => self.redact_in_proxy(proxy.reveal()),
            None => {
                for name in
                    [env::HTTPS_PROXY, "https_proxy", env::HTTP_PROXY, "HTTP_PROXY", env::ALL_PROXY, "all_proxy"]
                {
                    self.env.get(name).into_iter().for_each(|proxy| self.redact_in_proxy(proxy));
                }
            }
        }
    }

    /// Redacts variables with the names of secrets, if one of these expressions may read them.
    pub(super) fn redact_variables_of<'a>(&self, mut expressions: impl Iterator<Item = &'a str>) {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
        if expressions.any(|text| text.split(|c| !is_part(c)).any(|word| matches!(word, "$ENV" | "env"))) {
            // `DESKTOP_SESSION` and the like are none.
            let is_certain = |name: &str| is_secret_name(name) || (has_secret_word(name) && !name.contains("SESSION"));
            let is_secret =
                |name: &str, value: &str| is_certain(name) || (looks_secret(name) && !is_clearly_not_secret(value));
            let secrets = self.env.iter().filter(|(name, value)| is_secret(name, value));
            secrets.for_each(|(_, value)| self.redact_text(value));
        }
    }

    /// The value after a secret's name in the arguments of a command line (`--name value`, `--name=value`,
    /// `NAME=value`, `Name: value`), and secrets in URLs there.
    fn redact_in_arguments(&self, args: &[String]) {
        let mut named = None;
        for arg in args {
            match named.take() {
                // Unless the option has no value.
                Some(name) if !arg.starts_with("--") => self.redact_named(name, arg),
                _ => {
                    self.redact_in_argument(arg);
                    // `Server=h;Password=s3cret`
                    arg.split([';', ',']).skip(1).for_each(|pair| self.redact_in_argument(pair.trim_start()));
                }
            }
            named = Some(arg.as_str()).filter(|arg| arg.starts_with('-') && is_secret_name(arg));
        }
    }

    fn redact_in_argument(&self, arg: &str) {
        // An option may contain a pair: `--env=API_KEY=value`, `--header=X-Api-Key: value`.
        let mut rest = arg;
        while let Some((name, value)) = rest.split_once(['=', ':']) {
            if let Some(json) = serde_json::from_str(rest).ok().filter(|_| rest.starts_with(['{', '['])) {
                return self.redact_in_json("", &json);
            }
            if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+')) {
                return;
            }
            if is_secret_name(name) {
                return self.redact_named(name, value);
            }
            if value.starts_with("//") {
                return Url::parse(rest).into_iter().for_each(|url| self.redact_in_any_url(url));
            }
            rest = value.trim_start();
        }
    }

    /// The strings under names of secrets.
    fn redact_in_json(&self, name: &str, value: &Value) {
        match value {
            Value::String(text) if is_secret_name(name) => self.redact_named(name, text),
            Value::Array(items) => items.iter().for_each(|item| self.redact_in_json(name, item)),
            Value::Object(members) => members.iter().for_each(|(name, value)| self.redact_in_json(name, value)),
            _ => {}
        }
    }

    /// A URL of any scheme. Only with http(s) is a user without a password a token.
    fn redact_in_any_url(&self, mut url: Url) {
        if url.password().is_none() && !matches!(url.scheme(), "http" | "https") {
            let _ = url.set_username("");
        }
        self.redact_in_url(&url);
    }

    /// The value of a header, a variable or an option.
    fn redact_named(&self, name: &str, whole: &str) {
        match whole.trim().split_once(' ').filter(|_| name.to_ascii_lowercase().ends_with("authorization")) {
            Some((scheme, rest)) => self.redact_authorization(scheme, rest.trim()),
            None => self.redact_value(whole),
        }
    }

    /// The part after the scheme; of user and password also the password alone.
    fn redact_authorization(&self, scheme: &str, rest: &str) {
        self.redact_text(rest);
        if scheme.eq_ignore_ascii_case("basic")
            && let Some(pair) = STANDARD.decode(rest).ok().and_then(|pair| String::from_utf8(pair).ok())
        {
            self.redact_text(pair.split_once(':').map_or(&*pair, |(_, password)| password));
        }
    }

    /// The whole value, the part after its first word, and the values of cookies.
    fn redact_value(&self, value: &str) {
        self.redact_text(value);
        if let Some((_, rest)) = value.trim().split_once(' ') {
            self.redact_text(rest);
        }
        value.split(';').filter_map(|pair| pair.split_once('=')).for_each(|(_, value)| self.redact_text(value));
    }

    fn redact_in_proxy(&self, proxy: &str) {
        if proxy.contains('@') {
            let full = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
            Url::parse(&full).into_iter().for_each(|url| self.redact_in_url(&url));
        }
    }

    /// User and password, also in the encoded form in which they are sent, and the values of secret parameters.
    fn redact_in_url(&self, url: &Url) {
        let (user, password) = (percent_decoded(url.username()), url.password().map(percent_decoded));
        if let Some(secret) = url.password().or_else(|| Some(url.username()).filter(|user| !user.is_empty())) {
            self.redact_text(secret);
            self.redact_text(&percent_decoded(secret));
            self.redact_text(&STANDARD.encode(format!("{user}:{}", password.unwrap_or_default())));
        }
        for pair in url.query().into_iter().flat_map(|query| query.split('&')) {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, decoded) = (percent_decoded(name), percent_decoded(value));
            if is_secret_parameter(&name) || (has_secret_word(&name) && !is_clearly_not_secret(&decoded)) {
                self.redact_text(value);
                self.redact_text(&decoded);
            }
        }
    }

    /// Keys in the path of a configured URL, and what variables with the names of secrets contribute to it. A URL on
    /// the command line is known to whoever reads the output, and is shown so that hints can be pasted.
    fn redact_in_path(&self, url: &Url) {
        let segments = url.path_segments().into_iter().flatten();
        for segment in segments.filter(|segment| !segment.is_empty()) {
            let decoded = percent_decoded(segment);
            let is_from_variable = |(name, value): (&str, &str)| {
                value.len() >= MIN_SECRET_LENGTH && looks_secret(name) && decoded.contains(value)
            };
            if looks_like_key(&decoded) || self.env.iter().any(is_from_variable) {
                self.redact_text(segment);
                self.redact_text(&decoded);
            }
        }
    }

    fn redact_text(&self, text: &str) {
        if text.trim().chars().count() >= MIN_SECRET_LENGTH {
            self.ui.redact(text);
        }
    }
}

fn percent_decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
