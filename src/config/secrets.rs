//! The secrets that configured strings refer to by `${keychain:NAME}` and `${command:LINE}`.
//!
//! Nothing is fetched here: reading an entry asks for values, and notes those that are not known yet. Whoever
//! reads it fetches them and reads again, so that only what is used is ever fetched. Where an entry is only
//! looked at (`config check`), references are judged and nothing is fetched at all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use crate::secret::Secret;

/// A secret that a string refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// The secret of this name in the credential store.
    Keychain(String),
    /// What this command line prints; no shell is run.
    Command(String),
}

/// A reference and where it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    /// The secret.
    pub reference: Reference,
    /// The directory of the configuration file, to which a program's path is relative.
    pub base: PathBuf,
    /// The directory in which a command runs, where it is not the one that we are in.
    pub cwd: Option<PathBuf>,
}

/// Why a secret cannot be had. It never says anything about its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What is wrong, to be followed by what refers to it.
    pub message: String,
    /// Why.
    pub cause: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Unavailable {
    /// For this reason.
    pub fn new(message: impl Into<String>) -> Self {
        Unavailable { message: message.into(), cause: None, hint: None }
    }

    /// Sets the reason behind it.
    #[must_use]
    pub fn cause(self, cause: impl Into<String>) -> Self {
        Unavailable { cause: Some(cause.into()), ..self }
    }

    /// Sets what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Unavailable { hint: Some(hint.into()), ..self }
    }
}

/// What became of a secret.
pub type Outcome = Result<Secret, Unavailable>;

/// Says why a secret could not be had, where that can be told without fetching it.
pub type Judge<'a> = Box<dyn Fn(&Request) -> Result<(), Unavailable> + 'a>;

/// The values of secrets, as far as they are known.
#[derive(Default)]
pub struct Secrets<'a> {
    known: RefCell<HashMap<Request, Outcome>>,
    wanted: RefCell<Vec<Request>>,
    judge: Option<Judge<'a>>,
}

impl<'a> Secrets<'a> {
    /// Has a stand-in for every value that `judge` finds nothing wrong with.
    #[must_use]
    pub fn judged(judge: impl Fn(&Request) -> Result<(), Unavailable> + 'a) -> Self {
        Secrets { judge: Some(Box::new(judge)), ..Secrets::default() }
    }

    /// Has a stand-in for every value.
    #[must_use]
    pub fn pretended() -> Self {
        Secrets::judged(|_| Ok(()))
    }

    /// The value; one that is not known yet is noted as wanted.
    pub(super) fn get(&self, request: &Request) -> Result<String, Unavailable> {
        if let Some(judge) = &self.judge {
            return judge(request).map(|()| "secret".to_owned());
        }
        if let Some(outcome) = self.known.borrow().get(request) {
            return outcome.as_ref().map(|secret| secret.reveal().to_owned()).map_err(Clone::clone);
        }
        let mut wanted = self.wanted.borrow_mut();
        if !wanted.contains(request) {
            wanted.push(request.clone());
        }
        Err(Unavailable::new("a secret was not fetched"))
    }

    /// What was asked for and is not known; it is to be fetched, told, and the entry to be read again.
    #[must_use]
    pub fn wanted(&self) -> Vec<Request> {
        std::mem::take(&mut self.wanted.borrow_mut())
    }

    /// Tells what became of a secret.
    pub fn tell(&self, request: Request, outcome: Outcome) {
        self.known.borrow_mut().insert(request, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> Request {
        Request { reference: Reference::Keychain(name.to_owned()), base: PathBuf::new(), cwd: None }
    }

    #[test]
    fn what_is_asked_for_is_wanted_until_it_is_told() {
        let secrets = Secrets::default();
        assert!(secrets.get(&request("a")).is_err() && secrets.get(&request("a")).is_err());
        assert_eq!(secrets.wanted(), [request("a")]);
        secrets.tell(request("a"), Ok(Secret::new("value")));
        assert_eq!(secrets.get(&request("a")).as_deref(), Ok("value"));
        secrets.tell(request("b"), Err(Unavailable::new("gone")));
        assert_eq!(secrets.get(&request("b")), Err(Unavailable::new("gone")));
        assert!(secrets.wanted().is_empty());
    }

    #[test]
    fn where_an_entry_is_only_looked_at_nothing_is_wanted() {
        let secrets = Secrets::judged(|asked| match &asked.reference {
            Reference::Keychain(name) if name == "gone" => Err(Unavailable::new("gone")),
            _ => Ok(()),
        });
        assert!(secrets.get(&request("a")).is_ok() && secrets.get(&request("gone")).is_err());
        assert!(secrets.wanted().is_empty());
    }
}
