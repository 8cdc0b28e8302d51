//! TCP for green threads, and what of [`std::net`] does not block.
//!
//! # Differences from std
//!
//! [`ToSocketAddrs`] is a trait of its own, so that looking up a name does not stop the other green threads. A type that
//! implements std's trait has to implement this one as well.

mod addr;
mod settings;
mod tcp_listener;
mod tcp_stream;

pub use addr::ToSocketAddrs;
pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};
pub use tcp_listener::{Incoming, IntoIncoming, TcpListener};
pub use tcp_stream::TcpStream;
