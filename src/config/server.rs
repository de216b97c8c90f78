//! One configured server as it is in its file: not checked, and without expanding variables and secrets.

use std::sync::Arc;

use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::origin::{ConfigDiagnostic, ConfigFile, ConfigFormat, ValueOrigin};
use crate::config::trust;
use crate::config::value::expand::variable_references;
use crate::error::{Failure, Result};

/// One configured server, as written.
#[derive(Clone, Debug)]
pub struct ConfiguredServer {
    /// Its name.
    pub name: String,
    /// The file it is in.
    pub source: Arc<ConfigFile>,
    /// The position of its name in the file.
    pub offset: usize,
    /// Its content, with mcpipe's own keys.
    pub entry: ConfigNode,
    /// The entries of lower layers that it overrides, lowest first.
    pub overridden: Vec<ValueOrigin>,
    /// Whether one of them is the user's own or in a file that is trusted.
    pub(super) overrides_trusted_entry: bool,
    /// Whether its file was trusted with different content.
    pub(super) is_changed_since_trusted: bool,
}

impl ConfiguredServer {
    /// The entry of this member of a file.
    #[must_use]
    pub fn new(source: &Arc<ConfigFile>, member: &ConfigMember) -> Self {
        ConfiguredServer {
            name: member.key.clone(),
            source: Arc::clone(source),
            offset: member.offset,
            entry: member.value.clone(),
            overridden: Vec::new(),
            overrides_trusted_entry: false,
            is_changed_since_trusted: false,
        }
    }

    /// Its position.
    #[must_use]
    pub fn origin(&self) -> ValueOrigin {
        ValueOrigin { file: Arc::clone(&self.source), line: self.source.line_at(self.offset) }
    }

    /// Its table, for messages.
    #[must_use]
    pub fn section_name(&self) -> String {
        match self.source.format {
            ConfigFormat::Toml => format!("[servers.{}]", self.name),
            ConfigFormat::Json => format!("'{}'", self.name),
        }
    }

    /// Whether it has a URL; otherwise it is started as a command.
    #[must_use]
    pub fn is_url(&self) -> bool {
        self.entry.get("url").is_some()
    }

    /// The byte offset at which it is disabled, if it is. An untrusted file cannot disable a server of
    /// the user's own or of a trusted file.
    #[must_use]
    pub fn disabled_at(&self) -> Option<usize> {
        let is_untrusted = self.overrides_trusted_entry && self.trust_reason().is_some();
        self.written_disabled_at().filter(|_| !is_untrusted)
    }

    /// The byte offset of `disabled = true`, if the entry has it.
    pub(super) fn written_disabled_at(&self) -> Option<usize> {
        self.entry
            .get("disabled")
            .filter(|member| member.value.value == ConfigValue::Bool(true))
            .map(|member| member.offset)
    }

    /// Why it needs trust that its file does not have.
    #[must_use]
    pub fn trust_reason(&self) -> Option<String> {
        if self.source.is_trusted {
            None
        } else {
            trust::trust_reason(&self.source, &self.entry, self.overrides_trusted_entry)
        }
    }

    /// The variables that `bearer_env` names and `auth` refers to, unless it needs trust that its file does not have.
    pub(super) fn secret_variables(&self) -> Vec<String> {
        let mut names = Vec::new();
        if self.trust_reason().is_some() {
            return names;
        }
        names.extend(self.entry.get("bearer_env").and_then(|member| member.value.as_str()).map(str::to_owned));
        if let Some(auth) = self.entry.get("auth") {
            auth.value.for_each_string(&mut |text, _| names.extend(variable_references(text)));
        }
        names
    }

    /// Checks that it may be used.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::error::ErrorKind::Config) if it is disabled, or needs trust that its file does not
    /// have.
    pub fn check_usable(&self) -> Result<()> {
        if let Some(at) = self.disabled_at() {
            let fault = ConfigDiagnostic::at(&self.source, at, format!("'{}' is disabled", self.name));
            return Err(Failure::from(fault.hint("remove 'disabled' from the entry to use it")));
        }
        match self.trust_reason() {
            Some(reason) => {
                Err(trust::untrusted_failure(&self.source, &self.name, &reason, self.is_changed_since_trusted))
            }
            None => Ok(()),
        }
    }
}
