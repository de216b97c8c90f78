//! The secrets that configured strings refer to by `${keychain:NAME}` and `${command:LINE}`.
//!
//! Nothing is fetched here: reading an entry requests values, and records those that are not known yet. The caller
//! fetches them and reads the entry again, so that only secrets in use are fetched. For `config check`, references are
//! checked and nothing is fetched.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use crate::secret::Secret;

/// A secret that a string refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretReference {
    /// The secret with this name in the credential store.
    Keychain(String),
    /// The output of this command line; no shell is run.
    Command(String),
}

/// A reference and its context.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRequest {
    /// The secret.
    pub reference: SecretReference,
    /// The directory of the configuration file, to which a program's path is relative.
    pub config_dir: PathBuf,
    /// The working directory of the command, unless it is the current one.
    pub working_dir: Option<PathBuf>,
}

/// Why a secret is not available. Never contains its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    /// The problem, to be followed by what refers to it.
    pub message: String,
    /// The causes.
    pub cause: Option<String>,
    /// The next step.
    pub hint: Option<String>,
}

impl SecretError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        SecretError { message: message.into(), cause: None, hint: None }
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn cause(self, cause: impl Into<String>) -> Self {
        SecretError { cause: Some(cause.into()), ..self }
    }

    /// Sets the next step.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        SecretError { hint: Some(hint.into()), ..self }
    }
}

/// The outcome of fetching a secret.
pub type SecretResult = Result<Secret, SecretError>;

/// Returns why a secret is not available, if that is known without fetching it.
type SecretChecker<'a> = Box<dyn Fn(&SecretRequest) -> Result<(), SecretError> + 'a>;

/// The values of secrets, as far as they are known.
#[derive(Default)]
pub struct Secrets<'a> {
    resolved: RefCell<HashMap<SecretRequest, SecretResult>>,
    missing: RefCell<Vec<SecretRequest>>,
    checker: Option<SecretChecker<'a>>,
}

impl<'a> Secrets<'a> {
    /// Has a placeholder for every value that `judge` finds nothing wrong with.
    #[must_use]
    pub fn placeholders_checked_by(judge: impl Fn(&SecretRequest) -> Result<(), SecretError> + 'a) -> Self {
        Secrets { checker: Some(Box::new(judge)), ..Secrets::default() }
    }

    /// Has a placeholder for every value.
    #[must_use]
    pub fn placeholders() -> Self {
        Secrets::placeholders_checked_by(|_| Ok(()))
    }

    /// The value; an unknown one is recorded as missing.
    pub(crate) fn get(&self, request: &SecretRequest) -> Result<String, SecretError> {
        if let Some(judge) = &self.checker {
            return judge(request).map(|()| "secret".to_owned());
        }
        if let Some(outcome) = self.resolved.borrow().get(request) {
            return outcome.as_ref().map(|secret| secret.reveal().to_owned()).map_err(Clone::clone);
        }
        let mut wanted = self.missing.borrow_mut();
        if !wanted.contains(request) {
            wanted.push(request.clone());
        }
        Err(SecretError::new("a secret was not fetched"))
    }

    /// The values that are missing; they are to be fetched and passed to [`Secrets::set_result`], and the entry read
    /// again.
    #[must_use]
    pub fn take_missing(&self) -> Vec<SecretRequest> {
        std::mem::take(&mut self.missing.borrow_mut())
    }

    /// Records the outcome of fetching a secret.
    pub fn set_result(&self, request: SecretRequest, outcome: SecretResult) {
        self.resolved.borrow_mut().insert(request, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> SecretRequest {
        SecretRequest {
            reference: SecretReference::Keychain(name.to_owned()),
            config_dir: PathBuf::new(),
            working_dir: None,
        }
    }

    #[test]
    fn a_requested_secret_is_missing_until_it_is_set() {
        let secrets = Secrets::default();
        assert!(secrets.get(&request("a")).is_err() && secrets.get(&request("a")).is_err());
        assert_eq!(secrets.take_missing(), [request("a")]);
        secrets.set_result(request("a"), Ok(Secret::new("value")));
        assert_eq!(secrets.get(&request("a")).as_deref(), Ok("value"));
        secrets.set_result(request("b"), Err(SecretError::new("gone")));
        assert_eq!(secrets.get(&request("b")), Err(SecretError::new("gone")));
        assert!(secrets.take_missing().is_empty());
    }

    #[test]
    fn placeholders_fetch_no_secret() {
        let secrets = Secrets::placeholders_checked_by(|asked| match &asked.reference {
            SecretReference::Keychain(name) if name == "gone" => Err(SecretError::new("gone")),
            _ => Ok(()),
        });
        assert!(secrets.get(&request("a")).is_ok() && secrets.get(&request("gone")).is_err());
        assert!(secrets.take_missing().is_empty());
    }
}
