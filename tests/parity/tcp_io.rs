//! Reading and writing: amounts, end of file, peeking, vectors, and writers that must wait.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::pair::{loopbacks, pair, pair_at};
use super::rt::net::{Shutdown, TcpListener, TcpStream};
use super::rt::thread;
use super::run;

/// More than two socket buffers hold, so that a writer must wait for its reader.
const BULK: usize = 12 << 20;

/// The byte that every transfer has at `position`.
fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

/// Writes `len` pattern bytes, counting what has been handed over.
fn write_pattern(stream: &mut impl Write, len: usize, written: &AtomicUsize) -> io::Result<()> {
    let block: Vec<u8> = (0..251 * 256).map(pattern).collect();
    let mut at = 0;
    while at < len {
        let start = at % 251;
        let room = (len - at).min(block.len() - start);
        at += stream.write(&block[start..start + room])?;
        written.store(at, Ordering::Release);
    }
    Ok(())
}

/// Reads to the end and checks every byte; returns their number.
fn read_pattern(stream: &mut impl Read) -> io::Result<usize> {
    let mut block = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        let len = stream.read(&mut block)?;
        if len == 0 {
            return Ok(at);
        }
        assert!(
            (0..len).all(|i| block[i] == pattern(at + i)),
            "wrong bytes after {at}"
        );
        at += len;
    }
}

#[test]
fn a_read_returns_what_there_is() {
    run(|| {
        let (mut near, mut far) = pair();
        let other = thread::spawn(move || {
            far.write_all(&[10]).unwrap();
            far.read_exact(&mut [0]).unwrap();
        });
        let mut buf = [0; 10];
        assert_eq!(near.read(&mut buf).unwrap(), 1);
        near.write_all(&[1]).unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_read_waits_for_data() {
    run(|| {
        for at in loopbacks() {
            let (mut near, mut far) = pair_at(at);
            let reader = thread::spawn(move || {
                let mut buf = [0; 4];
                for round in 0..20 {
                    assert_eq!(far.read(&mut buf).unwrap(), 1);
                    assert_eq!(buf[0], round);
                    far.write_all(&[round]).unwrap();
                }
            });
            for round in 0..20 {
                thread::sleep(Duration::from_micros(300));
                near.write_all(&[round]).unwrap();
                near.read_exact(&mut [0]).unwrap();
            }
            reader.join().unwrap();
        }
    });
}

#[test]
fn end_of_file_stays() {
    run(|| {
        for at in loopbacks() {
            let (near, mut far) = pair_at(at);
            let closer = thread::spawn(move || drop(near));
            for _ in 0..3 {
                assert_eq!(far.read(&mut [0]).unwrap(), 0);
            }
            closer.join().unwrap();
        }
    });
}

#[test]
fn data_before_the_end_is_read_first() {
    run(|| {
        // Larger, equal and smaller buffers than the data: a short read must not hide the end.
        for size in [64, 6, 4, 1] {
            for late in [false, true] {
                let (mut near, mut far) = pair();
                near.write_all(b"farewl").unwrap();
                let closer = thread::spawn(move || {
                    if late {
                        thread::sleep(Duration::from_millis(5));
                    }
                    drop(near);
                });
                if !late {
                    closer.join().unwrap();
                }
                let mut buf = vec![0; size];
                let mut got = Vec::new();
                loop {
                    let len = far.read(&mut buf).unwrap();
                    if len == 0 {
                        break;
                    }
                    got.extend_from_slice(&buf[..len]);
                }
                assert_eq!(got, b"farewl");
                assert_eq!(far.read(&mut buf).unwrap(), 0);
            }
        }
    });
}

#[test]
fn the_read_and_write_helpers_work() {
    run(|| {
        let (near, far) = pair();
        let server = thread::spawn(move || {
            let mut lines = BufReader::new(far.try_clone().unwrap()).lines();
            let mut out = BufWriter::new(&far);
            while let Some(line) = lines.next().transpose().unwrap() {
                writeln!(out, "{}!", line.to_uppercase()).unwrap();
                out.flush().unwrap();
            }
        });
        let mut near = near;
        write!(near, "first\nsec").unwrap();
        near.write_all(b"ond\n").unwrap();
        near.flush().unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "FIRST!\nSECOND!\n");
        server.join().unwrap();
    });
}

#[test]
fn read_exact_reports_an_early_end() {
    run(|| {
        let (mut near, mut far) = pair();
        near.write_all(&[1, 2]).unwrap();
        drop(near);
        let error = far.read_exact(&mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn vectors_scatter_and_gather() {
    run(|| {
        for at in loopbacks() {
            let (mut near, mut far) = pair_at(at);
            let len = near
                .write_vectored(&[
                    IoSlice::new(&[]),
                    IoSlice::new(&[10]),
                    IoSlice::new(&[11, 12]),
                ])
                .unwrap();
            assert_eq!(len, 3);
            let (mut a, mut b, mut c) = ([], [0], [0; 3]);
            let len = far
                .read_vectored(&mut [
                    IoSliceMut::new(&mut a),
                    IoSliceMut::new(&mut b),
                    IoSliceMut::new(&mut c),
                ])
                .unwrap();
            assert_eq!((len, b, c), (3, [10], [11, 12, 0]));
        }
    });
}

#[test]
fn a_vectored_read_waits_for_data() {
    run(|| {
        let (near, far) = pair();
        let reader = thread::spawn(move || {
            let (mut a, mut b) = ([0; 1], [0; 4]);
            let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            let len = (&far).read_vectored(&mut bufs).unwrap();
            (len, a, b)
        });
        thread::sleep(Duration::from_millis(5));
        let bufs = [IoSlice::new(&[1]), IoSlice::new(&[2])];
        assert_eq!((&near).write_vectored(&bufs).unwrap(), 2);
        assert_eq!(reader.join().unwrap(), (2, [1], [2, 0, 0, 0]));
    });
}

#[test]
fn peek_leaves_the_data() {
    run(|| {
        let (mut near, far) = pair();
        let reader = thread::spawn(move || {
            let mut far = far;
            let mut buf = [0; 10];
            // Nothing is there yet: a peek waits as a read does.
            assert_eq!(far.peek(&mut buf).unwrap(), 3);
            assert_eq!(far.peek(&mut buf[..1]).unwrap(), 1);
            assert_eq!(far.peek(&mut buf).unwrap(), 3);
            assert_eq!(far.read(&mut buf).unwrap(), 3);
            assert_eq!(buf[..3], [1, 2, 3]);
            assert_eq!(far.peek(&mut buf).unwrap(), 0);
            assert_eq!(far.read(&mut buf).unwrap(), 0);
        });
        thread::sleep(Duration::from_millis(5));
        near.write_all(&[1, 2, 3]).unwrap();
        near.shutdown(Shutdown::Write).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read() {
    run(|| {
        let (mut near, mut far) = pair();
        let written = Arc::new(AtomicUsize::new(0));
        let writer = thread::spawn({
            let written = Arc::clone(&written);
            move || write_pattern(&mut near, BULK, &written)
        });
        // The writer has stopped when its count stands still for a while.
        let mut before = usize::MAX;
        loop {
            thread::sleep(Duration::from_millis(30));
            let now = written.load(Ordering::Acquire);
            if now == before && now > 0 {
                break;
            }
            before = now;
        }
        assert!(before < BULK, "the buffers held everything");
        assert!(!writer.is_finished());
        assert_eq!(read_pattern(&mut far).unwrap(), BULK);
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn a_nonblocking_writer_is_told_how_much_fitted() {
    run(|| {
        let (mut near, mut far) = pair();
        near.set_nonblocking(true).unwrap();
        let mut fitted = 0;
        let error = loop {
            let block: Vec<u8> = (fitted..fitted + (1 << 20)).map(pattern).collect();
            match near.write(&block) {
                Ok(len) => fitted += len,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(near);
        assert_eq!(read_pattern(&mut far).unwrap(), fitted);
    });
}

#[test]
fn both_directions_carry_bulk_at_once() {
    run(|| {
        for at in loopbacks() {
            let (near, far) = pair_at(at);
            let ends: Vec<_> = [near, far].map(Arc::new).into_iter().collect();
            let mut threads = Vec::new();
            for end in &ends {
                let (reader, writer) = (Arc::clone(end), Arc::clone(end));
                threads.push(thread::spawn(move || {
                    write_pattern(&mut &*writer, BULK / 2, &AtomicUsize::new(0)).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                    BULK / 2
                }));
                threads.push(thread::spawn(move || read_pattern(&mut &*reader).unwrap()));
            }
            for thread in threads {
                assert_eq!(thread.join().unwrap(), BULK / 2);
            }
        }
    });
}

#[test]
fn io_copy_moves_a_stream() {
    run(|| {
        let (mut near, far) = pair();
        let echo = thread::spawn(move || {
            let (mut from, mut to) = (&far, &far);
            io::copy(&mut from, &mut to).unwrap()
        });
        for round in 0..50u8 {
            near.write_all(&[round; 100]).unwrap();
            let mut back = [0; 100];
            near.read_exact(&mut back).unwrap();
            assert_eq!(back, [round; 100]);
        }
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(echo.join().unwrap(), 5_000);
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn many_connections_are_served_at_once() {
    const CLIENTS: usize = 40;
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let handlers: Vec<_> = listener
                .incoming()
                .take(CLIENTS)
                .map(|stream| {
                    let mut stream = stream.unwrap();
                    thread::spawn(move || {
                        let mut buf = [0; 16];
                        loop {
                            let len = stream.read(&mut buf).unwrap();
                            if len == 0 {
                                break;
                            }
                            stream.write_all(&buf[..len]).unwrap();
                        }
                    })
                })
                .collect();
            for handler in handlers {
                handler.join().unwrap();
            }
        });
        let started = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|i| {
                let started = Arc::clone(&started);
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(addr).unwrap();
                    started.fetch_add(1, Ordering::AcqRel);
                    // All are connected before the first one speaks.
                    while started.load(Ordering::Acquire) < CLIENTS {
                        thread::yield_now();
                    }
                    for round in 0..20 {
                        let sent = [i as u8, round];
                        stream.write_all(&sent).unwrap();
                        let mut got = [0; 2];
                        stream.read_exact(&mut got).unwrap();
                        assert_eq!(got, sent);
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        server.join().unwrap();
    });
}

#[test]
fn a_waiting_reader_holds_up_nobody() {
    run(|| {
        let (near, far) = pair();
        let done = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let len = (&far).read(&mut [0]).unwrap();
                assert!(done.load(Ordering::Acquire));
                len
            }
        });
        let (mut left, mut right) = pair();
        for _ in 0..50 {
            left.write_all(&[1]).unwrap();
            right.read_exact(&mut [0]).unwrap();
        }
        done.store(true, Ordering::Release);
        (&near).write_all(&[1]).unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn urgent_data_stops_a_read_short_and_no_more() {
    use rustix::net::{SendFlags, send};
    run(|| {
        let (mut near, mut far) = pair();
        near.write_all(b"ab").unwrap();
        assert_eq!(send(&near, b"!", SendFlags::OOB).unwrap(), 1);
        near.write_all(b"cd").unwrap();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            let mut buf = [0; 16];
            while got.len() < 4 {
                let len = far.read(&mut buf).unwrap();
                got.extend_from_slice(&buf[..len]);
            }
            got
        });
        assert_eq!(reader.join().unwrap(), b"abcd");
    });
}
