//! Looking at events, messages and timers: the part of the hub's loop between two batches of turns.
//!
//! A hub with nothing to do waits for as long as it takes. Only once, after `QUIET`, does it wake up by itself, and only
//! if it has more idle workers than it keeps, or could be deadlocked.
#![allow(unsafe_code)]

use std::time::Duration;

use super::remote::Message;
use super::{Alarm, Deadlock, Hub, wake};
use crate::task::Outcome;

/// How long a hub has had nothing to do before it gives memory back and looks for a deadlock, once.
const QUIET: Duration = Duration::from_millis(100);

/// How often a busy hub gives back memory that it has not needed.
const TRIM_INTERVAL: u64 = 1_000_000_000;

impl Hub {
    /// Looks at events, messages and timers; waits for them when nothing is ready.
    pub(super) fn poll(&self) -> Result<(), Deadlock> {
        let (timeout, quiet) = self.poll_timeout();
        let may_sleep =
            timeout != Some(Duration::ZERO) && self.remote.fall_asleep() && !self.sees_injected();
        let timeout = if may_sleep {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let mut events = self.events.borrow_mut();
        if let Err(error) = self.remote.poller.wait(&mut events, timeout) {
            // Every error that epoll documents is a misuse of it, none a condition of the system.
            panic!("cannot wait for events: {error}");
        }
        self.remote.wake_up();
        self.end_watch();
        self.now.set(self.clock());
        self.sinks
            .borrow()
            .deliver(&events, || self.settled.set(false));
        drop(events);
        self.receive();
        self.fire_timers();
        self.batch.begin(self.now.get());
        if !self.ready.is_empty() {
            self.settled.set(false);
            self.retiring.set(false);
            self.trim();
            self.pass_injected_on();
        } else if quiet {
            self.settle()?;
        }
        Ok(())
    }

    /// How long the poller may wait, and whether the hub is quiet if nothing comes until then.
    fn poll_timeout(&self) -> (Option<Duration>, bool) {
        if !self.ready.is_empty() {
            return (Some(Duration::ZERO), false);
        }
        if self.retiring.get() {
            return (Some(Duration::ZERO), true);
        }
        let next = self.timers.borrow().next_deadline();
        let timeout =
            next.map(|deadline| Duration::from_nanos(deadline.saturating_sub(self.clock())));
        let unsettled =
            !self.settled.get() && (self.is_stuck() || self.workers.borrow().has_surplus());
        if unsettled && timeout.is_none_or(|timeout| timeout > QUIET) {
            return (Some(QUIET), true);
        }
        (timeout, false)
    }

    /// Whether only another thread could still make a task ready.
    pub(super) fn is_stuck(&self) -> bool {
        self.external_waits.get() == 0 && self.timers.borrow().is_empty() && self.ready.is_empty()
    }

    fn receive(&self) {
        while let Some(message) = self.remote.receive() {
            match message {
                Message::Schedule(task) => self.ready.push(task),
                Message::Forget(token) => self.sinks.borrow_mut().forget(token),
                Message::Adopt(task) => {
                    self.adopt_injected(task);
                }
                Message::Kill(task, farewell) => self.kill(&task, farewell),
            }
        }
    }

    fn fire_timers(&self) {
        let now = self.now.get();
        loop {
            let due = self.timers.borrow_mut().pop_due(now);
            match due {
                // SAFETY: a task disarms its timer before it closes the wait, on this thread: it is alive.
                Some(Alarm::Wake(waker)) => unsafe {
                    wake(waker, Outcome::TimedOut);
                },
                // SAFETY: a task withdraws the alarms of its limits before it ends, on this thread: it is alive.
                Some(Alarm::Limit(task)) => self.expire(unsafe { task.as_ref() }),
                None => return,
            }
        }
    }

    /// Gives back memory that a busy hub has not needed for a while.
    fn trim(&self) {
        if self.now.get() - self.trimmed.get() >= TRIM_INTERVAL {
            self.trimmed.set(self.now.get());
            self.workers.borrow_mut().retire_unneeded();
        }
    }

    /// What a hub does once after it has been quiet for a while, before it waits for as long as it takes.
    fn settle(&self) -> Result<(), Deadlock> {
        let is_more = self.workers.borrow_mut().retire_surplus();
        self.retiring.set(is_more);
        if is_more {
            return Ok(());
        }
        self.settled.set(true);
        self.ready.give_back_memory();
        self.blocks.give_back_memory();
        if self.is_stuck() {
            return self.check_deadlock();
        }
        Ok(())
    }
}
