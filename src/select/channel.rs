//! Arms that take something out of a queue or channel, or put something in.
//!
//! An arm in line lends out a slot, as everybody does who waits for a queue: see `queue::core`. When the wait is over, a getter's slot
//! that is full, or a putter's that is empty, says that the arm has won.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::Arm;
use super::sealed::Line;
use crate::queue::container::Container;
use crate::queue::core::{Core, Nothing, Patience, Refused, Slot};
use crate::queue::{Channel, GetError, JoinableQueue, LifoQueue, PriorityQueue, PutError, Queue};
use crate::sync::mpsc::{Receiver, RecvError, SendError, Sender, SyncSender};
use crate::task::Waker;
use crate::wait_queue::Place;

/// What [`get`] and [`put`] accept: the queues of [`queue`](crate::queue), and references, `Rc` and `Arc` to them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a queue",
    note = "`get` and `put` take `&queue`; `recv` and `send` are for `sync::mpsc`"
)]
pub trait AnyQueue: ends::Queue {}

/// What [`send`] accepts: the senders of [`sync::mpsc`](crate::sync::mpsc).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sender",
    note = "`send` takes `&sender`; `put` is for queues"
)]
pub trait AnySender: ends::Sender {}

/// What [`put`] and [`send`] accept for an item: `Some(item)`, which is dropped when another arm wins, or `&mut Option<_>`, which
/// then still has it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an item to put or send",
    note = "it has to be `Some(item)` or `&mut Option<item>`"
)]
pub trait Offer<T>: ends::Offer<T> {}

mod ends {
    use super::{Nothing, Place, Refused, Slot, Waker};

    /// A queue's core, whatever contains the items.
    pub trait Core<T> {
        fn try_get(&self) -> Result<T, Nothing>;

        fn try_put(&self, item: T) -> Result<(), Refused<T>>;

        /// # Safety
        ///
        /// As for the core's method of this name.
        unsafe fn enlist_getter(&self, place: &Place, slot: &Slot<T>, waker: Waker) -> bool;

        /// # Safety
        ///
        /// As for the core's method of this name.
        unsafe fn enlist_putter(&self, place: &Place, slot: &Slot<T>, waker: Waker) -> bool;

        fn withdraw(&self, place: &Place);
    }

    pub trait Queue {
        type Item;

        fn core(&self) -> &dyn Core<Self::Item>;
    }

    pub trait Sender {
        type Message;

        fn core(&self) -> &dyn Core<Self::Message>;
    }

    pub trait Offer<T> {
        fn take(&mut self) -> Option<T>;

        fn give_back(&mut self, item: T);
    }
}

impl<C: Container> ends::Core<C::Item> for Core<C> {
    fn try_get(&self) -> Result<C::Item, Nothing> {
        self.get(Patience::None)
    }

    fn try_put(&self, item: C::Item) -> Result<(), Refused<C::Item>> {
        self.put(item, Patience::None)
    }

    unsafe fn enlist_getter(&self, place: &Place, slot: &Slot<C::Item>, waker: Waker) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.enlist_getter(place, slot, waker) }
    }

    unsafe fn enlist_putter(&self, place: &Place, slot: &Slot<C::Item>, waker: Waker) -> bool {
        // SAFETY: the caller's contract.
        unsafe { self.enlist_putter(place, slot, waker) }
    }

    fn withdraw(&self, place: &Place) {
        self.withdraw(place);
    }
}

/// The arm of [`get`] and [`recv`].
pub struct Get<'a, T, E> {
    core: &'a dyn ends::Core<T>,
    closed: E,
    place: Place,
    slot: Slot<T>,
    result: Cell<Option<Result<T, E>>>,
}

/// The arm of [`put`] and [`send`].
pub struct Put<'a, T, O: Offer<T>, E> {
    core: &'a dyn ends::Core<T>,
    closed: fn(T) -> E,
    place: Place,
    is_enlisted: Cell<bool>,
    slot: Slot<T>,
    offer: O,
    result: Cell<Option<Result<(), E>>>,
}

/// Wins when there is an item in `queue`, and takes it; or when the queue is empty and closed, which is the error.
///
/// An arm that waits is in line with all others who wait for an item, in the order of their arrival.
///
/// # Examples
///
/// ```
/// use greenhub::queue::Queue;
///
/// let (orders, alarms) = (Queue::new(), Queue::<&str>::new());
/// orders.put(7).unwrap();
/// greenhub::select! {
///     get(&alarms) -> alarm => unreachable!("{alarm:?}"),
///     get(&orders) -> order => assert_eq!(order, Ok(7)),
/// }
/// ```
pub fn get<Q: AnyQueue>(queue: &Q) -> Get<'_, Q::Item, GetError> {
    Get::new(queue.core(), GetError)
}

/// Wins when there is a message for `receiver`, and takes it; or when there is none and all senders are gone, which is the
/// error.
///
/// # Examples
///
/// ```
/// use greenhub::sync::mpsc::channel;
/// use std::time::Duration;
///
/// let (sender, receiver) = channel();
/// greenhub::spawn(move || sender.send("hello").unwrap());
/// greenhub::select! {
///     recv(&receiver) -> message => assert_eq!(message, Ok("hello")),
///     after(Duration::from_secs(60)) => unreachable!("the sender does not wait for so long"),
/// }
/// ```
pub fn recv<T>(receiver: &Receiver<T>) -> Get<'_, T, RecvError> {
    Get::new(receiver.core(), RecvError)
}

/// Wins when there is room in `queue`, and puts the item in; or when the queue is closed, which is the error, with the item.
///
/// The item is an [`Offer`]: `&mut Option<_>` has it still when another arm wins, also if that is a kill or a timeout around the
/// macro; `Some(item)` is dropped then. With `None` the arm cannot win, so that one loop can both take items in and
/// pass them on when there are any:
///
/// # Examples
///
/// ```
/// use greenhub::queue::{Channel, Queue};
/// use greenhub::{select, spawn};
/// use std::rc::Rc;
///
/// let (input, output) = (Rc::new(Queue::new()), Rc::new(Channel::new()));
/// spawn({
///     let (input, output) = (input.clone(), output.clone());
///     move || {
///         let mut backlog = Vec::new();
///         let mut next = None;
///         loop {
///             next = next.or_else(|| backlog.pop());
///             select! {
///                 get(&input) -> item => match item {
///                     Ok(item) => backlog.push(item),
///                     Err(_) => break,
///                 },
///                 put(&output, &mut next) -> result => result.unwrap(),
///             }
///         }
///     }
/// });
/// input.put("an item").unwrap();
/// assert_eq!(output.get(), Ok("an item"));
/// input.close();
/// ```
pub fn put<Q, O>(queue: &Q, item: O) -> Put<'_, Q::Item, O, PutError<Q::Item>>
where
    Q: AnyQueue,
    O: Offer<Q::Item>,
{
    Put::new(queue.core(), PutError, item)
}

/// Wins when there is room in the channel of `sender`, and sends the message; or when the receiver is gone, which is the error,
/// with the message. The message is an [`Offer`], as for [`put`].
///
/// # Examples
///
/// ```
/// use greenhub::sync::mpsc::sync_channel;
///
/// let (sender, receiver) = sync_channel(1);
/// sender.send(1).unwrap();
/// let mut message = Some(2);
/// greenhub::select! {
///     send(&sender, &mut message) => unreachable!("it is full"),
///     default => assert_eq!(message, Some(2)),
/// }
/// assert_eq!(receiver.recv(), Ok(1));
/// greenhub::select! {
///     send(&sender, &mut message) -> result => result.unwrap(),
/// }
/// assert_eq!(message, None);
/// ```
pub fn send<S, O>(sender: &S, message: O) -> Put<'_, S::Message, O, SendError<S::Message>>
where
    S: AnySender,
    O: Offer<S::Message>,
{
    Put::new(sender.core(), SendError, message)
}

impl<'a, T, E> Get<'a, T, E> {
    fn new(core: &'a dyn ends::Core<T>, closed: E) -> Self {
        Get {
            core,
            closed,
            place: Place::new(),
            slot: Slot::new(None),
            result: Cell::new(None),
        }
    }

    /// Notes the result. Returns whether there is one.
    fn settle(&self, result: Option<Result<T, E>>) -> bool {
        let is_settled = result.is_some();
        self.result.set(result);
        is_settled
    }
}

impl<T, E: Copy> Line for Get<'_, T, E> {
    fn attempt(&self) -> bool {
        self.settle(match self.core.try_get() {
            Ok(item) => Some(Ok(item)),
            Err(Nothing::Empty) => None,
            Err(Nothing::Closed) => Some(Err(self.closed)),
        })
    }

    unsafe fn enlist(&self, waker: Waker) -> bool {
        // SAFETY: the caller's contract; and the slot is empty, because `withdraw` empties it.
        unsafe { self.core.enlist_getter(&self.place, &self.slot, waker) }
    }

    fn withdraw(&self) -> bool {
        self.core.withdraw(&self.place);
        // SAFETY: the wait is not in line any more.
        let item = unsafe { self.slot.replace(None) };
        self.settle(item.map(Ok))
    }
}

impl<T, E: Copy> Arm for Get<'_, T, E> {
    type Output = Result<T, E>;

    fn into_output(self) -> Option<Self::Output> {
        self.result.into_inner()
    }
}

impl<'a, T, O: Offer<T>, E> Put<'a, T, O, E> {
    fn new(core: &'a dyn ends::Core<T>, closed: fn(T) -> E, mut offer: O) -> Self {
        Put {
            core,
            closed,
            place: Place::new(),
            is_enlisted: Cell::new(false),
            slot: Slot::new(offer.take()),
            offer,
            result: Cell::new(None),
        }
    }
}

impl<T, O: Offer<T>, E> Line for Put<'_, T, O, E> {
    fn attempt(&self) -> bool {
        // SAFETY: no wait is in line, here and below.
        let Some(item) = (unsafe { self.slot.replace(None) }) else {
            return false;
        };
        let result = match self.core.try_put(item) {
            Ok(()) => Ok(()),
            Err(Refused::Closed(item)) => Err((self.closed)(item)),
            Err(Refused::Full(item)) => {
                // SAFETY: as above.
                unsafe { self.slot.replace(Some(item)) };
                return false;
            }
        };
        self.result.set(Some(result));
        true
    }

    unsafe fn enlist(&self, waker: Waker) -> bool {
        // SAFETY: no wait is in line yet.
        let item = unsafe { self.slot.replace(None) };
        if item.is_none() {
            return true;
        }
        // SAFETY: as above, then the caller's contract; the slot has its item.
        let is_enlisted = unsafe {
            self.slot.replace(item);
            self.core.enlist_putter(&self.place, &self.slot, waker)
        };
        self.is_enlisted.set(is_enlisted);
        is_enlisted
    }

    fn withdraw(&self) -> bool {
        if !self.is_enlisted.take() {
            return false;
        }
        self.core.withdraw(&self.place);
        // SAFETY: the wait is not in line any more.
        let item = unsafe { self.slot.replace(None) };
        let is_put = item.is_none();
        if is_put {
            self.result.set(Some(Ok(())));
        } else {
            // SAFETY: as above.
            unsafe { self.slot.replace(item) };
        }
        is_put
    }
}

impl<T, O: Offer<T>, E> Arm for Put<'_, T, O, E> {
    type Output = Result<(), E>;

    fn into_output(self) -> Option<Self::Output> {
        self.result.take()
    }
}

impl<T, O: Offer<T>, E> Drop for Put<'_, T, O, E> {
    fn drop(&mut self) {
        // SAFETY: no wait is in line: `run` has returned, or has withdrawn all arms before it unwound.
        if let Some(item) = unsafe { self.slot.replace(None) } {
            self.offer.give_back(item);
        }
    }
}

impl<T> Offer<T> for Option<T> {}
impl<T> Offer<T> for &mut Option<T> {}

impl<T> ends::Offer<T> for Option<T> {
    fn take(&mut self) -> Option<T> {
        Option::take(self)
    }

    fn give_back(&mut self, item: T) {
        *self = Some(item);
    }
}

impl<T> ends::Offer<T> for &mut Option<T> {
    fn take(&mut self) -> Option<T> {
        Option::take(self)
    }

    fn give_back(&mut self, item: T) {
        **self = Some(item);
    }
}

macro_rules! queues {
    ($([$($bound:tt)*] $queue:ident),*) => {
        $(
            impl<T $($bound)*> AnyQueue for $queue<T> {}

            impl<T $($bound)*> ends::Queue for $queue<T> {
                type Item = T;

                fn core(&self) -> &dyn ends::Core<T> {
                    &self.core
                }
            }
        )*
    };
}

queues!(
    [] Queue,
    [] LifoQueue,
    [: Ord] PriorityQueue,
    [] JoinableQueue,
    [] Channel
);

macro_rules! pointers {
    ($($pointer:ty),*) => {
        $(
            impl<Q: AnyQueue + ?Sized> AnyQueue for $pointer {}

            impl<Q: AnyQueue + ?Sized> ends::Queue for $pointer {
                type Item = Q::Item;

                fn core(&self) -> &dyn ends::Core<Q::Item> {
                    (**self).core()
                }
            }
        )*
    };
}

pointers!(&Q, Rc<Q>, Arc<Q>);

macro_rules! senders {
    ($($sender:ident),*) => {
        $(
            impl<T> AnySender for $sender<T> {}

            impl<T> ends::Sender for $sender<T> {
                type Message = T;

                fn core(&self) -> &dyn ends::Core<T> {
                    <$sender<T>>::core(self)
                }
            }
        )*
    };
}

senders!(Sender, SyncSender);

impl<S: AnySender + ?Sized> AnySender for &S {}

impl<S: AnySender + ?Sized> ends::Sender for &S {
    type Message = S::Message;

    fn core(&self) -> &dyn ends::Core<S::Message> {
        (**self).core()
    }
}

impl<T, E> fmt::Debug for Get<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").finish_non_exhaustive()
    }
}

impl<T, O: Offer<T>, E> fmt::Debug for Put<'_, T, O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").finish_non_exhaustive()
    }
}
