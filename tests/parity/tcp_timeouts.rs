//! Read and write timeouts: their kinds, their clock, whom they concern.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use super::pair::pair;
use super::rt::net::TcpStream;
use super::rt::thread;
use super::run;

const TIMEOUT: Duration = Duration::from_millis(60);

/// Asserts that `attempt` fails with the kind of a timeout, after it and not before.
///
/// The kernel counts SO_RCVTIMEO in ticks and may end one tick early.
fn times_out<T: std::fmt::Debug>(attempt: impl FnOnce() -> std::io::Result<T>) {
    let start = Instant::now();
    let error = attempt().unwrap_err();
    let waited = start.elapsed();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(
        waited + Duration::from_millis(10) >= TIMEOUT,
        "ended after {waited:?}"
    );
    assert!(waited < Duration::from_secs(10), "ended after {waited:?}");
}

/// Writes until the buffers of both ends are full and stay so for a while.
fn fill(mut stream: &TcpStream) {
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let block = [0; 64 << 10];
    let refused = loop {
        if let Err(error) = stream.write_all(&block) {
            break error;
        }
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
}

#[test]
fn timeouts_are_none_until_set() {
    run(|| {
        let (near, far) = pair();
        for stream in [near, far] {
            assert_eq!(stream.read_timeout().unwrap(), None);
            assert_eq!(stream.write_timeout().unwrap(), None);
            // The kernel keeps ticks of at most 10 ms.
            let wanted = Duration::from_millis(2_000);
            stream.set_read_timeout(Some(wanted)).unwrap();
            assert_eq!(stream.read_timeout().unwrap(), Some(wanted));
            assert_eq!(stream.write_timeout().unwrap(), None);
            stream.set_write_timeout(Some(2 * wanted)).unwrap();
            assert_eq!(stream.read_timeout().unwrap(), Some(wanted));
            assert_eq!(stream.write_timeout().unwrap(), Some(2 * wanted));
            stream.set_read_timeout(None).unwrap();
            stream.set_write_timeout(None).unwrap();
            assert_eq!(stream.read_timeout().unwrap(), None);
            assert_eq!(stream.write_timeout().unwrap(), None);
        }
    });
}

#[test]
fn a_zero_timeout_is_invalid_input() {
    run(|| {
        let (near, _far) = pair();
        near.set_read_timeout(Some(TIMEOUT)).unwrap();
        for error in [
            near.set_read_timeout(Some(Duration::ZERO)).unwrap_err(),
            near.set_write_timeout(Some(Duration::ZERO)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), "cannot set a 0 duration timeout");
        }
        assert!(near.read_timeout().unwrap().is_some());
    });
}

#[test]
fn tiny_and_huge_timeouts_are_taken() {
    run(|| {
        let (near, mut far) = pair();
        near.set_read_timeout(Some(Duration::from_nanos(1)))
            .unwrap();
        let error = (&near).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        near.set_read_timeout(Some(Duration::MAX)).unwrap();
        near.set_write_timeout(Some(Duration::MAX)).unwrap();
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            far.write_all(&[1]).unwrap();
            far
        });
        assert_eq!((&near).read(&mut [0]).unwrap(), 1);
        assert_eq!((&near).write(&[1]).unwrap(), 1);
        writer.join().unwrap();
    });
}

#[test]
fn every_way_to_read_times_out() {
    run(|| {
        let (mut near, mut far) = pair();
        near.set_read_timeout(Some(TIMEOUT)).unwrap();
        times_out(|| near.read(&mut [0]));
        times_out(|| (&near).read(&mut [0]));
        times_out(|| near.peek(&mut [0]));
        times_out(|| near.read_vectored(&mut [IoSliceMut::new(&mut [0])]));
        times_out(|| near.read_exact(&mut [0]));
        // It is the same stream after that.
        far.write_all(&[3]).unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [3]);
        times_out(|| near.read(&mut byte));
    });
}

#[test]
fn a_write_to_a_full_socket_times_out() {
    run(|| {
        let (mut near, mut far) = pair();
        fill(&near);
        near.set_write_timeout(Some(TIMEOUT)).unwrap();
        times_out(|| near.write(&[0; 1000]));
        times_out(|| near.write_vectored(&[std::io::IoSlice::new(&[0; 1000])]));
        // Room made by the peer ends the wait in time.
        near.set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let reader = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            far.read_to_end(&mut Vec::new()).unwrap()
        });
        assert!(near.write(&[0; 1000]).unwrap() > 0);
        drop(near);
        assert!(reader.join().unwrap() > 1000);
    });
}

#[test]
fn data_in_time_ends_the_wait() {
    run(|| {
        let (mut near, mut far) = pair();
        near.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let writer = thread::spawn(move || {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(2));
                far.write_all(&[1]).unwrap();
            }
            far
        });
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(near.read(&mut [0]).unwrap(), 1);
        }
        assert!(start.elapsed() < Duration::from_secs(10));
        writer.join().unwrap();
    });
}

#[test]
fn each_read_has_the_whole_timeout() {
    run(|| {
        let (mut near, mut far) = pair();
        near.set_read_timeout(Some(Duration::from_millis(400)))
            .unwrap();
        let writer = thread::spawn(move || {
            for _ in 0..8 {
                thread::sleep(Duration::from_millis(80));
                far.write_all(&[1]).unwrap();
            }
            far
        });
        for _ in 0..8 {
            assert_eq!(near.read(&mut [0]).unwrap(), 1);
        }
        writer.join().unwrap();
    });
}

#[test]
fn clones_share_their_timeouts() {
    run(|| {
        let (near, far) = pair();
        let mut clone = near.try_clone().unwrap();
        near.set_read_timeout(Some(TIMEOUT)).unwrap();
        assert!(clone.read_timeout().unwrap().is_some());
        times_out(|| clone.read(&mut [0]));
        let later = near.try_clone().unwrap();
        assert!(later.read_timeout().unwrap().is_some());
        later.set_read_timeout(None).unwrap();
        assert_eq!(near.read_timeout().unwrap(), None);
        drop(far);
    });
}

#[test]
fn a_timeout_concerns_its_own_stream_only() {
    run(|| {
        let (mut hasty, _quiet) = pair();
        let (mut patient, mut late) = pair();
        hasty.set_read_timeout(Some(TIMEOUT)).unwrap();
        let waits = thread::spawn(move || patient.read(&mut [0]).unwrap());
        times_out(|| hasty.read(&mut [0]));
        assert!(!waits.is_finished());
        late.write_all(&[1]).unwrap();
        assert_eq!(waits.join().unwrap(), 1);
    });
}

#[test]
fn many_timeouts_end_together() {
    run(|| {
        let start = Instant::now();
        let waiting: Vec<_> = (0..30)
            .map(|_| {
                thread::spawn(|| {
                    let (mut near, _far) = pair();
                    near.set_read_timeout(Some(TIMEOUT)).unwrap();
                    times_out(|| near.read(&mut [0]));
                })
            })
            .collect();
        for one in waiting {
            one.join().unwrap();
        }
        assert!(start.elapsed() < 20 * TIMEOUT, "one after the other");
    });
}
