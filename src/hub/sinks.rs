//! The descriptors that are registered with a hub, and where their events go.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use slab::Slab;

use super::deadlock::WATCH_TOKEN;
use crate::poller::{Events, Poller, Readiness};

/// What a registered descriptor's events are delivered to.
pub(crate) trait Sink: Send + Sync {
    /// Notes the readiness and wakes who waits for it. Called on the hub's thread; must not block or call user code.
    fn deliver(&self, readiness: Readiness);
}

/// The registered descriptors' sinks, by the lower half of their tokens.
pub(super) struct Sinks {
    slots: Slab<(u32, Arc<dyn Sink>)>,
    /// The upper half of the next token: an event for a sink that is gone cannot be taken for its successor's.
    generation: u32,
}

impl Sinks {
    pub(super) fn new() -> Self {
        Sinks {
            slots: Slab::new(),
            generation: 0,
        }
    }

    /// Registers a descriptor; its events go to `sink` until `forget`. Returns the token.
    pub(super) fn register(
        &mut self,
        poller: &Poller,
        fd: RawFd,
        sink: Arc<dyn Sink>,
    ) -> io::Result<u64> {
        // The highest bit stays clear: tokens with it are the hub's own.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let slot = self.slots.insert((self.generation, sink));
        let token = u64::from(self.generation) << 32 | slot as u64;
        if let Err(error) = poller.register(fd, token) {
            self.slots.remove(slot);
            return Err(error);
        }
        Ok(token)
    }

    /// Lets go of the sink registered under `token`.
    pub(super) fn forget(&mut self, token: u64) {
        let (generation, slot) = split(token);
        if self
            .slots
            .get(slot)
            .is_some_and(|(current, _)| *current == generation)
        {
            self.slots.remove(slot);
        }
    }

    /// Hands the events to the sinks. `thread_ended` is called for the event of a watched thread.
    pub(super) fn deliver(&self, events: &Events, thread_ended: impl Fn()) {
        for (token, readiness) in events.iter() {
            if token == WATCH_TOKEN {
                thread_ended();
                continue;
            }
            let (generation, slot) = split(token);
            match self.slots.get(slot) {
                Some((current, sink)) if *current == generation => sink.deliver(readiness),
                // The descriptor was deregistered after the kernel had noted the event.
                _ => {}
            }
        }
    }
}

fn split(token: u64) -> (u32, usize) {
    ((token >> 32) as u32, token as u32 as usize)
}
