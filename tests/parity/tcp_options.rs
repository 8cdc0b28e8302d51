//! Socket options, non-blocking mode, and the traits of streams.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::time::Duration;

use super::pair::pair;
use super::rt::net::TcpStream;
use super::rt::os::fd::AsRawFd;
use super::rt::os::linux::net::TcpStreamExt;
use super::rt::thread;
use super::run;

#[test]
fn nodelay_is_off_until_set() {
    run(|| {
        let (near, far) = pair();
        for stream in [near, far] {
            assert!(!stream.nodelay().unwrap());
            stream.set_nodelay(true).unwrap();
            assert!(stream.nodelay().unwrap());
            assert!(stream.try_clone().unwrap().nodelay().unwrap());
            stream.set_nodelay(false).unwrap();
            assert!(!stream.nodelay().unwrap());
        }
    });
}

#[test]
fn ttl_is_kept() {
    run(|| {
        let (near, _far) = pair();
        assert!(near.ttl().unwrap() > 0);
        near.set_ttl(100).unwrap();
        assert_eq!(near.ttl().unwrap(), 100);
        assert_eq!(
            near.set_ttl(1_000).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(near.ttl().unwrap(), 100);
    });
}

#[test]
fn quickack_can_be_turned_off() {
    run(|| {
        let (near, _far) = pair();
        near.set_quickack(false).unwrap();
        assert!(!near.quickack().unwrap());
        near.set_quickack(true).unwrap();
        assert!(near.quickack().unwrap());
    });
}

#[test]
fn a_healthy_stream_has_no_error_to_take() {
    run(|| {
        let (near, far) = pair();
        assert!(near.take_error().unwrap().is_none());
        (&near).write_all(&[1]).unwrap();
        far.peek(&mut [0]).unwrap();
        // Closing with data unread resets the connection.
        drop(far);
        let mut error = None;
        while error.is_none() {
            error = near.take_error().unwrap();
            thread::yield_now();
        }
        assert_eq!(error.unwrap().kind(), ErrorKind::ConnectionReset);
        assert!(near.take_error().unwrap().is_none());
    });
}

#[test]
fn a_nonblocking_stream_never_waits() {
    run(|| {
        let (mut near, mut far) = pair();
        far.set_nonblocking(true).unwrap();
        let mut byte = [0];
        assert_eq!(
            far.read(&mut byte).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert_eq!(
            far.peek(&mut byte).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let vectored = far.read_vectored(&mut [IoSliceMut::new(&mut byte)]);
        assert_eq!(vectored.unwrap_err().kind(), ErrorKind::WouldBlock);
        near.write_all(&[7]).unwrap();
        loop {
            match far.read(&mut byte) {
                Ok(len) => break assert_eq!((len, byte), (1, [7])),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            thread::yield_now();
        }
        drop(near);
        loop {
            match far.read(&mut byte) {
                Ok(len) => break assert_eq!(len, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            thread::yield_now();
        }
    });
}

#[test]
fn a_nonblocking_stream_ignores_its_timeout() {
    run(|| {
        let (_near, mut far) = pair();
        far.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
        far.set_nonblocking(true).unwrap();
        let start = std::time::Instant::now();
        assert_eq!(
            far.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(far.read_timeout().unwrap(), Some(Duration::from_secs(50)));
    });
}

#[test]
fn nonblocking_mode_is_shared_by_clones() {
    run(|| {
        let (mut near, far) = pair();
        let mut older = far.try_clone().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut newer = far.try_clone().unwrap();
        for clone in [&mut older, &mut newer] {
            assert_eq!(
                clone.read(&mut [0]).unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
        }
        newer.set_nonblocking(false).unwrap();
        drop((far, newer));
        let reader = thread::spawn(move || older.read(&mut [0]).unwrap());
        thread::sleep(Duration::from_millis(10));
        assert!(!reader.is_finished());
        near.write_all(&[1]).unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn streams_print_both_ends() {
    run(|| {
        let (near, far) = pair();
        let (addr, peer, fd) = (
            near.local_addr().unwrap(),
            far.local_addr().unwrap(),
            near.as_raw_fd(),
        );
        let expected = format!("TcpStream {{ addr: {addr}, peer: {peer}, fd: {fd} }}");
        assert_eq!(format!("{near:?}"), expected);
    });
}

#[test]
fn streams_cross_threads() {
    fn shared<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + Unpin>() {}
    fn both_ways<T: Read + Write>() {}
    shared::<TcpStream>();
    both_ways::<TcpStream>();
    both_ways::<&TcpStream>();
}
