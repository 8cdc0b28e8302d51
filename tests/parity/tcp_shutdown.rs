//! Shutdown, close and reset, and whom they wake.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::pair::{loopbacks, pair, pair_at};
use super::rt::net::{Shutdown, TcpStream};
use super::rt::thread;
use super::run;

/// Long enough for a thread that was just spawned to block.
fn let_it_block() {
    thread::sleep(Duration::from_millis(10));
}

/// Drops `stream` with data unread, which the kernel tells the peer by a reset.
fn reset(stream: TcpStream, peer: &TcpStream) {
    let mut peer = peer;
    peer.write_all(b"never read").unwrap();
    stream.peek(&mut [0]).unwrap();
    drop(stream);
}

/// Whether `kind` is one of those with which a write to a dead connection fails.
fn is_broken(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[test]
fn shutting_down_the_write_half_ends_the_peers_input_only() {
    run(|| {
        for at in loopbacks() {
            let (mut near, mut far) = pair_at(at);
            let peer = thread::spawn(move || {
                let mut all = String::new();
                far.read_to_string(&mut all).unwrap();
                far.write_all(all.to_uppercase().as_bytes()).unwrap();
            });
            near.write_all(b"half").unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            assert_eq!(near.write(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
            let mut answer = String::new();
            near.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "HALF");
            peer.join().unwrap();
        }
    });
}

#[test]
fn shutting_down_the_read_half_ends_the_own_input_only() {
    run(|| {
        let (mut near, mut far) = pair();
        near.shutdown(Shutdown::Read).unwrap();
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
        assert_eq!(near.peek(&mut [0]).unwrap(), 0);
        near.write_all(&[1]).unwrap();
        assert_eq!(far.read(&mut [0, 0]).unwrap(), 1);
    });
}

#[test]
fn shutting_down_both_halves() {
    run(|| {
        let (mut near, mut far) = pair();
        near.shutdown(Shutdown::Both).unwrap();
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
        assert_eq!(near.write(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_shutdown_concerns_older_and_newer_clones() {
    run(|| {
        let (near, _far) = pair();
        let mut older = near.try_clone().unwrap();
        near.shutdown(Shutdown::Both).unwrap();
        let mut newer = near.try_clone().unwrap();
        for clone in [&mut older, &mut newer] {
            assert_eq!(clone.read(&mut [0]).unwrap(), 0);
            assert_eq!(clone.write(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    });
}

#[test]
fn a_shutdown_wakes_a_blocked_reader() {
    run(|| {
        for at in loopbacks() {
            for how in [Shutdown::Read, Shutdown::Both] {
                for cloned in [false, true] {
                    let (near, _far) = pair_at(at);
                    let near = Arc::new(near);
                    let clone = if cloned {
                        Arc::new(near.try_clone().unwrap())
                    } else {
                        Arc::clone(&near)
                    };
                    let reader = thread::spawn(move || (&*clone).read(&mut [0]).unwrap());
                    let_it_block();
                    assert!(!reader.is_finished());
                    near.shutdown(how).unwrap();
                    assert_eq!(reader.join().unwrap(), 0);
                }
            }
        }
    });
}

#[test]
fn a_shutdown_of_the_write_half_leaves_a_blocked_reader_alone() {
    run(|| {
        let (near, mut far) = pair();
        let mut clone = near.try_clone().unwrap();
        let reader = thread::spawn(move || clone.read(&mut [0]).unwrap());
        let_it_block();
        near.shutdown(Shutdown::Write).unwrap();
        let_it_block();
        assert!(!reader.is_finished());
        far.write_all(&[1]).unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn a_shutdown_wakes_a_blocked_writer() {
    run(|| {
        let (near, _far) = pair();
        let mut clone = near.try_clone().unwrap();
        let writer = thread::spawn(move || {
            let block = [0; 64 << 10];
            loop {
                if let Err(error) = clone.write(&block) {
                    break error;
                }
            }
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!writer.is_finished());
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(writer.join().unwrap().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn the_peers_end_wakes_a_blocked_reader() {
    run(|| {
        let (near, mut far) = pair();
        let reader = thread::spawn(move || far.read(&mut [0]).unwrap());
        let_it_block();
        drop(near);
        assert_eq!(reader.join().unwrap(), 0);
    });
}

#[test]
fn only_the_last_clone_closes() {
    run(|| {
        let (near, mut far) = pair();
        let clone = near.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).unwrap();
            all
        });
        drop(near);
        let_it_block();
        assert!(!reader.is_finished());
        (&clone).write_all(&[1, 2]).unwrap();
        drop(clone);
        assert_eq!(reader.join().unwrap(), [1, 2]);
    });
}

#[test]
fn a_reset_fails_the_next_read_and_later_writes() {
    run(|| {
        let (mut near, far) = pair();
        reset(far, &near);
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert_eq!(near.write(&[1]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_reset_wakes_a_blocked_reader() {
    run(|| {
        let (near, far) = pair();
        let mut clone = near.try_clone().unwrap();
        let reader = thread::spawn(move || clone.read(&mut [0]).unwrap_err().kind());
        let_it_block();
        assert!(!reader.is_finished());
        reset(far, &near);
        assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_reset_wakes_a_blocked_writer() {
    run(|| {
        let (mut near, far) = pair();
        let writer = thread::spawn(move || {
            let block = [0; 64 << 10];
            loop {
                if let Err(error) = near.write(&block) {
                    break error.kind();
                }
            }
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!writer.is_finished());
        // What it has written is unread, so this is a reset.
        drop(far);
        assert!(is_broken(writer.join().unwrap()));
    });
}

#[test]
fn a_write_to_a_closed_peer_fails_in_the_end() {
    run(|| {
        let (mut near, far) = pair();
        drop(far);
        let error = loop {
            match near.write_all(&[1]) {
                Ok(()) => thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert!(is_broken(error.kind()), "{error}");
    });
}

#[test]
fn a_hang_up_seen_while_idle_is_not_forgotten() {
    run(|| {
        // The end arrives in every relation to the reads: before, between, together with data.
        for round in 0..6 {
            let (mut near, mut far) = pair();
            let mut buf = [0; 8];
            near.write_all(&[1]).unwrap();
            assert_eq!(far.read(&mut buf).unwrap(), 1);
            if round % 2 == 1 {
                near.write_all(&[2]).unwrap();
            }
            if round / 2 == 1 {
                let_it_block();
            }
            drop(near);
            if round / 2 == 2 {
                let_it_block();
            }
            if round % 2 == 1 {
                assert_eq!(far.read(&mut buf).unwrap(), 1);
            }
            assert_eq!(far.read(&mut buf).unwrap(), 0);
            assert_eq!(far.read(&mut buf).unwrap(), 0);
        }
    });
}

#[test]
fn a_reader_is_woken_by_the_end_after_a_short_read() {
    run(|| {
        let (mut near, mut far) = pair();
        let reader = thread::spawn(move || {
            let mut buf = [0; 1024];
            let first = far.read(&mut buf).unwrap();
            (first, far.read(&mut buf).unwrap())
        });
        let_it_block();
        near.write_all(&[1, 2]).unwrap();
        let_it_block();
        assert!(!reader.is_finished());
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reader.join().unwrap(), (2, 0));
    });
}
