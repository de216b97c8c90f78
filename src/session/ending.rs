//! The end of a session, and what the end of a child tells about its server.

use std::sync::atomic::Ordering;

use super::Session;

impl Session {
    /// Ends the session in order; nothing is left running.
    pub async fn close(&self) {
        let live = self.open.lock().await.take();
        if let Some(live) = live {
            if live.era.bears_haste() == Some(false) {
                self.learn(&live);
            }
            let interrupted = self.options.transport.interrupt.raised().is_some();
            let in_order = !interrupted && !self.failed.load(Ordering::Relaxed);
            // Whoever takes no notice of the end of its input is not waited for every time.
            let stubborn = in_order && self.memory.verdict().is_some_and(|verdict| verdict.stubborn.is_some());
            let gone = live.link.gone().is_some();
            live.link.close(in_order && !stubborn).await;
            match live.link.transport().was_forced() {
                true if in_order && !stubborn => self.memory.keep_stubborn(true),
                // Who was gone before has shown nothing.
                false if stubborn && !gone => self.memory.keep_stubborn(false),
                _ => {}
            }
        }
        if self.peer.lists_changed() {
            self.memory.forget_lists();
        }
    }
}
