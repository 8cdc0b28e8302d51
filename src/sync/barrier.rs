//! Barriers: a count of those who have arrived, and the line in which they wait for the rest.

use std::fmt;
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::task::Reason;
use crate::wait_queue::WaitQueue;

/// Lets a number of green threads, or OS threads, wait until all of them have come: [`std::sync::Barrier`].
///
/// # Differences from std
///
/// One that is killed or times out while it waits is no longer counted once it unwinds, so that the others wait for a
/// replacement. std knows no such thing.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use greenhub::sync::Barrier;
///
/// let barrier = Rc::new(Barrier::new(3));
/// let threads = (0..3).map(|_| {
///     let barrier = Rc::clone(&barrier);
///     greenhub::spawn(move || barrier.wait().is_leader())
/// });
/// let leaders = greenhub::joinall(threads).into_iter().filter(|leads| *leads.as_ref().unwrap());
/// assert_eq!(leaders.count(), 1);
/// ```
pub struct Barrier {
    state: WaitQueue<State>,
    size: usize,
}

struct State {
    /// Those who have come and wait.
    arrived: usize,
    /// How often all had come. A wait belongs to the round in which it began.
    round: usize,
}

impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// What [`Barrier::wait`] returns: [`std::sync::BarrierWaitResult`].
///
/// # Examples
///
/// ```
/// assert!(greenhub::sync::Barrier::new(1).wait().is_leader());
/// ```
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether this is the one of them, the last to come, that may do what has to be done once.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// A barrier for `n`. With zero it is as with one: nobody waits.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[must_use]
    #[inline]
    pub const fn new(n: usize) -> Barrier {
        Barrier {
            state: WaitQueue::new(State {
                arrived: 0,
                round: 0,
            }),
            size: n,
        }
    }

    /// Waits until as many as the barrier is for have called this, and then counts anew.
    ///
    /// # Panics
    ///
    /// In the root context, when a deadlock is found.
    ///
    /// # Examples
    ///
    /// See the type's.
    #[inline(always)]
    pub fn wait(&self) -> BarrierWaitResult {
        let mut state = self.state.lock();
        state.arrived += 1;
        if state.arrived >= self.size {
            state.arrived = 0;
            state.round = state.round.wrapping_add(1);
            state.notify_all();
            return BarrierWaitResult(true);
        }
        let leaving = Leaving {
            barrier: self,
            round: state.round,
        };
        let reason = Reason::On(&"the others at a barrier (sync::Barrier)");
        let waited = state.wait(reason, None);
        assert!(waited.is_ok(), "a wait without a deadline has timed out");
        mem::forget(leaving);
        BarrierWaitResult(false)
    }
}

/// Dropped when a wait at a barrier unwinds.
struct Leaving<'a> {
    barrier: &'a Barrier,
    round: usize,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.barrier.state.lock();
        // Otherwise it was needed to make the round complete, and had come for that.
        if state.round == self.round {
            state.arrived -= 1;
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").finish_non_exhaustive()
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("is_leader", &self.is_leader())
            .finish()
    }
}
