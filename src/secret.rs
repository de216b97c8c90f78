//! Text that must not be shown: it has no `Display`, and its `Debug` shows a placeholder.

use std::fmt;

/// A secret: a token, a password, the value of a header that the user configured.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// Replaces a secret in every log, trace and error.
pub const REDACTED: &str = "[redacted]";

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself, for the one place that sends or stores it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}
