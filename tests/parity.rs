//! Parity with std: every body under `parity/` is compiled once against `std` and twice against
//! `greenhub`, and must hold each time.
//!
//! The bodies name neither: they import from `super::rt` and hand their work to `super::run`. In
//! `with_std` that is OS threads; in `with_greenhub` the body is the root of a hub, which drives it
//! whenever it blocks; in `inside_a_green_thread` the body is itself a green thread. A body may
//! therefore use only what works in all three: it never blocks on a std channel or lock, and it
//! sends only `Send` closures to `spawn`.
#![allow(
    clippy::duplicate_mod,
    clippy::useless_conversion,
    reason = "bodies are compiled more than once, and with std a conversion to std is none"
)]

mod support;

use std::time::Duration;

use support::TimeLimit;

/// How long one body may take on a loaded machine before it counts as hung.
const LIMIT: Duration = Duration::from_secs(60);

#[path = "parity"]
mod with_std {
    pub(crate) use std as rt;

    pub(crate) fn run(body: impl FnOnce() + 'static) {
        let _limit = super::TimeLimit::start(super::LIMIT);
        body();
    }

    mod addrs;
    mod barrier;
    mod condvar;
    mod mpsc;
    mod mutex;
    mod once;
    mod pair;
    mod rwlock;
    mod tcp_clone;
    mod tcp_connect;
    mod tcp_convert;
    mod tcp_io;
    mod tcp_listener;
    mod tcp_options;
    mod tcp_shutdown;
    mod tcp_timeouts;
    mod thread_park;
    mod thread_scope;
    mod thread_spawn;
    mod thread_time;
}

#[path = "parity"]
mod with_greenhub {
    pub(crate) use greenhub as rt;

    pub(crate) fn run(body: impl FnOnce() + 'static) {
        let _limit = super::TimeLimit::start(super::LIMIT);
        body();
    }

    mod addrs;
    mod barrier;
    mod condvar;
    mod mpsc;
    mod mutex;
    mod once;
    mod pair;
    mod rwlock;
    mod tcp_clone;
    mod tcp_connect;
    mod tcp_convert;
    mod tcp_io;
    mod tcp_listener;
    mod tcp_options;
    mod tcp_shutdown;
    mod tcp_timeouts;
    mod thread_park;
    mod thread_scope;
    mod thread_spawn;
    mod thread_time;
}

#[path = "parity"]
mod inside_a_green_thread {
    pub(crate) use greenhub as rt;

    pub(crate) fn run(body: impl FnOnce() + 'static) {
        let _limit = super::TimeLimit::start(super::LIMIT);
        if let Err(payload) = greenhub::spawn(body).join() {
            std::panic::resume_unwind(payload);
        }
    }

    mod addrs;
    mod barrier;
    mod condvar;
    mod mpsc;
    mod mutex;
    mod once;
    mod pair;
    mod rwlock;
    mod tcp_clone;
    mod tcp_connect;
    mod tcp_convert;
    mod tcp_io;
    mod tcp_listener;
    mod tcp_options;
    mod tcp_shutdown;
    mod tcp_timeouts;
    mod thread_park;
    mod thread_scope;
    mod thread_spawn;
    mod thread_time;
}
