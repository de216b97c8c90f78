//! Distributes the server's notifications to subscribers.

use std::sync::Mutex;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::util::lock::lock;

/// The capacity of a subscriber's queue; further notifications are dropped. A subscriber that is so far behind checks
/// for changes anyway, because of those in its queue.
const LISTENER_CAPACITY: usize = 1024;

/// A notification.
#[derive(Clone, Debug)]
pub struct ServerNotification {
    /// Its method.
    pub method: String,
    /// Its parameters; `Null` if there are none.
    pub params: Value,
}

/// Distributes notifications to subscribers.
#[derive(Default)]
pub struct NotificationBroadcaster(Mutex<Vec<mpsc::Sender<ServerNotification>>>);

impl NotificationBroadcaster {
    /// Subscribes to all further notifications.
    #[must_use]
    pub fn subscribe(&self) -> mpsc::Receiver<ServerNotification> {
        let (sender, receiver) = mpsc::channel(LISTENER_CAPACITY);
        lock(&self.0).push(sender);
        receiver
    }

    /// Sends a notification to all subscribers.
    pub fn publish(&self, method: &str, params: &Value) {
        let mut listeners = lock(&self.0);
        listeners.retain(|listener| !listener.is_closed());
        for listener in listeners.iter() {
            let _ = listener.try_send(ServerNotification { method: method.to_owned(), params: params.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_is_notified_and_backlogs_are_bounded() {
        let notices = NotificationBroadcaster::default();
        notices.publish("early", &Value::Null);
        let mut one = notices.subscribe();
        drop(notices.subscribe());
        for n in 0..2 * LISTENER_CAPACITY {
            notices.publish("n", &n.into());
        }
        assert_eq!(one.try_recv().map(|notice| notice.params), Ok(0.into()));
        let more = std::iter::from_fn(|| one.try_recv().ok()).count();
        assert_eq!(more, LISTENER_CAPACITY - 1);
        assert_eq!(notices.0.lock().map(|all| all.len()).unwrap_or_default(), 1);
    }
}
