//! `hub::doorbell`: no message is overlooked by a hub that falls asleep.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::Model;
use crate::atomic::{AtomicU32, Ordering, STORES_READ, fence};
use crate::doorbell::Doorbell;

pub(crate) const MODELS: &[Model] = &[
    Model::new("inbox: one sender", None, || deliver(1, 1)),
    Model::new("inbox: one sender, two messages", Some(4), || deliver(1, 2)),
    Model::new("inbox: two senders", Some(3), || deliver(2, 1)),
];

/// An inbox of which only the number of messages matters, whose operations order nothing by themselves.
struct Inbox {
    sent: AtomicU32,
    doorbell: Doorbell,
    /// The poller: whether it has been woken.
    woken: Mutex<bool>,
    waking: Condvar,
}

impl Inbox {
    fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.doorbell.has_to_ring() {
            *self.woken.lock().unwrap() = true;
            self.waking.notify_one();
        }
    }

    /// Goes on until as many messages have come.
    fn run_hub(&self, messages: u32) {
        let mut received = 0;
        while received < messages {
            let is_empty = || self.sent.load(Ordering::Relaxed) == received;
            if self.doorbell.fall_asleep(is_empty) {
                let mut woken = self.woken.lock().unwrap();
                while !*woken {
                    woken = self.waking.wait(woken).unwrap();
                }
                *woken = false;
                drop(woken);
                self.doorbell.wake_up();
            }
            received = self.sent.load(Ordering::Relaxed);
        }
    }
}

fn deliver(senders: u32, messages: u32) {
    STORES_READ.set(true);
    let inbox = Arc::new(Inbox {
        sent: AtomicU32::new(0),
        doorbell: Doorbell::new(),
        woken: Mutex::new(false),
        waking: Condvar::new(),
    });
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || (0..messages).for_each(|_| inbox.send()))
        })
        .collect();
    inbox.run_hub(senders * messages);
    for thread in threads {
        thread.join().unwrap();
    }
}
