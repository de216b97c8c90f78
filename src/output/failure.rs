//! How a failure is printed: as lines for people, with `--json` as one line.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use super::escape::make_visible;
use super::json::escape_unsafe;
use super::redact;
use super::style::Style;
use super::ui::Ui;
use crate::error::{ErrorKind, Failure, FailureDetails};
use crate::protocol::json::join_lines;
use crate::protocol::json_string::encode_string;
use crate::protocol::rpc::{RawJson, RpcError, RpcErrorDefect};
use crate::util::lock::lock;

impl Ui {
    /// Reports a failure on standard error. A closed pipe is not reported: its reader wanted no more.
    pub fn report_failure(&self, failure: &Failure) {
        if failure.kind() == ErrorKind::ClosedPipe {
            return;
        }
        let failure = self.without_secrets(failure);
        let details = failure.details();
        let text = if self.options.json {
            format!(r#"{{"error":{}}}"#, details_json(details))
        } else {
            self.failure_lines(details)
        };
        self.write_err(&[&if self.options.json && self.terminal.stderr_is_tty { escape_unsafe(&text) } else { text }]);
    }

    /// A failure as a JSON object for a document on standard output, without known secrets.
    #[must_use]
    pub fn redacted_failure_json(&self, failure: &Failure) -> String {
        failure_json(&self.without_secrets(failure))
    }

    /// A failure in a few lines for a reader who cannot run commands: a model. Without known secrets.
    #[must_use]
    pub fn failure_text(&self, failure: &Failure) -> String {
        let failure = self.without_secrets(failure);
        let details = failure.details();
        let near = details.hint.iter().filter(|_| details.is_name_hint);
        let lines: Vec<&str> =
            std::iter::once(&details.message).chain(&details.causes).chain(near).map(String::as_str).collect();
        lines.join("\n")
    }

    /// The failure without known secrets: in its values, before they are laid out as lines or as JSON.
    #[must_use]
    pub fn without_secrets(&self, failure: &Failure) -> Failure {
        let known = lock(&self.known_secrets);
        let hide = |text: &mut String| *text = known.redact(text).into_owned();
        let mut failure = failure.clone();
        let details = failure.details_mut();
        hide(&mut details.message);
        details.causes.iter_mut().chain(&mut details.hint).chain(&mut details.server).for_each(hide);
        details.stderr_tail.iter_mut().for_each(hide);
        if let Some(rpc) = &mut details.rpc {
            hide(&mut rpc.message);
            rpc.data = rpc.data.take().and_then(|data| without_secrets(&known, data));
            if let Some(code) = rpc.code
                && !RESERVED_CODES.contains(&code)
                && known.contains_secret(&code.to_string())
            {
                rpc.code = Some(0);
            }
            if let Some(RpcErrorDefect::OtherCode(code)) = &mut rpc.defect {
                hide(code);
            }
        }
        failure
    }

    fn failure_lines(&self, details: &FailureDetails) -> String {
        let color = self.uses_color_on_stderr();
        let fit = |text: &str| {
            let text = if self.terminal.stderr_is_tty { make_visible(text) } else { text.into() };
            text.trim_end().replace('\n', "\n  ")
        };
        let wrap = |text: &str, used: usize, indent: usize| self.wrap_err(&fit(text), used, indent);
        let server = details.server.as_ref().filter(|_| details.shows_server);
        let message = server.map_or_else(|| details.message.clone(), |server| format!("{server}: {}", details.message));
        let message = wrap(&message, "mcpipe: error: ".len(), 2);
        let mut out = format!("mcpipe: {} {message}\n", Style::BOLD_RED.paint("error:", color));
        for cause in &details.causes {
            out += &format!("  {}\n", wrap(cause, 2, 4));
        }
        if let Some(data) = details.rpc.as_ref().and_then(|rpc| rpc.data.as_ref()).filter(|data| data.get() != "null") {
            out += &format!("  data: {}\n", fit(&join_lines(data.get())));
        }
        // With -vv each line was shown when it came.
        if !details.stderr_tail.is_empty() && self.options.verbose < 2 {
            out += "last lines of the server's stderr:\n";
            for line in &details.stderr_tail {
                out += &format!("  | {}\n", Style::DIM.paint(&fit(line), color));
            }
        }
        if let Some(hint) = &details.hint {
            out += &format!("{} {}\n", Style::CYAN.paint("hint:", color), wrap(hint, "hint: ".len(), 2));
        }
        out
    }
}

/// Codes that JSON-RPC 2.0 reserves (section 5.1): public, so a secret with the same digits does not hide them.
const RESERVED_CODES: RangeInclusive<i64> = -32768..=-32000;

fn without_secrets(known: &redact::KnownSecrets, data: RawJson) -> Option<RawJson> {
    match known.hide_json(data.get()) {
        Cow::Borrowed(_) => Some(data),
        Cow::Owned(text) => RawValue::from_string(text).ok(),
    }
}

/// The object under `error` (docs/json.md). Every member is present, `null` if unknown; `data` only
/// if the server sent some, `stderr` only if the server wrote some.
fn details_json(details: &FailureDetails) -> String {
    let optional = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), encode_string);
    let list = |items: &[String]| items.iter().map(|item| encode_string(item)).collect::<Vec<_>>().join(",");
    let stderr = match details.stderr_tail.as_slice() {
        [] => String::new(),
        lines => format!(r#","stderr":[{}]"#, list(lines)),
    };
    format!(
        r#"{{"class":{},"code":{},"message":{},"causes":[{}],"hint":{},"server":{},"rpc":{}{stderr}}}"#,
        encode_string(details.kind.as_str()),
        details.kind.exit_code(),
        encode_string(&details.message),
        list(&details.causes),
        optional(&details.hint),
        optional(&details.server),
        details.rpc.as_deref().map_or("null".to_owned(), rpc_error_json),
    )
}

fn rpc_error_json(error: &RpcError) -> String {
    let data = error.data.as_ref().map_or(String::new(), |data| format!(r#","data":{}"#, join_lines(data.get())));
    let code = error.code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    format!(r#"{{"code":{code},"message":{}{data}}}"#, encode_string(&error.message))
}

/// A failure as a JSON object, for documents that hold failures of single servers or lines.
#[must_use]
pub fn failure_json(failure: &Failure) -> String {
    details_json(failure.details())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;
    use crate::util::when::When;

    fn sample() -> Failure {
        let data = RawValue::from_string("{\"big\":\n1E400}".into()).unwrap();
        Failure::new(ErrorKind::Unreachable, "cannot start 'x\x1b[2J'")
            .cause("no such file\nor directory")
            .cause("token s3cret")
            .hint("run 'mcpipe list'")
            .server("linear")
            .rpc(RpcError { code: Some(-32000), message: "m\u{202e}".into(), data: Some(data), ..RpcError::default() })
            .stderr_tail(vec!["Traceback".into(), "\x1b[31mKeyError".into()])
    }

    fn printed(options: UiOptions, terminal: Terminal) -> String {
        let seen = ui(options, terminal);
        seen.ui.redact("s3cret");
        seen.ui.report_failure(&sample());
        assert_eq!(seen.out.text(), "");
        seen.err.text()
    }

    #[test]
    fn people_get_lines() {
        let piped = "mcpipe: error: cannot start 'x\x1b[2J'\n  no such file\n  or directory\n  token [redacted]\n  \
                     data: {\"big\": 1E400}\nlast lines of the server's stderr:\n  | Traceback\n  | \x1b[31mKeyError\n\
                     hint: run 'mcpipe list'\n";
        assert_eq!(printed(UiOptions::default(), Terminal::default()), piped);
        assert_eq!(printed(UiOptions::default(), at_terminal()), piped.replace('\x1b', "\\x1b"));
        // Shown already as it came.
        assert!(!printed(UiOptions { verbose: 2, ..UiOptions::default() }, Terminal::default()).contains("Traceback"));
    }

    #[test]
    fn colors_mark_the_labels() {
        let options = UiOptions { color: When::Always, ..UiOptions::default() };
        let seen = ui(options, Terminal::default());
        seen.ui.report_failure(&Failure::new(ErrorKind::Usage, "no").hint("yes"));
        assert_eq!(seen.err.text(), "mcpipe: \x1b[1;31merror:\x1b[0m no\n\x1b[36mhint:\x1b[0m yes\n");
    }

    #[test]
    fn json_gets_one_line_of_the_contracts_shape() {
        let options = UiOptions { json: true, quiet: true, ..UiOptions::default() };
        assert_eq!(
            printed(options.clone(), Terminal::default()),
            concat!(
                r#"{"error":{"class":"unreachable","code":5,"message":"cannot start 'x\u001b[2J'","#,
                r#""causes":["no such file\nor directory","token [redacted]"],"hint":"run 'mcpipe list'","#,
                r#""server":"linear","rpc":{"code":-32000,"message":"m"#,
                "\u{202e}",
                r#"","data":{"big": 1E400}},"stderr":["Traceback","\u001b[31mKeyError"]}}"#,
                "\n"
            )
        );
        assert!(printed(options, at_terminal()).contains(r#""message":"m\u202e""#));
        assert_eq!(
            failure_json(&Failure::new(ErrorKind::Timeout, "late")),
            r#"{"class":"timeout","code":6,"message":"late","causes":[],"hint":null,"server":null,"rpc":null}"#
        );
    }

    #[test]
    fn a_failure_loses_secrets_in_every_value_and_no_member_name() {
        let coded = |code| {
            let data = RawValue::from_string(r#"{"pin": 32602,"message":"class"}"#.into()).unwrap();
            let rpc =
                RpcError { code: Some(code), message: "message 32602".into(), data: Some(data), ..RpcError::default() };
            Failure::new(ErrorKind::Failed, "message").cause("class").hint("32602").server("32602").rpc(rpc)
        };
        let seen = ui(UiOptions { json: true, ..UiOptions::default() }, Terminal::default());
        ["32602", "message", "class", "failed", "null"].iter().for_each(|secret| seen.ui.redact(secret));
        let expected = |code: i64| {
            format!(
                r#"{{"class":"failed","code":1,"message":"[redacted]","causes":["[redacted]"],"hint":"[redacted]","server":"[redacted]","rpc":{{"code":{code},"message":"[redacted] [redacted]","data":{{"pin": "[redacted]","message":"[redacted]"}}}}}}"#
            )
        };
        seen.ui.report_failure(&coded(-32602));
        assert_eq!(seen.err.text(), format!("{{\"error\":{}}}\n", expected(-32602)));
        // A code that only this server uses may be anything.
        assert_eq!(seen.ui.redacted_failure_json(&coded(7_326_020)), expected(0));
        assert_eq!(seen.ui.failure_text(&coded(1)), "[redacted]\n[redacted]");
    }

    #[test]
    fn a_closed_pipe_says_nothing() {
        let seen = ui(UiOptions { json: true, ..UiOptions::default() }, Terminal::default());
        seen.ui.report_failure(&Failure::new(ErrorKind::ClosedPipe, "x"));
        assert_eq!(seen.err.text(), "");
    }
}
