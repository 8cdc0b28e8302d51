//! Connected sockets for the other bodies.

use std::net::SocketAddr;

use super::rt::net::{TcpListener, TcpStream};

/// The loopback addresses this machine has, with port 0.
pub(crate) fn loopbacks() -> Vec<SocketAddr> {
    let v4 = SocketAddr::from(([127, 0, 0, 1], 0));
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    let mut found = vec![v4];
    // A container without IPv6 is common; there the IPv4 half still counts.
    found.extend(TcpListener::bind(v6).is_ok().then_some(v6));
    found
}

/// A listener on IPv4 loopback and its address.
pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Both ends of one connection: (connected, accepted).
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    pair_at(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// Both ends of one connection to a listener bound to `addr`.
pub(crate) fn pair_at(addr: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(addr).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, peer) = listener.accept().unwrap();
    assert_eq!(peer, near.local_addr().unwrap());
    (near, far)
}
