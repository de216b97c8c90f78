//! The configuration, read once, when it is first needed.

use std::cell::OnceCell;
use std::path::Path;

use super::settings::Defaults;
use super::{Config, paths};
use crate::env::Environment;
use crate::error::Result;

/// The configuration, read when it is first needed.
///
/// A URL as target does not need it: no file is opened unless --config or MCPIPE_CONFIG names one.
#[derive(Debug)]
pub struct LazyConfig<'a> {
    environment: &'a Environment,
    explicit_path: Option<&'a Path>,
    loaded: OnceCell<Config>,
}

impl<'a> LazyConfig<'a> {
    /// Nothing is read yet; `flag` is `--config`.
    #[must_use]
    pub fn new(environment: &'a Environment, flag: Option<&'a Path>) -> Self {
        LazyConfig { environment, explicit_path: flag, loaded: OnceCell::new() }
    }

    /// The environment for finding files and expanding references.
    #[must_use]
    pub fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// The configuration.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn config(&self) -> Result<&Config> {
        if let Some(config) = self.loaded.get() {
            return Ok(config);
        }
        let config = Config::load(self.environment, self.explicit_path)?;
        Ok(self.loaded.get_or_init(|| config))
    }

    /// The defaults for a target that is not configured: those of the file that `--config` or `MCPIPE_CONFIG` names.
    /// Without one there are none, since no file is read that the user did not ask for.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn ad_hoc_defaults(&self) -> Result<Defaults> {
        match paths::explicit_file(self.environment, self.explicit_path) {
            Some(_) => Ok(self.config()?.defaults.clone()),
            None => Ok(Defaults::default()),
        }
    }
}
