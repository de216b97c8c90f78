//! What commands set at a server that they share: subscriptions to resources, and the level of log messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::LogLevel;

/// The level of log messages for a command that set none, after another one did.
const DEFAULT_LEVEL: LogLevel = LogLevel::Info;

/// The settings of all commands, by their numbers.
#[derive(Default)]
pub(super) struct SharedSettings {
    /// Who is subscribed to each resource.
    subscribers: BTreeMap<String, BTreeSet<u64>>,
    levels: BTreeMap<u64, LogLevel>,
    /// The level that the server has, if one was set.
    level: Option<LogLevel>,
    /// Whether a command set one, also if the server has forgotten or refused it.
    is_level_set: bool,
}

impl SharedSettings {
    pub(super) fn subscribe(&mut self, client: u64, uri: &str) {
        self.subscribers.entry(uri.to_owned()).or_default().insert(client);
    }

    /// Ends a subscription. Returns whether the server has to know: no other command is subscribed.
    pub(super) fn unsubscribe(&mut self, client: u64, uri: &str) -> bool {
        let Some(others) = self.subscribers.get_mut(uri) else { return true };
        others.remove(&client);
        let is_last = others.is_empty();
        if is_last {
            self.subscribers.remove(uri);
        }
        is_last
    }

    /// Sets the level of a command. Returns the level to set at the server if that sends less than some command needs,
    /// or more than any does.
    pub(super) fn set_level(&mut self, client: u64, level: LogLevel) -> Option<LogLevel> {
        self.levels.insert(client, level);
        self.is_level_set = true;
        let needed = self.levels.values().min().copied();
        needed.filter(|_| std::mem::replace(&mut self.level, needed) != needed)
    }

    /// Forgets the level of the server, which is not known: it has not confirmed it.
    pub(super) fn forget_level(&mut self) {
        self.level = None;
    }

    /// Whether a command is to get log messages of this level.
    pub(super) fn wants_log(&self, client: u64, level: LogLevel) -> bool {
        let own = self.levels.get(&client).copied();
        !self.is_level_set || level >= own.unwrap_or(DEFAULT_LEVEL)
    }

    /// Forgets what the server has: it has forgotten it itself.
    pub(super) fn forget_server(&mut self) {
        self.subscribers.clear();
        self.forget_level();
    }

    /// Forgets a command. Returns the resources to which no other command is subscribed.
    pub(super) fn remove(&mut self, client: u64) -> Vec<String> {
        self.levels.remove(&client);
        let uris: Vec<String> =
            self.subscribers.iter().filter(|(_, all)| all.contains(&client)).map(|(uri, _)| uri.clone()).collect();
        uris.into_iter().filter(|uri| self.unsubscribe(client, uri)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_subscriber_ends_a_subscription() {
        let mut settings = SharedSettings::default();
        settings.subscribe(1, "a");
        settings.subscribe(2, "a");
        settings.subscribe(2, "b");
        assert!(!settings.unsubscribe(1, "a"));
        assert_eq!(settings.remove(2), ["a", "b"]);
        assert!(settings.unsubscribe(2, "a"), "one that is not known is passed on");
    }

    #[test]
    fn the_server_has_the_most_verbose_level_and_each_command_gets_its_own() {
        let mut settings = SharedSettings::default();
        assert!(settings.wants_log(1, LogLevel::Debug), "without a level, the server decides");
        assert_eq!(settings.set_level(1, LogLevel::Error), Some(LogLevel::Error));
        assert_eq!(settings.set_level(2, LogLevel::Debug), Some(LogLevel::Debug));
        assert_eq!(settings.set_level(3, LogLevel::Warning), None);
        assert!(settings.wants_log(2, LogLevel::Debug) && !settings.wants_log(1, LogLevel::Warning));
        settings.remove(2);
        assert!(!settings.wants_log(4, LogLevel::Debug) && settings.wants_log(4, LogLevel::Info));
        assert_eq!(settings.set_level(1, LogLevel::Error), Some(LogLevel::Warning), "no command needs more any longer");
        settings.forget_level();
        assert_eq!(settings.set_level(1, LogLevel::Error), Some(LogLevel::Warning));
    }
}
