//! Listeners: accepting, iterating, cloning, and their options.

use std::io::{ErrorKind, Read, Write};
use std::iter::FusedIterator;
use std::time::Duration;

use super::pair::{listener, loopbacks};
use super::rt::net::{Incoming, TcpListener, TcpStream};
use super::rt::thread;
use super::run;

#[test]
fn accept_waits_and_tells_the_peer() {
    run(|| {
        for at in loopbacks() {
            let listener = TcpListener::bind(at).unwrap();
            let addr = listener.local_addr().unwrap();
            assert_eq!(addr.ip(), at.ip());
            assert_ne!(addr.port(), 0);
            let client = thread::spawn(move || {
                thread::sleep(Duration::from_millis(10));
                TcpStream::connect(addr).unwrap()
            });
            let (stream, peer) = listener.accept().unwrap();
            let client = client.join().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(stream.peer_addr().unwrap(), peer);
            assert_eq!(stream.local_addr().unwrap(), addr);
        }
    });
}

#[test]
fn connections_queue_before_accept_in_order() {
    run(|| {
        let (listener, addr) = listener();
        let mut streams: Vec<_> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&[i as u8]).unwrap();
        }
        for i in 0..20 {
            let mut byte = [0];
            listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [i]);
        }
    });
}

#[test]
fn incoming_never_ends() {
    run(|| {
        let (listener, addr) = listener();
        let client = thread::spawn(move || {
            for i in 0..10 {
                TcpStream::connect(addr).unwrap().write_all(&[i]).unwrap();
            }
        });
        let mut seen = Vec::new();
        for stream in listener.incoming().take(10) {
            stream.unwrap().read_to_end(&mut seen).unwrap();
        }
        client.join().unwrap();
        assert_eq!(seen, (0..10).collect::<Vec<u8>>());
        // An error is an item, not the end.
        listener.set_nonblocking(true).unwrap();
        let mut incoming: Incoming<'_> = listener.incoming();
        for _ in 0..3 {
            assert_eq!(
                incoming.next().unwrap().unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
        }
    });
}

#[test]
fn an_accepted_stream_is_blocking_even_if_its_listener_is_not() {
    run(|| {
        let (listener, addr) = listener();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut near = TcpStream::connect(addr).unwrap();
        let mut far = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            thread::yield_now();
        };
        let reader = thread::spawn(move || far.read(&mut [0]).unwrap());
        thread::sleep(Duration::from_millis(10));
        assert!(!reader.is_finished());
        near.write_all(&[1]).unwrap();
        assert_eq!(reader.join().unwrap(), 1);
    });
}

#[test]
fn a_listener_goes_back_to_blocking() {
    run(|| {
        let (listener, addr) = listener();
        listener.set_nonblocking(true).unwrap();
        let clone = listener.try_clone().unwrap();
        assert_eq!(clone.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        clone.set_nonblocking(false).unwrap();
        let acceptor = thread::spawn(move || listener.accept().unwrap().1);
        thread::sleep(Duration::from_millis(10));
        assert!(!acceptor.is_finished());
        let near = TcpStream::connect(addr).unwrap();
        assert_eq!(acceptor.join().unwrap(), near.local_addr().unwrap());
    });
}

#[test]
fn a_clone_keeps_the_port_open() {
    run(|| {
        let (listener, addr) = listener();
        let clone = listener.try_clone().unwrap();
        assert_eq!(clone.local_addr().unwrap(), addr);
        drop(listener);
        let near = TcpStream::connect(addr).unwrap();
        assert_eq!(clone.accept().unwrap().1, near.local_addr().unwrap());
        drop(clone);
        let error = TcpStream::connect(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_connection_nobody_accepted_is_reset_with_its_listener() {
    run(|| {
        let (listener, addr) = listener();
        let mut near = TcpStream::connect(addr).unwrap();
        let reader = thread::spawn(move || near.read(&mut [0]).unwrap_err().kind());
        thread::sleep(Duration::from_millis(10));
        drop(listener);
        assert_eq!(reader.join().unwrap(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_client_that_left_before_accept_is_still_accepted() {
    run(|| {
        let (listener, addr) = listener();
        let mut near = TcpStream::connect(addr).unwrap();
        near.write_all(&[1]).unwrap();
        let peer = near.local_addr().unwrap();
        drop(near);
        let (mut far, from) = listener.accept().unwrap();
        assert_eq!(from, peer);
        let mut all = Vec::new();
        far.read_to_end(&mut all).unwrap();
        assert_eq!(all, [1]);
    });
}

#[test]
#[allow(
    deprecated,
    reason = "std still has only_v6, so code that calls it must compile"
)]
fn listener_options() {
    run(|| {
        let (listener, _) = listener();
        listener.set_ttl(100).unwrap();
        assert_eq!(listener.ttl().unwrap(), 100);
        assert_eq!(listener.try_clone().unwrap().ttl().unwrap(), 100);
        assert!(listener.take_error().unwrap().is_none());
        if let Some(v6) = loopbacks().into_iter().find(std::net::SocketAddr::is_ipv6) {
            let listener = TcpListener::bind(v6).unwrap();
            let only = listener.only_v6().unwrap();
            // A bound socket can no longer change it; the error must arrive.
            assert_eq!(
                listener.set_only_v6(!only).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            assert_eq!(listener.only_v6().unwrap(), only);
        }
    });
}

#[test]
fn listeners_print_and_cross_threads() {
    fn shared<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + Unpin>() {}
    fn fused<T: FusedIterator>() {}
    shared::<TcpListener>();
    shared::<Incoming<'static>>();
    fused::<Incoming<'static>>();
    run(|| {
        use super::rt::os::fd::AsRawFd;
        let (listener, addr) = listener();
        let fd = listener.as_raw_fd();
        assert_eq!(
            format!("{listener:?}"),
            format!("TcpListener {{ addr: {addr}, fd: {fd} }}")
        );
        assert!(format!("{:?}", listener.incoming()).starts_with("Incoming"));
    });
}
