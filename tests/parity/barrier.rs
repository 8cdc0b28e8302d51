//! `Barrier`: nobody goes on before all have come, and one of them leads.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::rt::sync::Barrier;
use super::rt::thread;
use super::run;

#[test]
fn all_go_on_together_and_one_leads() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 20;
    run(|| {
        let barrier = Arc::new(Barrier::new(THREADS));
        let arrived = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let (barrier, arrived) = (Arc::clone(&barrier), Arc::clone(&arrived));
                thread::spawn(move || {
                    let mut led = 0;
                    for round in 1..=ROUNDS {
                        if (n + round) % 3 == 0 {
                            thread::yield_now();
                        }
                        arrived.fetch_add(1, Ordering::AcqRel);
                        led += usize::from(barrier.wait().is_leader());
                        assert!(arrived.load(Ordering::Acquire) >= round * THREADS);
                    }
                    led
                })
            })
            .collect();
        let led: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(led, ROUNDS);
    });
}

#[test]
fn a_barrier_for_one_or_none_never_waits() {
    run(|| {
        for size in [0, 1] {
            let barrier = Barrier::new(size);
            assert!(barrier.wait().is_leader());
            assert!(barrier.wait().is_leader());
        }
    });
}

#[test]
fn it_has_the_traits_of_std() {
    fn all<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    run(|| {
        static BARRIER: Barrier = Barrier::new(1);
        all::<Barrier>();
        assert_eq!(format!("{BARRIER:?}"), "Barrier { .. }");
        assert_eq!(
            format!("{:?}", BARRIER.wait()),
            "BarrierWaitResult { is_leader: true }"
        );
    });
}
