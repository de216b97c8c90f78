//! How to reach the user for a login.

use url::Url;

use crate::error::Result;
use crate::secret::Secret;
use crate::transport::BoxFuture;

/// How the user gets to the login page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrowserMode {
    /// mcpipe opens a browser on this machine.
    #[default]
    Launch,
    /// The user opens the page, and pastes the redirected URL (`--no-browser`).
    Manual,
}

/// The user who logs in.
pub trait UserInteraction: Send + Sync {
    /// Shows a text, even with `--quiet`.
    fn show(&self, text: &str);

    /// Shows a warning, unless `--quiet` is set.
    fn warn(&self, text: &str);

    /// Shows a warning, even with `--quiet`.
    fn warn_always(&self, text: &str);

    /// Opens a URL in a browser. The URL has been checked.
    ///
    /// # Errors
    /// If no browser can be started.
    fn open_browser<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>>;

    /// Reads a line from the user.
    ///
    /// # Errors
    /// If the user cannot be prompted, or the input ended.
    fn prompt_line<'a>(&'a self, prompt: &'a str) -> BoxFuture<'a, Result<String>>;

    /// Redacts this text in all later output.
    fn register_secret(&self, secret: &Secret);

    /// Stops redacting a token that is no longer valid.
    fn forget_secret(&self, secret: &Secret);
}
