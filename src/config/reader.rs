//! Reading typed values out of a checked table, references expanded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::origins::{Fault, Source};
use super::schema::{self, Key, Kind};
use super::secrets::{Request, Secrets};
use super::settings::{Inherit, Set};
use super::tree::{Node, Value};
use super::{expand, relative_to};
use crate::env::Environment;

/// A checked table and what is known of its keys.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub node: &'a Node,
    pub keys: &'static [Key],
    pub section: &'a str,
}

/// Reads values of a checked table, expanding references; collects what is wrong.
pub(super) struct Reader<'a> {
    pub source: &'a Arc<Source>,
    pub environment: &'a Environment,
    pub secrets: &'a Secrets<'a>,
    pub faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// Nothing is wrong yet.
    pub fn new(source: &'a Arc<Source>, environment: &'a Environment, secrets: &'a Secrets<'a>) -> Self {
        Reader { source, environment, secrets, faults: Vec::new() }
    }

    /// Expands one string that stands under `name`.
    fn expand(&mut self, table: Table<'_>, name: &str, text: &str, at: usize) -> Option<String> {
        let directory = self.source.directory();
        let mut secret = |reference| {
            // What a project needs is found from the project, like its servers.
            let cwd = self.source.layer.is_project().then(|| directory.to_owned());
            self.secrets.get(&Request { reference, base: directory.to_owned(), cwd })
        };
        match expand::expand(text, self.environment, &mut secret) {
            Ok(expanded) => Some(expanded.text),
            Err(problem) => {
                let message = format!("{problem}, and '{name}' in {} refers to it", table.section);
                let fault = Fault::new(self.source, at, message);
                self.faults.push(match &problem {
                    expand::Problem::Unset(variable) => {
                        fault.hint(format!("set {variable}, or give a default: ${{{variable}:-…}}"))
                    }
                    expand::Problem::Secret(why) => Fault { cause: why.cause.clone(), hint: why.hint.clone(), ..fault },
                    _ => fault,
                });
                None
            }
        }
    }

    pub fn text(&mut self, table: Table<'_>, name: &str) -> Option<Set<String>> {
        let member = table.node.get(name)?;
        let written = member.value.as_text()?;
        let value = self.expand(table, name, written, member.value.at)?;
        // What was written without references has been judged already.
        let kind = schema::find(table.keys, name).map_or(Kind::Text, |key| key.kind);
        if let Err(wrong) = schema::check_text(kind, &value) {
            let message = format!("'{name}' in {} {wrong}", table.section);
            self.faults.push(Fault::new(self.source, member.value.at, message));
            return None;
        }
        Some(Set { value, at: member.value.at })
    }

    pub fn plain(&mut self, table: Table<'_>, name: &str) -> Option<String> {
        self.text(table, name).map(|set| set.value)
    }

    pub fn path(&mut self, table: Table<'_>, name: &str) -> Option<PathBuf> {
        self.plain(table, name).map(|text| relative_to(self.environment, self.source, &text))
    }

    pub fn texts(&mut self, table: Table<'_>, name: &str) -> Option<Vec<String>> {
        let Value::List(items) = &table.node.get(name)?.value.value else { return None };
        let texts = items.iter().filter_map(|item| {
            let text = item.as_text()?;
            self.expand(table, name, text, item.at)
        });
        Some(texts.collect())
    }

    pub fn pairs(&mut self, table: Table<'_>, name: &str) -> Vec<(String, Set<String>)> {
        let Some(member) = table.node.get(name) else { return Vec::new() };
        let pairs = member.value.members().iter().filter_map(|pair| {
            let text = pair.value.as_text()?;
            let value = self.expand(table, &format!("{name}.{}", pair.key), text, pair.value.at)?;
            Some((pair.key.clone(), Set { value, at: pair.value.at }))
        });
        pairs.collect()
    }

    pub fn flag(&mut self, table: Table<'_>, name: &str) -> bool {
        table.node.get(name).is_some_and(|member| member.value.value == Value::Flag(true))
    }

    pub fn whole(&mut self, table: Table<'_>, name: &str) -> Option<u16> {
        match table.node.get(name)?.value.value {
            Value::Whole(number) => u16::try_from(number).ok(),
            _ => None,
        }
    }

    pub fn time(&mut self, table: Table<'_>, name: &str) -> Option<Duration> {
        match &table.node.get(name)?.value.value {
            Value::Whole(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Value::Decimal(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            _ => self.plain(table, name).and_then(|text| schema::parse_time(&text).ok()),
        }
    }

    pub fn inherit(&mut self, table: Table<'_>, name: &str) -> Inherit {
        match table.node.get(name).map(|member| &member.value.value) {
            Some(Value::Flag(false)) => Inherit::Nothing,
            Some(Value::List(_)) => Inherit::Names(self.texts(table, name).unwrap_or_default()),
            _ => Inherit::All,
        }
    }
}
