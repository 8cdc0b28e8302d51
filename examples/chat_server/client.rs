//! A client as the others see it: somebody to send lines to, without ever waiting, and to disconnect.
//!
//! Lines go into a bounded queue, out of which the client's writer takes them. When it is full, because the client reads
//! slower than the others write, the [`SlowPolicy`] decides. So nobody waits for anybody else, and the memory for a client is
//! bounded: queue times longest line.
//!
//! # Slow, or waiting for its turn
//!
//! A queue also fills while its writer is merely waiting for its turn, behind many readers who have something to say. Before it
//! is full the client counts as *crowded*, and readers let the writers go first; see [`Counters::crowded`]. So who takes what
//! it is sent misses nothing, however many talk at once.
//!
//! # The end of a client
//!
//! Whoever finds a reason calls [`Client::end`]: the reader itself, the server when it stops, whoever fills the queue. The first
//! reason counts. It closes the queue and kills the reader; the writer takes what is left, adds the reason as the last line, and
//! closes the connection.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use greenhub::queue::{Queue, TryPutError};
use greenhub::thread::JoinHandle;

use crate::options::SlowPolicy;
use crate::stats::Counters;

/// Bytes that the writer sends in one go, if there are as many.
const BATCH_BYTES: usize = 16 * 1024;

/// Numbers are not used again.
pub type ClientId = u64;

/// Why a client is disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It asked for it, or has closed its side of the connection.
    Quit,
    /// The connection is broken.
    Lost,
    Idle,
    Nameless,
    Flooding,
    Endless,
    Slow,
    /// The server stops.
    Stop,
}

impl End {
    /// The last line that the client gets.
    pub fn farewell(self) -> &'static str {
        match self {
            End::Quit | End::Lost => "* goodbye\n",
            End::Idle => "! disconnected: you have said nothing for too long\n",
            End::Nameless => "! disconnected: you have not chosen a nickname in time\n",
            End::Flooding => "! disconnected: you are sending too much\n",
            End::Endless => "! disconnected: that line has no end\n",
            End::Slow => "! disconnected: you are reading too slowly\n",
            End::Stop => "* the server is shutting down; goodbye\n",
        }
    }

    /// What the others in the room are told.
    pub fn reason(self) -> &'static str {
        match self {
            End::Quit => "quit",
            End::Lost => "connection lost",
            End::Idle => "idle for too long",
            End::Nameless => "no nickname",
            End::Flooding | End::Endless => "sending too much",
            End::Slow => "reading too slowly",
            End::Stop => "shutdown",
        }
    }
}

struct Outgoing {
    /// Lines that were dropped since the one before.
    missed_before: u64,
    line: Rc<str>,
}

pub struct Client {
    pub id: ClientId,
    queue: Queue<Outgoing>,
    capacity: usize,
    policy: SlowPolicy,
    /// Lines dropped of which the client has not been told. They belong in front of the queue if the oldest are dropped, else
    /// at its end.
    missed: Cell<u64>,
    end: Cell<Option<End>>,
    /// The writer has lines to send, so that what is in the queue has to wait for the connection.
    is_writing: Cell<bool>,
    /// Counted in [`Counters::crowded`]. Never while the writer is writing, so it will have its turn.
    is_crowded: Cell<bool>,
    /// Set once the green thread exists, which is before it first runs.
    reader: OnceCell<JoinHandle<()>>,
    counters: Rc<Counters>,
}

/// What the writer sends in one go.
#[derive(Default)]
pub struct Batch {
    pub text: String,
    /// Messages in `text`, without notices of missed ones.
    pub messages: u64,
}

impl Client {
    pub fn new(
        id: ClientId,
        capacity: usize,
        policy: SlowPolicy,
        counters: Rc<Counters>,
    ) -> Client {
        Client {
            id,
            queue: Queue::bounded(capacity),
            capacity,
            policy,
            missed: Cell::new(0),
            end: Cell::new(None),
            is_writing: Cell::new(false),
            is_crowded: Cell::new(false),
            reader: OnceCell::new(),
            counters,
        }
    }

    /// Sends a line, with its end. Never waits; what happens to a client that reads too slowly is decided here.
    pub fn send(&self, line: Rc<str>) {
        let missed_before = match self.policy {
            SlowPolicy::DropNewest => self.missed.get(),
            SlowPolicy::DropOldest | SlowPolicy::Disconnect => 0,
        };
        let outgoing = Outgoing {
            missed_before,
            line,
        };
        match self.queue.try_put(outgoing) {
            Ok(()) => {
                self.missed.update(|missed| missed - missed_before);
                let is_half_full = self.queue.len() >= self.capacity.div_ceil(2);
                if is_half_full && !self.is_writing.get() && !self.is_crowded.replace(true) {
                    self.counters.crowded.update(|crowded| crowded + 1);
                }
            }
            Err(TryPutError::Full(outgoing)) => self.send_to_slow(outgoing),
            // It is about to go.
            Err(TryPutError::Closed(_)) => {}
        }
    }

    #[cold]
    fn send_to_slow(&self, outgoing: Outgoing) {
        match self.policy {
            SlowPolicy::DropOldest => {
                drop(self.queue.try_get());
                self.miss(1);
                let put = self.queue.try_put(outgoing);
                debug_assert!(put.is_ok(), "room has just been made");
            }
            SlowPolicy::DropNewest => self.miss(1),
            SlowPolicy::Disconnect => {
                let left = self.queue.close_immediate();
                self.counters.dropped.update(|n| n + left.len() as u64 + 1);
                self.end(End::Slow);
            }
        }
    }

    fn miss(&self, lines: u64) {
        self.missed.update(|missed| missed + lines);
        self.counters.dropped.update(|dropped| dropped + lines);
    }

    /// Disconnects the client, unless that has begun already. Does not wait.
    pub fn end(&self, end: End) {
        if self.end.get().is_some() {
            return;
        }
        self.end.set(Some(end));
        self.queue.close();
        if let Some(reader) = self.reader.get() {
            // It may be the caller, which then goes on until it reads again.
            reader.kill_nowait();
        }
    }

    /// Why the client is being disconnected, if it is.
    pub fn ended(&self) -> Option<End> {
        self.end.get()
    }

    /// Says which green thread reads what the client sends.
    pub fn set_reader(&self, reader: JoinHandle<()>) {
        if self.end.get().is_some() {
            reader.kill_nowait();
        }
        let was_set = self.reader.set(reader);
        debug_assert!(was_set.is_ok(), "a client has one reader");
    }

    /// Kills the reader, and waits until it has ended.
    pub fn kill_reader(&self) {
        if let Some(reader) = self.reader.get() {
            reader.kill();
        }
    }

    /// Waits for lines to send, and takes those that are there. `None` when the client is to be disconnected and has been sent
    /// all of them. For the writer, which is taken to be sending them until it calls this again.
    pub fn next_batch(&self) -> Option<Batch> {
        self.is_writing.set(false);
        let batch = self.wait_for_batch();
        self.is_writing.set(true);
        self.uncrowd();
        batch
    }

    /// No longer lets readers wait for the writer, which has had its turn, or will never have it.
    pub fn uncrowd(&self) {
        if self.is_crowded.replace(false) {
            self.counters.crowded.update(|crowded| crowded - 1);
        }
    }

    fn wait_for_batch(&self) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut next = self.queue.get().ok();
        while let Some(outgoing) = next {
            // If the oldest lines are dropped, then those were that stood in front of this one.
            let missed = match self.policy {
                SlowPolicy::DropOldest => self.missed.take(),
                SlowPolicy::DropNewest | SlowPolicy::Disconnect => outgoing.missed_before,
            };
            batch.add_notice(missed);
            batch.text.push_str(&outgoing.line);
            batch.messages += 1;
            if batch.text.len() >= BATCH_BYTES {
                return Some(batch);
            }
            next = self.queue.try_get().ok();
        }
        // Nothing is left, so what has been dropped came after all of that.
        batch.add_notice(self.missed.take());
        (!batch.text.is_empty()).then_some(batch)
    }
}

impl Batch {
    fn add_notice(&mut self, missed: u64) {
        match missed {
            0 => {}
            1 => self
                .text
                .push_str("! you read too slowly: 1 line was dropped here\n"),
            n => {
                let notice = format!("! you read too slowly: {n} lines were dropped here\n");
                self.text.push_str(&notice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(policy: SlowPolicy) -> Client {
        Client::new(1, 3, policy, Rc::default())
    }

    fn send(client: &Client, numbers: std::ops::RangeInclusive<u32>) {
        for number in numbers {
            client.send(format!("{number}\n").into());
        }
    }

    fn received(client: &Client) -> String {
        client.next_batch().expect("there are lines").text
    }

    #[test]
    fn lines_wait_in_order() {
        let client = client(SlowPolicy::DropOldest);
        send(&client, 1..=3);
        assert_eq!(received(&client), "1\n2\n3\n");
        assert_eq!(client.counters.dropped.get(), 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let client = client(SlowPolicy::DropOldest);
        send(&client, 1..=10);
        let text = received(&client);
        assert_eq!(
            text,
            "! you read too slowly: 7 lines were dropped here\n8\n9\n10\n"
        );
        send(&client, 11..=14);
        let text = received(&client);
        assert_eq!(
            text,
            "! you read too slowly: 1 line was dropped here\n12\n13\n14\n"
        );
        assert_eq!(client.counters.dropped.get(), 8);
    }

    #[test]
    fn the_newest_are_not_put() {
        let client = client(SlowPolicy::DropNewest);
        send(&client, 1..=5);
        let text = received(&client);
        assert_eq!(
            text,
            "1\n2\n3\n! you read too slowly: 2 lines were dropped here\n"
        );
        send(&client, 6..=6);
        assert_eq!(received(&client), "6\n", "it is told once");
        assert_eq!(client.counters.dropped.get(), 2);
    }

    #[test]
    fn a_gap_between_lines_is_told_in_its_place() {
        let client = client(SlowPolicy::DropNewest);
        send(&client, 1..=5);
        drop(client.queue.try_get());
        send(&client, 6..=7);
        let text = received(&client);
        let gap = |n| format!("! you read too slowly: {n} dropped here\n");
        assert_eq!(
            text,
            format!("2\n3\n{}6\n{}", gap("2 lines were"), gap("1 line was"))
        );
    }

    #[test]
    fn a_queue_fills_up_before_its_writer_has_had_its_turn() {
        let client = client(SlowPolicy::DropOldest);
        let crowded = || client.counters.crowded.get();
        send(&client, 1..=1);
        assert_eq!(crowded(), 0);
        send(&client, 2..=3);
        assert_eq!(crowded(), 1);
        received(&client);
        assert_eq!(crowded(), 0);
        send(&client, 4..=9);
        assert_eq!(crowded(), 0, "the writer is writing");
        received(&client);
        client.end(End::Quit);
        assert!(client.next_batch().is_none());
        send(&client, 10..=20);
        assert_eq!(crowded(), 0, "it is about to go");
    }

    #[test]
    fn a_slow_client_can_be_disconnected() {
        let client = client(SlowPolicy::Disconnect);
        send(&client, 1..=3);
        assert_eq!(client.ended(), None);
        send(&client, 4..=6);
        assert_eq!(client.ended(), Some(End::Slow));
        assert!(client.next_batch().is_none());
        assert_eq!(client.counters.dropped.get(), 4);
    }

    #[test]
    fn what_is_left_is_sent_before_the_end_and_the_first_reason_counts() {
        let client = client(SlowPolicy::DropOldest);
        send(&client, 1..=2);
        client.end(End::Quit);
        client.end(End::Stop);
        send(&client, 3..=3);
        assert_eq!(received(&client), "1\n2\n");
        assert!(client.next_batch().is_none());
        assert_eq!(client.ended(), Some(End::Quit));
    }
}
