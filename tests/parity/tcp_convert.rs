//! Conversions to and from descriptors and std's own types: nothing is lost on the way.
#![allow(unsafe_code, reason = "FromRawFd is unsafe to call")]

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use super::pair::{listener, pair};
use super::rt::net::{TcpListener, TcpStream};
use super::rt::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use super::rt::thread;
use super::run;

/// What must hold of a stream after any conversion: it waits for data, and carries it.
fn works(mut near: TcpStream, mut far: TcpStream) {
    let reader = thread::spawn(move || {
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        far.write_all(&byte).unwrap();
    });
    thread::sleep(Duration::from_millis(5));
    assert!(!reader.is_finished());
    near.write_all(&[8]).unwrap();
    let mut byte = [0];
    near.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [8]);
    reader.join().unwrap();
}

#[test]
fn streams_pass_through_an_owned_descriptor() {
    run(|| {
        let (near, far) = pair();
        let fd = near.as_raw_fd();
        let owned = OwnedFd::from(near);
        assert_eq!(owned.as_raw_fd(), fd);
        let near = TcpStream::from(owned);
        assert_eq!(near.as_raw_fd(), fd);
        works(near, far);
    });
}

#[test]
fn streams_pass_through_a_raw_descriptor() {
    run(|| {
        let (near, far) = pair();
        let fd: RawFd = near.into_raw_fd();
        // SAFETY: `into_raw_fd` has just given up the ownership of this open descriptor.
        let near = unsafe { TcpStream::from_raw_fd(fd) };
        works(near, far);
    });
}

#[test]
fn streams_pass_through_std() {
    run(|| {
        let (near, far) = pair();
        let (near, far) = (
            std::net::TcpStream::from(near),
            std::net::TcpStream::from(far),
        );
        let (near, far) = (TcpStream::from(near), TcpStream::from(far));
        works(near, far);
    });
}

#[test]
fn streams_pass_through_std_after_use_and_with_data_waiting() {
    run(|| {
        let (mut near, mut far) = pair();
        far.set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        assert_eq!(
            far.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        near.write_all(&[1, 2]).unwrap();
        far.read_exact(&mut [0]).unwrap();
        let mut far = std::net::TcpStream::from(far);
        assert_eq!(far.read(&mut [0; 4]).unwrap(), 1);
        far.set_read_timeout(None).unwrap();
        works(near, TcpStream::from(far));
    });
}

#[test]
fn a_stream_given_to_std_is_blocking() {
    run(|| {
        let (near, far) = pair();
        for (stream, nonblocking) in [(near, false), (far, true)] {
            stream.set_nonblocking(nonblocking).unwrap();
            let std_stream = std::net::TcpStream::from(stream);
            let flags = fcntl_getfl(&std_stream).unwrap();
            assert_eq!(flags.contains(OFlags::NONBLOCK), nonblocking);
        }
        let (near, far) = pair();
        // SAFETY: `into_raw_fd` has just given up the ownership of this open descriptor.
        let raw = unsafe { OwnedFd::from_raw_fd(near.into_raw_fd()) };
        for fd in [raw, OwnedFd::from(far)] {
            assert!(!fcntl_getfl(&fd).unwrap().contains(OFlags::NONBLOCK));
        }
    });
}

#[test]
fn the_mode_survives_both_ways() {
    run(|| {
        let (near, _far) = pair();
        near.set_nonblocking(true).unwrap();
        let mut near = std::net::TcpStream::from(near);
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let mut near = TcpStream::from(near);
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let mut near = TcpStream::from(OwnedFd::from(near));
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        near.set_nonblocking(false).unwrap();
        works(near, _far);
    });
}

#[test]
fn timeouts_survive_both_ways() {
    run(|| {
        let (near, _far) = pair();
        let (read, write) = (Duration::from_secs(4), Duration::from_secs(6));
        near.set_read_timeout(Some(read)).unwrap();
        near.set_write_timeout(Some(write)).unwrap();
        let near = std::net::TcpStream::from(near);
        assert_eq!(near.read_timeout().unwrap(), Some(read));
        assert_eq!(near.write_timeout().unwrap(), Some(write));
        near.set_read_timeout(Some(Duration::from_millis(40)))
            .unwrap();
        let mut near = TcpStream::from(near);
        assert_eq!(near.write_timeout().unwrap(), Some(write));
        assert_eq!(
            near.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let near = TcpStream::from(OwnedFd::from(near));
        assert_eq!(near.write_timeout().unwrap(), Some(write));
    });
}

#[test]
fn listeners_pass_through_every_form() {
    run(|| {
        let (listener, addr) = listener();
        let listener = TcpListener::from(OwnedFd::from(listener));
        let listener = TcpListener::from(std::net::TcpListener::from(listener));
        // SAFETY: `into_raw_fd` has just given up the ownership of this open descriptor.
        let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
        assert_eq!(listener.local_addr().unwrap(), addr);
        let acceptor = thread::spawn(move || {
            let peer = listener.accept().unwrap().1;
            (listener, peer)
        });
        thread::sleep(Duration::from_millis(5));
        assert!(!acceptor.is_finished());
        let near = TcpStream::connect(addr).unwrap();
        let (listener, peer) = acceptor.join().unwrap();
        assert_eq!(peer, near.local_addr().unwrap());

        let listener = std::net::TcpListener::from(listener);
        assert!(!fcntl_getfl(&listener).unwrap().contains(OFlags::NONBLOCK));
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from(listener);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn descriptors_can_be_borrowed() {
    fn number(fd: &impl AsFd) -> RawFd {
        fd.as_fd().as_raw_fd()
    }
    run(|| {
        let (near, _far) = pair();
        let (listener, _) = listener();
        let borrowed: BorrowedFd<'_> = near.as_fd();
        assert_eq!(borrowed.as_raw_fd(), near.as_raw_fd());
        assert_eq!(number(&near), near.as_raw_fd());
        assert_eq!(number(&listener), listener.as_raw_fd());
    });
}

#[test]
fn descriptors_are_closed_on_exec() {
    run(|| {
        let (near, far) = pair();
        let (listener, _) = listener();
        let clone = near.try_clone().unwrap();
        let clone_of_listener = listener.try_clone().unwrap();
        for fd in [
            near.as_fd(),
            far.as_fd(),
            clone.as_fd(),
            listener.as_fd(),
            clone_of_listener.as_fd(),
        ] {
            assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
    });
}

#[test]
fn a_dropped_stream_closes_its_descriptor() {
    run(|| {
        let (near, mut far) = pair();
        let owned = OwnedFd::from(near);
        let reader = thread::spawn(move || far.read(&mut [0]).unwrap());
        thread::sleep(Duration::from_millis(5));
        assert!(!reader.is_finished());
        drop(TcpStream::from(owned));
        assert_eq!(reader.join().unwrap(), 0);
    });
}
