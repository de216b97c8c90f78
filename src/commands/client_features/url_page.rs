//! A page that a server asks the user to visit: the whole URL is shown, its host emphasized, and it is opened only on
//! consent (`ELI-06`).

use url::{Position, Url};

use crate::browser;
use crate::commands::client_features::terminal_input::Prompter;
use crate::env::Environment;
use crate::error::Result;
use crate::output::Style;
use crate::session::client_handler::{ElicitationAnswer, UrlElicitation};

/// Asks, opens the page, and waits if the server waits for the user.
///
/// # Errors
/// When the user cannot be prompted, or mcpipe is interrupted.
pub async fn visit(
    prompter: &Prompter,
    env: &Environment,
    server: &str,
    page: UrlElicitation<'_>,
) -> Result<ElicitationAnswer> {
    let ui = &prompter.ui;
    ui.prompt_spans(&[(Style::BOLD, server), (Style::PLAIN, " asks you to visit a page:")]);
    ui.prompt_server_text(page.message);
    let url = &page.url;
    ui.prompt_spans(&[
        (Style::PLAIN, "  "),
        (Style::PLAIN, &url[..Position::BeforeHost]),
        (Style::BOLD, &url[Position::BeforeHost..Position::AfterHost]),
        (Style::PLAIN, &url[Position::AfterHost..]),
    ]);
    ui.prompt_spans(&[(Style::PLAIN, "  the host is "), (Style::BOLD, url.host_str().unwrap_or_default())]);
    for warning in url_warnings(url) {
        ui.prompt_spans(&[(Style::BOLD_YELLOW, "  warning: "), (Style::PLAIN, warning)]);
    }
    let question = [(Style::PLAIN, "  Open it? [y]es, [m]anually (do not start a browser), [d]ecline, [c]ancel: ")];
    loop {
        let Some(answer) = prompter.ask(&question).await? else { return Ok(ElicitationAnswer::Cancel) };
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => {
                if let Err(failure) = browser::open(url, env).await {
                    ui.prompt_spans(&[(Style::PLAIN, &format!("  {failure}; open it yourself"))]);
                }
                break;
            }
            "m" | "manually" => break,
            "d" | "decline" | "n" | "no" => return Ok(ElicitationAnswer::Decline),
            "c" | "cancel" => return Ok(ElicitationAnswer::Cancel),
            _ => {}
        }
    }
    let Some(until) = page.completion else { return Ok(ElicitationAnswer::AcceptUrl) };
    let wait = [(Style::PLAIN, "  Press Enter when you are done, or [c]ancel: ")];
    let ask = async {
        loop {
            let Some(answer) = prompter.ask(&wait).await? else { return Ok(ElicitationAnswer::Cancel) };
            match answer.trim().to_lowercase().as_str() {
                "" | "y" | "yes" | "done" => return Ok(ElicitationAnswer::AcceptUrl),
                "d" | "decline" => return Ok(ElicitationAnswer::Decline),
                "c" | "cancel" | "n" | "no" => return Ok(ElicitationAnswer::Cancel),
                _ => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = until => {
            ui.prompt_question("\n");
            ui.prompt_text("  the server reports that it is complete");
            Ok(ElicitationAnswer::AcceptUrl)
        }
        answer = ask => answer,
    }
}

/// What may mislead the user about where a URL leads.
fn url_warnings(url: &Url) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    let host = url.host_str().unwrap_or_default();
    if host.split('.').any(|label| label.starts_with("xn--")) {
        warnings.push("the host has characters of another script (punycode) and may imitate another name");
    }
    if !url.username().is_empty() || url.password().is_some() {
        warnings.push("the part before the @ is not the host");
    }
    warnings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn eli_06_what_misleads_is_said() {
        let count = |url: &str| url_warnings(&Url::parse(url).unwrap()).len();
        assert_eq!(count("https://example.com/xn--a"), 0);
        assert_eq!(count("https://www.аpple.com/"), 1);
        assert_eq!(count("https://xn--pple-43d.com@example.com/"), 1);
        assert_eq!(count("https://bank.example@xn--pple-43d.com/"), 2);
    }
}
