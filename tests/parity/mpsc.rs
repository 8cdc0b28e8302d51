//! `sync::mpsc`: what std's documentation promises of channels.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::rt::sync::mpsc::{
    self, Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError,
    TrySendError, channel, sync_channel,
};
use super::rt::thread;
use super::run;

const SHORT: Duration = Duration::from_millis(10);
/// Far longer than any test runs.
const LONG: Duration = Duration::from_secs(50);

/// Counts those that exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[test]
fn messages_arrive_in_the_order_in_which_they_were_sent() {
    run(|| {
        let (sender, receiver) = channel();
        let other = thread::spawn(move || (0..1000).for_each(|n| sender.send(n).unwrap()));
        assert!((0..1000).all(|n| receiver.recv() == Ok(n)));
        assert_eq!(receiver.recv(), Err(RecvError));
        other.join().unwrap();
    });
}

#[test]
fn a_channel_without_a_bound_never_makes_wait() {
    run(|| {
        let (sender, receiver) = channel();
        (0..10_000).for_each(|n| sender.send(n).unwrap());
        drop(sender);
        assert!(receiver.into_iter().eq(0..10_000));
    });
}

#[test]
fn many_senders_share_a_channel() {
    run(|| {
        let (sender, receiver) = channel();
        let senders: Vec<_> = (0..10)
            .map(|n| {
                let sender = sender.clone();
                thread::spawn(move || (0..100).for_each(|i| sender.send(n * 100 + i).unwrap()))
            })
            .collect();
        drop(sender);
        assert_eq!(receiver.iter().collect::<BTreeSet<i32>>().len(), 1000);
        senders.into_iter().for_each(|s| s.join().unwrap());
    });
}

#[test]
fn a_sender_may_be_shared_by_reference() {
    run(|| {
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            for n in 0..4 {
                let sender = &sender;
                scope.spawn(move || sender.send(n).unwrap());
            }
        });
        drop(sender);
        assert_eq!(receiver.iter().sum::<i32>(), 6);
    });
}

#[test]
fn what_was_sent_before_the_last_sender_went_is_received() {
    run(|| {
        let (sender, receiver) = channel();
        let other = sender.clone();
        sender.send(1).unwrap();
        drop(sender);
        other.send(2).unwrap();
        drop(other);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.recv(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(
            receiver.recv_timeout(LONG),
            Err(RecvTimeoutError::Disconnected)
        );
    });
}

#[test]
fn a_receiver_that_waits_learns_that_all_senders_are_gone() {
    run(|| {
        for bound in [None, Some(0), Some(1)] {
            let (hold, receiver): (Box<dyn Send>, Receiver<u8>) = match bound {
                None => {
                    let (sender, receiver) = channel();
                    (Box::new(sender), receiver)
                }
                Some(bound) => {
                    let (sender, receiver) = sync_channel(bound);
                    (Box::new(sender), receiver)
                }
            };
            let other = thread::spawn(move || {
                thread::sleep(SHORT);
                drop(hold);
            });
            assert_eq!(receiver.recv(), Err(RecvError));
            other.join().unwrap();
        }
    });
}

#[test]
fn sending_fails_when_the_receiver_is_gone() {
    run(|| {
        let (sender, receiver) = channel();
        drop(receiver);
        assert_eq!(sender.send(7), Err(SendError(7)));
        let (sender, receiver) = sync_channel(1);
        drop(receiver);
        assert_eq!(sender.send(7), Err(SendError(7)));
        assert_eq!(sender.try_send(7), Err(TrySendError::Disconnected(7)));
        let (sender, receiver) = sync_channel(0);
        drop(receiver);
        assert_eq!(sender.send(7), Err(SendError(7)));
        assert_eq!(sender.try_send(7), Err(TrySendError::Disconnected(7)));
    });
}

#[test]
fn a_sender_that_waits_learns_that_the_receiver_is_gone() {
    run(|| {
        for bound in [0, 1] {
            let (sender, receiver) = sync_channel(bound);
            (0..bound).for_each(|n| sender.send(n).unwrap());
            let waiting = thread::spawn(move || sender.send(9));
            thread::sleep(SHORT);
            assert!(!waiting.is_finished());
            drop(receiver);
            assert_eq!(waiting.join().unwrap(), Err(SendError(9)));
        }
    });
}

#[test]
fn try_recv_does_not_wait() {
    run(|| {
        let (sender, receiver) = channel();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sender.send(1).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    });
}

#[test]
fn recv_timeout_never_ends_early() {
    run(|| {
        let (sender, receiver) = channel::<u8>();
        let start = Instant::now();
        assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        assert!(start.elapsed() >= SHORT);
        assert_eq!(
            receiver.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        );
        sender.send(1).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(1));
        let other = thread::spawn(move || {
            thread::sleep(SHORT);
            sender.send(2).unwrap();
        });
        assert_eq!(receiver.recv_timeout(Duration::MAX), Ok(2));
        other.join().unwrap();
    });
}

#[test]
fn timeouts_and_messages_that_meet_lose_nothing() {
    run(|| {
        let (sender, receiver) = sync_channel(1);
        let other = thread::spawn(move || {
            for n in 0..200 {
                thread::sleep(Duration::from_micros(n % 7 * 20));
                sender.send(n).unwrap();
            }
        });
        let mut expected = 0;
        loop {
            match receiver.recv_timeout(Duration::from_micros(50)) {
                Ok(n) => {
                    assert_eq!(n, expected);
                    expected += 1;
                }
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        assert_eq!(expected, 200);
        other.join().unwrap();
    });
}

#[test]
fn a_bounded_channel_makes_senders_wait() {
    run(|| {
        let (sender, receiver) = sync_channel(2);
        let sent = Arc::new(AtomicUsize::new(0));
        let other = thread::spawn({
            let sent = Arc::clone(&sent);
            move || {
                for n in 0..6 {
                    sender.send(n).unwrap();
                    sent.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        thread::sleep(SHORT);
        assert_eq!(sent.load(Ordering::Acquire), 2);
        assert_eq!(receiver.recv(), Ok(0));
        thread::sleep(SHORT);
        assert_eq!(sent.load(Ordering::Acquire), 3);
        assert!(receiver.iter().eq(1..6));
        other.join().unwrap();
    });
}

#[test]
fn try_send_does_not_wait() {
    run(|| {
        let (sender, receiver) = sync_channel(1);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(sender.try_send(3), Ok(()));
        drop(receiver);
        assert_eq!(sender.try_send(4), Err(TrySendError::Disconnected(4)));
    });
}

#[test]
fn a_rendezvous_ends_when_the_message_is_taken() {
    run(|| {
        let (sender, receiver) = sync_channel(0);
        assert_eq!(sender.try_send(0), Err(TrySendError::Full(0)));
        let sent = Arc::new(AtomicUsize::new(0));
        let other = thread::spawn({
            let sent = Arc::clone(&sent);
            move || {
                sender.send(1).unwrap();
                sent.store(1, Ordering::Release);
                sender.send(2).unwrap();
            }
        });
        thread::sleep(SHORT);
        assert_eq!(sent.load(Ordering::Acquire), 0);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Ok(2));
        assert_eq!(sent.load(Ordering::Acquire), 1);
        other.join().unwrap();
    });
}

#[test]
fn a_rendezvous_takes_place_without_waiting_when_the_other_waits() {
    run(|| {
        let (sender, receiver) = sync_channel(0);
        let receiving = thread::spawn(move || (receiver.recv(), receiver));
        let mut message = 1;
        loop {
            match sender.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(same)) => message = same,
                Err(TrySendError::Disconnected(_)) => panic!("the receiver is there"),
            }
            thread::yield_now();
        }
        let (received, receiver) = receiving.join().unwrap();
        assert_eq!(received, Ok(1));

        let sending = thread::spawn(move || sender.send(2));
        loop {
            match receiver.try_recv() {
                Ok(message) => break assert_eq!(message, 2),
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(TryRecvError::Disconnected) => panic!("the sender is there"),
            }
        }
        assert_eq!(sending.join().unwrap(), Ok(()));
    });
}

#[test]
fn two_threads_play_ping_pong() {
    run(|| {
        let (ping, pinged) = sync_channel(1);
        let (pong, ponged) = sync_channel(1);
        let other = thread::spawn(move || {
            for n in pinged {
                pong.send(n + 1).unwrap();
            }
        });
        for n in 0..500 {
            ping.send(n).unwrap();
            assert_eq!(ponged.recv(), Ok(n + 1));
        }
        drop(ping);
        assert_eq!(ponged.recv(), Err(RecvError));
        other.join().unwrap();
    });
}

#[test]
fn iterators_end_with_the_last_sender() {
    run(|| {
        let (sender, receiver) = channel();
        (0..3).for_each(|n| sender.send(n).unwrap());
        assert!(receiver.try_iter().eq(0..3));
        assert_eq!(receiver.try_iter().next(), None);
        let other = thread::spawn(move || {
            for n in 3..6 {
                thread::sleep(Duration::from_millis(1));
                sender.send(n).unwrap();
            }
        });
        let mut received = Vec::new();
        for n in &receiver {
            received.push(n);
            if received.len() == 2 {
                break;
            }
        }
        received.extend(receiver);
        assert_eq!(received, [3, 4, 5]);
        other.join().unwrap();
    });
}

#[test]
fn messages_that_nobody_receives_are_dropped_with_the_receiver() {
    run(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel();
        (0..100).for_each(|_| assert!(sender.send(Counted::new(&count)).is_ok()));
        drop(receiver.recv());
        assert_eq!(count.load(Ordering::Acquire), 99);
        drop(receiver);
        assert_eq!(count.load(Ordering::Acquire), 0);
        // The one that cannot be sent comes back.
        let error = sender.send(Counted::new(&count)).unwrap_err();
        assert_eq!(count.load(Ordering::Acquire), 1);
        drop(error);
        assert_eq!(count.load(Ordering::Acquire), 0);

        let (sender, receiver) = sync_channel(5);
        (0..5).for_each(|_| assert!(sender.send(Counted::new(&count)).is_ok()));
        drop(sender);
        assert_eq!(count.load(Ordering::Acquire), 5);
        drop(receiver);
        assert_eq!(count.load(Ordering::Acquire), 0);
    });
}

#[test]
fn a_channel_may_be_sent_through_itself() {
    enum Message {
        End,
        Receiver(#[expect(dead_code)] Receiver<Message>),
        Sender(Sender<Message>),
    }
    run(|| {
        let (sender, receiver) = channel();
        sender.send(Message::Sender(sender.clone())).unwrap();
        let Ok(Message::Sender(again)) = receiver.recv() else {
            panic!("the sender was sent")
        };
        again.send(Message::End).unwrap();
        assert!(matches!(receiver.recv(), Ok(Message::End)));
        let (other, carrier) = channel();
        other.send(Message::Receiver(receiver)).unwrap();
        assert!(sender.send(Message::End).is_ok());
        drop(carrier);
        assert!(
            sender.send(Message::End).is_err(),
            "dropped with the message"
        );
    });
}

#[test]
fn a_message_whose_destructor_sends_finds_the_receiver_gone() {
    struct Last(Sender<Option<Last>>, Arc<AtomicUsize>);
    impl Drop for Last {
        fn drop(&mut self) {
            let failed = self.0.send(None).is_err();
            self.1.store(usize::from(failed) + 1, Ordering::Release);
        }
    }
    run(|| {
        let outcome = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel();
        let last = Last(sender.clone(), Arc::clone(&outcome));
        assert!(sender.send(Some(last)).is_ok());
        drop(receiver);
        assert_eq!(outcome.load(Ordering::Acquire), 2);
    });
}

#[test]
fn zero_sized_and_large_messages() {
    run(|| {
        let (sender, receiver) = sync_channel(3);
        (0..3).for_each(|_| sender.send(()).unwrap());
        assert_eq!(sender.try_send(()), Err(TrySendError::Full(())));
        drop(sender);
        assert_eq!(receiver.iter().count(), 3);

        let (sender, receiver) = sync_channel(1000);
        let other = thread::spawn(move || (0..50).for_each(|n| sender.send([n; 4096]).unwrap()));
        assert!(
            receiver
                .iter()
                .zip(0..)
                .all(|(all, n): ([u8; 4096], u8)| all == [n; 4096])
        );
        other.join().unwrap();
    });
}

#[test]
fn a_huge_bound_is_no_promise_of_memory() {
    run(|| {
        let (sender, receiver) = sync_channel(100_000);
        (0..50_000).for_each(|n| sender.try_send(n).unwrap());
        drop(sender);
        assert!(receiver.iter().eq(0..50_000));
    });
}

#[test]
fn a_sender_on_a_thread_that_panics_goes_with_it() {
    run(|| {
        let (sender, receiver) = channel::<u8>();
        let other = thread::spawn(move || {
            sender.send(1).unwrap();
            panic!("on purpose");
        });
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv(), Err(RecvError));
        assert!(other.join().is_err());
    });
}

#[test]
fn errors_are_those_of_std() {
    /// Code that was written for std's channels.
    fn uses_std(sender: &Sender<u8>) -> Result<(), Box<dyn Error>> {
        sender.send(1)?;
        Ok(())
    }
    run(|| {
        let (sender, receiver) = channel();
        drop(receiver);
        let error = uses_std(&sender).unwrap_err();
        assert!(error.is::<std::sync::mpsc::SendError<u8>>());
        assert_eq!(error.to_string(), "sending on a closed channel");
        let full: TrySendError<u8> = SendError(1).into();
        assert_eq!(full, TrySendError::Disconnected(1));
        assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
        assert_eq!(
            RecvTimeoutError::from(RecvError),
            RecvTimeoutError::Disconnected
        );
    });
}

#[test]
fn the_ends_are_send_and_unwind_safe() {
    use std::panic::{RefUnwindSafe, UnwindSafe};
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    send::<Sender<Cell<u8>>>();
    sync::<Sender<Cell<u8>>>();
    send::<SyncSender<Cell<u8>>>();
    sync::<SyncSender<Cell<u8>>>();
    send::<Receiver<Cell<u8>>>();
    unwind_safe::<Sender<u8>>();
    unwind_safe::<SyncSender<u8>>();
    unwind_safe::<Receiver<u8>>();
    send::<mpsc::IntoIter<Cell<u8>>>();
    let (sender, receiver) = channel::<u8>();
    assert_eq!(
        format!("{sender:?}, {receiver:?}"),
        "Sender { .. }, Receiver { .. }"
    );
    let (sender, _receiver) = sync_channel::<u8>(0);
    assert_eq!(format!("{sender:?}"), "SyncSender { .. }");
}
