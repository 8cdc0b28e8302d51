//! Callbacks on the end of a green thread.
//!
//! A link is a green thread that has not started: it has no stack, and its wait for the start is ended by the end of the other one,
//! in whose line of joiners it stands. So links need no list of their own, wait where they were made, and whatever ends green
//! threads (a kill, the end of the OS thread) ends them too.
#![allow(unsafe_code)]

use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use super::end::End;
use super::packet::{self, PacketRef, Spawn, Start};
use super::{Ending, JoinHandle, Thread};
use crate::hub;
use crate::task::Outcome;
use crate::wait_queue::Place;

/// The place of a link in the line of the joiners. It stays where it is until the link runs or is dropped.
struct Link {
    place: Place,
    end: End<'static>,
    /// Keeps what `end` refers to.
    thread: Thread,
}

/// Has `f` run in a green thread of the calling OS thread after that of `target` has finished.
pub(super) fn link<T, F, U>(
    target: &PacketRef<T>,
    f: F,
    site: &'static Location<'static>,
) -> JoinHandle<U>
where
    F: FnOnce(&Thread, Ending) -> U + 'static,
    U: 'static,
{
    let link = Rc::new(Link {
        place: Place::new(),
        // SAFETY: the `Thread` stands beside it and is dropped with it.
        end: unsafe { target.end().detached() },
        thread: target.thread().clone(),
    });
    let mut options = Spawn::lazily(ptr::null(), site);
    options.start = Start::After(target.thread().task.id);
    let own = Rc::clone(&link);
    let call = move || {
        let ending = own.end.ending();
        f(&own.thread, ending.expect("a link starts after the end"))
    };
    // SAFETY: nothing is borrowed.
    let packet = match unsafe { packet::spawn(call, options, |_, _| ()) } {
        Ok(packet) => packet,
        Err(error) => panic!("cannot spawn a green thread: {error}"),
    };
    let waker = packet.thread().task.start_waker();
    // SAFETY: the closure keeps the link until the task has started, or has been killed; then `drop` takes the place out of the
    // line. If the other one has finished, the waker is used here and now, and the task is alive.
    unsafe {
        if !link.end.watch(&link.place, waker.into()) {
            hub::wake(waker, Outcome::Notified);
        }
    }
    JoinHandle::new(packet)
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end.unwatch(&self.place);
    }
}
