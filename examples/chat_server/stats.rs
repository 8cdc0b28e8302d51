//! What the server counts, and how it tells.

use std::cell::Cell;

#[derive(Default)]
pub struct Counters {
    /// Connections that became clients.
    pub accepted: Cell<u64>,
    /// Connections turned away because there were too many.
    pub refused: Cell<u64>,
    /// Lines from clients, whatever was in them.
    pub received: Cell<u64>,
    /// Messages given to the kernel for clients; an answer of several lines is one.
    pub sent: Cell<u64>,
    /// Messages that clients missed because they read too slowly.
    pub dropped: Cell<u64>,
    /// Clients whose queue is half full, and whose writer is only waiting for its turn. While there are any, nothing more
    /// should be said.
    pub crowded: Cell<usize>,
}

impl Counters {
    /// The line about everything, at the end.
    pub fn total(&self) -> String {
        format!(
            "served {} clients, turned {} away, {} lines received, {} messages sent, {} dropped",
            self.accepted.get(),
            self.refused.get(),
            self.received.get(),
            self.sent.get(),
            self.dropped.get(),
        )
    }
}

/// The three figures whose growth is told every second.
#[derive(Clone, Copy)]
pub struct Snapshot {
    received: u64,
    sent: u64,
    dropped: u64,
}

impl Snapshot {
    pub fn of(counters: &Counters) -> Snapshot {
        Snapshot {
            received: counters.received.get(),
            sent: counters.sent.get(),
            dropped: counters.dropped.get(),
        }
    }

    /// These figures, and by how much they have grown since `before`.
    pub fn since(&self, before: &Snapshot) -> String {
        format!(
            "received {} (+{}) | sent {} (+{}) | dropped {} (+{})",
            self.received,
            self.received - before.received,
            self.sent,
            self.sent - before.sent,
            self.dropped,
            self.dropped - before.dropped,
        )
    }
}
