//! Distributes the server's notifications to subscribers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::util::lock::lock;

/// The capacity of a subscriber's queue; further notifications are dropped, and the subscriber is told that it missed
/// some.
const LISTENER_CAPACITY: usize = 1024;

/// A notification.
#[derive(Clone, Debug)]
pub struct ServerNotification {
    /// Its method.
    pub method: String,
    /// Its parameters; `Null` if there are none.
    pub params: Value,
}

/// What a subscriber receives.
#[derive(Clone, Debug)]
pub enum Received {
    /// A notification.
    Notification(ServerNotification),
    /// Notifications were dropped, because the queue was full.
    Missed,
}

/// The queue of one subscriber.
pub struct NotificationQueue {
    receiver: mpsc::Receiver<ServerNotification>,
    has_missed: Arc<AtomicBool>,
    /// How many notifications were in the queue when the subscriber was last told that it missed some. It is not told
    /// again before it has received them, so that it gets ahead although the server sends without a pause.
    told_before: usize,
}

impl NotificationQueue {
    /// The next notification, or that some were missed; `None` after the end of the session.
    pub async fn recv(&mut self) -> Option<Received> {
        if self.told_before == 0 && self.has_missed.swap(false, Ordering::Relaxed) {
            self.told_before = self.receiver.len();
            return Some(Received::Missed);
        }
        let notification = self.receiver.recv().await?;
        self.told_before = self.told_before.saturating_sub(1);
        Some(Received::Notification(notification))
    }
}

/// The broadcaster's side of a queue.
struct Subscriber {
    sender: mpsc::Sender<ServerNotification>,
    has_missed: Arc<AtomicBool>,
}

/// Distributes notifications to subscribers.
#[derive(Default)]
pub struct NotificationBroadcaster(Mutex<Vec<Subscriber>>);

impl NotificationBroadcaster {
    /// Subscribes to all further notifications.
    #[must_use]
    pub fn subscribe(&self) -> NotificationQueue {
        let (sender, receiver) = mpsc::channel(LISTENER_CAPACITY);
        let has_missed = Arc::<AtomicBool>::default();
        lock(&self.0).push(Subscriber { sender, has_missed: has_missed.clone() });
        NotificationQueue { receiver, has_missed, told_before: 0 }
    }

    /// Sends a notification to all subscribers.
    pub fn publish(&self, method: &str, params: &Value) {
        let mut subscribers = lock(&self.0);
        subscribers.retain(|subscriber| !subscriber.sender.is_closed());
        for subscriber in subscribers.iter() {
            let notification = ServerNotification { method: method.to_owned(), params: params.clone() };
            if subscriber.sender.try_send(notification).is_err() {
                subscriber.has_missed.store(true, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The numbers of the notifications in the queue, and `None` where some were missed.
    fn received(queue: &mut NotificationQueue, most: usize) -> Vec<Option<u64>> {
        let number = |received| match received {
            Received::Notification(notification) => notification.params.as_u64(),
            Received::Missed => None,
        };
        std::iter::from_fn(|| queue.recv().now_or_never().flatten()).map(number).take(most).collect()
    }

    #[test]
    fn every_subscriber_is_notified_and_queues_are_bounded() {
        let notices = NotificationBroadcaster::default();
        let publish = |numbers: std::ops::Range<usize>| numbers.for_each(|n| notices.publish("n", &n.into()));
        notices.publish("early", &Value::Null);
        let mut queue = notices.subscribe();
        drop(notices.subscribe());
        publish(0..3);
        assert_eq!(received(&mut queue, usize::MAX), [Some(0), Some(1), Some(2)]);
        publish(0..2 * LISTENER_CAPACITY);
        assert_eq!(received(&mut queue, 3), [None, Some(0), Some(1)]);
        // What is missed meanwhile is reported after what was in the queue.
        publish(0..2 * LISTENER_CAPACITY);
        let rest = received(&mut queue, usize::MAX);
        assert_eq!(rest.iter().position(Option::is_none), Some(LISTENER_CAPACITY - 2));
        assert_eq!(rest.len(), LISTENER_CAPACITY + 1);
        assert_eq!(notices.0.lock().map(|all| all.len()).unwrap_or_default(), 1);
    }
}
