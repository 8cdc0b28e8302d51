//! Several handles, several threads, one socket.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use super::pair::{listener, loopbacks, pair, pair_at};
use super::rt::net::{Shutdown, TcpStream};
use super::rt::os::fd::AsRawFd;
use super::rt::thread;
use super::run;

/// Long enough for a thread that was just spawned to block.
fn let_it_block() {
    thread::sleep(Duration::from_millis(10));
}

#[test]
fn a_clone_is_another_descriptor_of_the_same_socket() {
    run(|| {
        let (near, far) = pair();
        let clone = near.try_clone().unwrap();
        assert_ne!(clone.as_raw_fd(), near.as_raw_fd());
        assert_eq!(clone.local_addr().unwrap(), near.local_addr().unwrap());
        assert_eq!(clone.peer_addr().unwrap(), far.local_addr().unwrap());
    });
}

#[test]
fn one_clone_reads_while_the_other_writes() {
    run(|| {
        for at in loopbacks() {
            let (near, mut far) = pair_at(at);
            let mut reading = near.try_clone().unwrap();
            let mut writing = near;
            let reader = thread::spawn(move || {
                let mut got = [0; 3];
                reading.read_exact(&mut got).unwrap();
                got
            });
            let_it_block();
            writing.write_all(&[1, 2, 3]).unwrap();
            let mut echoed = [0; 3];
            far.read_exact(&mut echoed).unwrap();
            far.write_all(&echoed).unwrap();
            assert_eq!(reader.join().unwrap(), [1, 2, 3]);
        }
    });
}

#[test]
fn a_full_writer_and_a_reader_wait_on_one_socket_at_once() {
    const BULK: usize = 8 << 20;
    run(|| {
        let (near, far) = pair();
        let near = Arc::new(near);
        let writer = thread::spawn({
            let near = Arc::clone(&near);
            move || (&*near).write_all(&vec![7; BULK]).unwrap()
        });
        let reader = thread::spawn({
            let near = Arc::clone(&near);
            move || {
                let mut byte = [0];
                (&*near).read_exact(&mut byte).unwrap();
                byte
            }
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!writer.is_finished() && !reader.is_finished());
        // Each direction wakes its own waiter, and no other.
        (&far).write_all(&[9]).unwrap();
        assert_eq!(reader.join().unwrap(), [9]);
        assert!(!writer.is_finished());
        let mut left = BULK;
        let mut buf = vec![0; 64 << 10];
        while left > 0 {
            left -= (&far).read(&mut buf).unwrap();
        }
        writer.join().unwrap();
    });
}

#[test]
fn two_readers_of_one_socket_both_make_progress() {
    run(|| {
        for cloned in [false, true] {
            let (mut near, far) = pair();
            let far = Arc::new(far);
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let far = if cloned {
                        Arc::new(far.try_clone().unwrap())
                    } else {
                        Arc::clone(&far)
                    };
                    thread::spawn(move || {
                        let mut byte = [0];
                        (&*far).read_exact(&mut byte).unwrap();
                        byte[0]
                    })
                })
                .collect();
            let_it_block();
            near.write_all(&[1]).unwrap();
            let_it_block();
            near.write_all(&[2]).unwrap();
            let sum: u8 = readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .sum();
            assert_eq!(sum, 3);
        }
    });
}

#[test]
fn data_for_two_that_arrives_at_once_serves_two() {
    run(|| {
        for cloned in [false, true] {
            let (mut near, far) = pair();
            let far = Arc::new(far);
            let readers: Vec<_> = (0..8)
                .map(|_| {
                    let far = if cloned {
                        Arc::new(far.try_clone().unwrap())
                    } else {
                        Arc::clone(&far)
                    };
                    thread::spawn(move || {
                        let mut byte = [0];
                        (&*far).read_exact(&mut byte).unwrap();
                        usize::from(byte[0])
                    })
                })
                .collect();
            let_it_block();
            // One segment, one edge, eight readers.
            near.write_all(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
            let sum: usize = readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .sum();
            assert_eq!(sum, 36);
        }
    });
}

#[test]
fn every_reader_of_one_socket_sees_its_end() {
    run(|| {
        let (near, far) = pair();
        let far = Arc::new(far);
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let far = Arc::clone(&far);
                thread::spawn(move || (&*far).read(&mut [0]).unwrap())
            })
            .collect();
        let_it_block();
        drop(near);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 0);
        }
    });
}

#[test]
fn two_writers_of_one_socket_both_make_progress() {
    const EACH: usize = 4 << 20;
    run(|| {
        let (near, mut far) = pair();
        let writers: Vec<_> = [1u8, 2]
            .into_iter()
            .map(|byte| {
                let mut near = near.try_clone().unwrap();
                thread::spawn(move || near.write_all(&vec![byte; EACH]).unwrap())
            })
            .collect();
        drop(near);
        let mut all = Vec::new();
        far.read_to_end(&mut all).unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(all.len(), 2 * EACH);
        assert_eq!(all.iter().filter(|&&byte| byte == 1).count(), EACH);
        assert_eq!(all.iter().filter(|&&byte| byte == 2).count(), EACH);
    });
}

#[test]
fn a_socket_may_be_cloned_and_dropped_under_a_reader() {
    run(|| {
        let (mut near, far) = pair();
        let mut reading = far.try_clone().unwrap();
        let reader = thread::spawn(move || reading.read(&mut [0]).unwrap());
        let_it_block();
        for _ in 0..10 {
            drop(far.try_clone().unwrap());
        }
        drop(far);
        let_it_block();
        assert!(!reader.is_finished());
        near.write_all(&[0]).unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn a_reused_descriptor_number_starts_afresh() {
    run(|| {
        // A reader was woken on each of these numbers before; the next owner must not see it.
        for round in 0..30u8 {
            let (mut near, mut far) = pair();
            let reader = thread::spawn(move || {
                let mut buf = [0; 4];
                let first = far.read(&mut buf).unwrap();
                assert_eq!((first, buf[0]), (1, round));
                far.read(&mut buf).unwrap()
            });
            thread::yield_now();
            near.write_all(&[round]).unwrap();
            thread::yield_now();
            drop(near);
            assert_eq!(reader.join().unwrap(), 0);
        }
    });
}

#[test]
fn a_stream_moves_to_another_thread_after_use() {
    run(|| {
        let (mut near, mut far) = pair();
        near.write_all(&[1]).unwrap();
        far.read_exact(&mut [0]).unwrap();
        let mut far: TcpStream = thread::spawn(move || {
            near.write_all(&[2]).unwrap();
            far.read_exact(&mut [0]).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            far
        })
        .join()
        .unwrap();
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn two_acceptors_on_one_listener_both_make_progress() {
    run(|| {
        for cloned in [false, true] {
            let (listener, addr) = listener();
            let listener = Arc::new(listener);
            let acceptors: Vec<_> = (0..4)
                .map(|_| {
                    let listener = if cloned {
                        Arc::new(listener.try_clone().unwrap())
                    } else {
                        Arc::clone(&listener)
                    };
                    thread::spawn(move || listener.accept().unwrap().1)
                })
                .collect();
            let_it_block();
            let streams: Vec<_> = (0..4).map(|_| TcpStream::connect(addr).unwrap()).collect();
            let mut accepted: Vec<_> = acceptors
                .into_iter()
                .map(|acceptor| acceptor.join().unwrap())
                .collect();
            let mut connected: Vec<_> = streams
                .iter()
                .map(|stream| stream.local_addr().unwrap())
                .collect();
            accepted.sort();
            connected.sort();
            assert_eq!(accepted, connected);
        }
    });
}
