//! The frame of the HTML pages that reports are written to: one file that loads nothing and runs no script.

use crate::output::escape;

/// Colors follow the reader's system (`prefers-color-scheme`); long lines wrap, so that a narrow screen needs no
/// scrolling.
const STYLE: &str = include_str!("report.css");

/// A page with this body. The policy allows the style and nothing else, in case that something was not escaped.
#[must_use]
pub(super) fn page(title: &str, body: &str) -> String {
    let title = text(title);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}<p class=\"dim\">mcpipe {version}</p>\n</body>\n</html>\n"
    )
}

/// Text for HTML, also in attributes. Invisible characters are made visible.
#[must_use]
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escape::make_visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
