//! `Debug` writes to something of the program's, which may wait: nothing is locked meanwhile.

mod support;

use std::fmt::{self, Debug, Write};
use std::time::Duration;

use greenhub::{blocking, pool, sleep, thread};

use support::TimeLimit;

const LIMIT: Duration = Duration::from_secs(60);

/// Does something for every piece that is written to it.
struct Writer<F>(F);

impl<F: FnMut()> Write for Writer<F> {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        (self.0)();
        Ok(())
    }
}

fn format(object: &impl Debug, on_piece: impl FnMut()) {
    write!(Writer(on_piece), "{object:?}").unwrap();
}

#[test]
fn a_scope_whose_green_threads_end_meanwhile() {
    let _limit = TimeLimit::start(LIMIT);
    thread::scope(|scope| {
        for n in 0..20 {
            scope.spawn(move || sleep(Duration::from_millis(n)));
        }
        format(scope, || {
            scope.spawn(|| ());
            sleep(Duration::from_millis(3));
        });
    });
}

#[test]
fn a_pool_that_is_used_meanwhile() {
    let _limit = TimeLimit::start(LIMIT);
    let pool = blocking::Builder::new().max_threads(1).build();
    format(&pool, || assert_eq!(pool.run(|| 1), 1));
}

#[test]
fn an_imap_that_gets_results_meanwhile() {
    let _limit = TimeLimit::start(LIMIT);
    let results = pool::Group::new().imap(0..20, 20, |n| {
        sleep(Duration::from_millis(n));
        n
    });
    format(&results, || sleep(Duration::from_millis(3)));
    assert!(results.eq(0..20));
}
