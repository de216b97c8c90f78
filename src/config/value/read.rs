//! Reads typed values from a checked table, with references expanded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::expand::{self, VariableScope};
use super::secrets::{SecretRequest, Secrets};
use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::keys;
use crate::config::keys::{ConfigKey, KeyType};
use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::paths::resolve_path;
use crate::config::table_check;
use crate::env::Environment;
use crate::util::duration::parse_duration;
use crate::util::limit::Limit;

/// A value and its byte offset in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// The byte offset.
    pub offset: usize,
}

/// What a child process inherits from mcpipe's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InheritEnv {
    /// Everything except mcpipe's own secrets.
    #[default]
    All,
    /// Nothing.
    Nothing,
    /// These variables.
    Only(Vec<String>),
}

/// A checked table and its keys.
#[derive(Clone, Copy)]
pub(crate) struct CheckedTable<'a> {
    pub node: &'a ConfigNode,
    pub keys: &'static [ConfigKey],
    pub section: &'a str,
}

/// Reads values of a checked table, expands references, and collects errors.
pub(crate) struct ValueReader<'a> {
    pub source: &'a Arc<ConfigFile>,
    pub environment: &'a Environment,
    pub secrets: &'a Secrets<'a>,
    /// The variables that take precedence over the environment.
    pub own_variables: Vec<(String, String)>,
    pub diagnostics: Vec<ConfigDiagnostic>,
}

impl<'a> ValueReader<'a> {
    /// A reader without errors.
    pub fn new(source: &'a Arc<ConfigFile>, environment: &'a Environment, secrets: &'a Secrets<'a>) -> Self {
        ValueReader { source, environment, secrets, own_variables: Vec::new(), diagnostics: Vec::new() }
    }

    /// Expands one string at the key `name`.
    fn expand(&mut self, table: CheckedTable<'_>, name: &str, text: &str, at: usize) -> Option<String> {
        let directory = self.source.directory();
        let mut secret = |reference| {
            // Programs of a project are found relative to the project, like its servers.
            let cwd = self.source.layer.is_project().then(|| directory.to_owned());
            self.secrets.get(&SecretRequest { reference, config_dir: directory.to_owned(), working_dir: cwd })
        };
        let scope = VariableScope { environment: self.environment, own: &self.own_variables };
        match expand::expand(text, scope, &mut secret) {
            Ok(expanded) => Some(expanded),
            Err(problem) => {
                let message = format!("{problem}; '{name}' in {} refers to it", table.section);
                let fault = ConfigDiagnostic::at(self.source, at, message);
                self.diagnostics.push(match &problem {
                    expand::ExpandError::UnsetVariable(variable) => {
                        fault.hint(format!("set {variable}, or add a default: ${{{variable}:-…}}"))
                    }
                    expand::ExpandError::Secret(why) => {
                        ConfigDiagnostic { cause: why.cause.clone(), hint: why.hint.clone(), ..fault }
                    }
                    _ => fault,
                });
                None
            }
        }
    }

    pub fn spanned_string(&mut self, table: CheckedTable<'_>, name: &str) -> Option<Spanned<String>> {
        let member = table.node.get(name)?;
        let written = member.value.as_str()?;
        let value = self.expand(table, name, written, member.value.offset)?;
        // Values without references have been checked already.
        let kind = keys::find_key(table.keys, name).map_or(KeyType::String, |key| key.key_type);
        if let Err(wrong) = table_check::check_string(kind, &value) {
            let message = format!("'{name}' in {} {wrong}", table.section);
            self.diagnostics.push(ConfigDiagnostic::at(self.source, member.value.offset, message));
            return None;
        }
        Some(Spanned { value, offset: member.value.offset })
    }

    pub fn string(&mut self, table: CheckedTable<'_>, name: &str) -> Option<String> {
        self.spanned_string(table, name).map(|set| set.value)
    }

    pub fn path(&mut self, table: CheckedTable<'_>, name: &str) -> Option<PathBuf> {
        self.string(table, name).map(|text| resolve_path(self.environment, self.source, &text))
    }

    pub fn string_list(&mut self, table: CheckedTable<'_>, name: &str) -> Option<Vec<String>> {
        let ConfigValue::Array(items) = &table.node.get(name)?.value.value else { return None };
        let texts = items.iter().filter_map(|item| {
            let text = item.as_str()?;
            self.expand(table, name, text, item.offset)
        });
        Some(texts.collect())
    }

    pub fn string_map(&mut self, table: CheckedTable<'_>, name: &str) -> Vec<(String, Spanned<String>)> {
        let Some(member) = table.node.get(name) else { return Vec::new() };
        let pairs = member.value.members().iter().filter_map(|pair| {
            let text = pair.value.as_str()?;
            let value = self.expand(table, &format!("{name}.{}", pair.key), text, pair.value.offset)?;
            Some((pair.key.clone(), Spanned { value, offset: pair.value.offset }))
        });
        pairs.collect()
    }

    pub fn boolean(&mut self, table: CheckedTable<'_>, name: &str) -> bool {
        self.optional_boolean(table, name).unwrap_or_default()
    }

    pub fn optional_boolean(&mut self, table: CheckedTable<'_>, name: &str) -> Option<bool> {
        match table.node.get(name)?.value.value {
            ConfigValue::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    pub fn integer(&mut self, table: CheckedTable<'_>, name: &str) -> Option<u16> {
        match table.node.get(name)?.value.value {
            ConfigValue::Integer(number) => u16::try_from(number).ok(),
            _ => None,
        }
    }

    pub fn duration(&mut self, table: CheckedTable<'_>, name: &str) -> Option<Duration> {
        match &table.node.get(name)?.value.value {
            ConfigValue::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            ConfigValue::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            _ => self.string(table, name).and_then(|text| parse_duration(&text).ok()),
        }
    }

    /// A duration of which 0 means no limit.
    pub fn time_limit(&mut self, table: CheckedTable<'_>, name: &str) -> Option<Limit<Duration>> {
        self.duration(table, name).map(Limit::from)
    }

    pub fn inherit_env(&mut self, table: CheckedTable<'_>, name: &str) -> InheritEnv {
        match table.node.get(name).map(|member| &member.value.value) {
            Some(ConfigValue::Bool(false)) => InheritEnv::Nothing,
            Some(ConfigValue::Array(_)) => InheritEnv::Only(self.string_list(table, name).unwrap_or_default()),
            _ => InheritEnv::All,
        }
    }
}
