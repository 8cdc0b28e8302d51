//! `connect`, `connect_timeout` and `bind`: what they reach and how they fail.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::pair::{listener, loopbacks, pair, pair_at};
use super::rt::net::{SocketAddr, TcpListener, TcpStream};
use super::rt::thread;
use super::run;

/// A loopback address that refuses connections for as long as the listener lives.
///
/// Its port is taken on 127.0.0.1, so nobody else is given it, yet nobody listens on 127.0.0.2.
fn refusing() -> (TcpListener, SocketAddr) {
    let (holder, addr) = listener();
    (holder, SocketAddr::from(([127, 0, 0, 2], addr.port())))
}

/// A listener whose queue is full, so that the kernel drops the next connection request.
fn silent() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let (listener, addr) = listener();
    rustix::net::listen(&listener, 0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(50)) {
        queued.push(stream);
        assert!(queued.len() < 16, "the queue never fills");
    }
    (listener, addr, queued)
}

#[test]
fn both_ends_know_each_other() {
    run(|| {
        for at in loopbacks() {
            let (mut near, mut far) = pair_at(at);
            assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
            assert_eq!(far.peer_addr().unwrap(), near.local_addr().unwrap());
            near.write_all(b"over").unwrap();
            let mut buf = [0; 8];
            assert_eq!(far.read(&mut buf).unwrap(), 4);
            assert_eq!(&buf[..4], b"over");
        }
    });
}

#[test]
fn a_closed_port_refuses() {
    run(|| {
        let (_holder, addr) = refusing();
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(
            error.raw_os_error(),
            Some(Errno::CONNREFUSED.raw_os_error())
        );
        let error = TcpStream::connect_timeout(&addr, Duration::from_secs(20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn every_address_is_tried_and_the_last_error_is_told() {
    run(|| {
        let (_holder, refused) = refusing();
        let (listener, good) = listener();
        let stream = TcpStream::connect(&[refused, good][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        drop(listener.accept().unwrap());
        let error = TcpStream::connect(&[refused, refused][..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn no_address_at_all_is_invalid_input() {
    run(|| {
        let none: &[SocketAddr] = &[];
        for error in [
            TcpStream::connect(none).map(drop).unwrap_err(),
            TcpListener::bind(none).map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), "could not resolve to any addresses");
        }
    });
}

#[test]
fn what_is_no_address_is_invalid_input() {
    run(|| {
        for (text, message) in [
            ("no port here", "invalid socket address"),
            ("127.0.0.1", "invalid socket address"),
            ("127.0.0.1:", "invalid port value"),
            ("127.0.0.1:65536", "invalid port value"),
        ] {
            for result in [
                TcpStream::connect(text).map(drop),
                TcpListener::bind(text).map(drop),
            ] {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
                assert_eq!(error.to_string(), message, "{text}");
            }
        }
    });
}

#[test]
fn connect_takes_a_name() {
    run(|| {
        let (listener, addr) = listener();
        let mut near = TcpStream::connect(("localhost", addr.port())).unwrap();
        near.write_all(&[144]).unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [144]);
        let text = format!("localhost:{}", addr.port());
        assert_eq!(TcpStream::connect(text).unwrap().peer_addr().unwrap(), addr);
    });
}

#[test]
fn connect_timeout_of_zero_is_invalid_input() {
    run(|| {
        let (_listener, addr) = listener();
        let error = TcpStream::connect_timeout(&addr, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "cannot set a 0 duration timeout");
    });
}

#[test]
fn connect_timeout_gives_up_in_time() {
    run(|| {
        let (_listener, addr, _queued) = silent();
        for timeout in [Duration::from_nanos(1), Duration::from_millis(80)] {
            let start = Instant::now();
            let error = TcpStream::connect_timeout(&addr, timeout).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(
                start.elapsed() >= timeout,
                "gave up after {:?}",
                start.elapsed()
            );
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    });
}

#[test]
fn connect_timeout_leaves_a_blocking_stream() {
    run(|| {
        let (listener, addr) = listener();
        let mut near = TcpStream::connect_timeout(&addr, Duration::from_secs(20)).unwrap();
        assert_eq!(near.peer_addr().unwrap(), addr);
        assert_eq!(near.read_timeout().unwrap(), None);
        assert_eq!(near.write_timeout().unwrap(), None);
        let far = thread::spawn(move || {
            let mut far = listener.accept().unwrap().0;
            thread::sleep(Duration::from_millis(10));
            far.write_all(&[5]).unwrap();
        });
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [5]);
        far.join().unwrap();
    });
}

#[test]
fn a_connect_waits_until_there_is_room() {
    run(|| {
        let (listener, addr, queued) = silent();
        let connects = thread::spawn(move || TcpStream::connect(addr).unwrap());
        thread::sleep(Duration::from_millis(20));
        assert!(!connects.is_finished());
        for near in queued {
            assert_eq!(listener.accept().unwrap().1, near.local_addr().unwrap());
        }
        // The kernel repeats the request after a second.
        let mut near = connects.join().unwrap();
        let peer = near.local_addr().unwrap();
        let mut far = loop {
            let (far, from) = listener.accept().unwrap();
            if from == peer {
                break far;
            }
        };
        far.write_all(&[1]).unwrap();
        near.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn bind_errors() {
    run(|| {
        // An address of a network reserved for documentation belongs to nobody.
        let error = TcpListener::bind("192.0.2.1:0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        for at in loopbacks() {
            let first = TcpListener::bind(at).unwrap();
            let error = TcpListener::bind(first.local_addr().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
    });
}

#[test]
fn bind_tries_every_address() {
    run(|| {
        let (_taken, used) = listener();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(&[used, free][..]).unwrap();
        assert_ne!(listener.local_addr().unwrap(), used);
    });
}

#[test]
fn a_port_is_free_again_at_once() {
    run(|| {
        let (listener, addr) = listener();
        let near = TcpStream::connect(addr).unwrap();
        let (far, _) = listener.accept().unwrap();
        // The accepting side closes first and keeps the port in TIME_WAIT.
        drop(far);
        drop(listener);
        drop(near);
        TcpListener::bind(addr).unwrap();
    });
}

#[test]
fn connections_in_a_row() {
    run(|| {
        for at in loopbacks() {
            let listener = TcpListener::bind(at).unwrap();
            let addr = listener.local_addr().unwrap();
            let client = thread::spawn(move || {
                for i in 0..20 {
                    TcpStream::connect(addr).unwrap().write_all(&[i]).unwrap();
                }
            });
            for i in 0..20 {
                let mut got = Vec::new();
                listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
                assert_eq!(got, [i]);
            }
            client.join().unwrap();
        }
    });
}

#[test]
fn interleaved_connections() {
    const MAX: u8 = 10;
    fn connect(i: u8, addr: SocketAddr) -> io::Result<()> {
        if i == MAX {
            return Ok(());
        }
        let nested = thread::spawn(move || {
            let mut stream = TcpStream::connect(addr)?;
            connect(i + 1, addr)?;
            stream.write_all(&[i])
        });
        nested.join().unwrap()
    }
    run(|| {
        let (listener, addr) = listener();
        let server = thread::spawn(move || {
            let readers: Vec<_> = (0..MAX)
                .map(|i| {
                    let mut stream = listener.accept().unwrap().0;
                    thread::spawn(move || {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        assert_eq!(byte, [i]);
                    })
                })
                .collect();
            for reader in readers {
                reader.join().unwrap();
            }
        });
        connect(0, addr).unwrap();
        server.join().unwrap();
    });
}

#[test]
fn peer_addr_of_a_dead_connection_is_not_connected() {
    run(|| {
        let (near, far) = pair();
        // Unread data turns the close into a reset.
        (&near).write_all(&[1]).unwrap();
        far.peek(&mut [0]).unwrap();
        drop(far);
        let _ = (&near).read(&mut [0]);
        assert_eq!(
            near.peer_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    });
}
