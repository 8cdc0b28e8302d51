//! `ToSocketAddrs` for every type that has it, and its errors.

use std::io::ErrorKind;
use std::time::Duration;

use super::rt::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs,
};
use super::rt::thread;
use super::run;

/// All addresses of `what`.
fn all(what: impl ToSocketAddrs) -> Vec<SocketAddr> {
    what.to_socket_addrs().unwrap().collect()
}

/// The kind and text of the error of `what`.
fn error(what: impl ToSocketAddrs) -> (ErrorKind, String) {
    let error = what.to_socket_addrs().map(|_| ()).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn numeric_addresses() {
    run(|| {
        let (v4, v6) = (
            Ipv4Addr::new(77, 88, 21, 11),
            Ipv6Addr::new(0x2a02, 0, 0, 1, 0, 0, 0, 1),
        );
        let four = SocketAddr::V4(SocketAddrV4::new(v4, 80));
        let six = SocketAddr::V6(SocketAddrV6::new(v6, 80, 0, 0));
        assert_eq!(all(four), [four]);
        assert_eq!(all(SocketAddrV4::new(v4, 80)), [four]);
        assert_eq!(all(SocketAddrV6::new(v6, 80, 0, 0)), [six]);
        assert_eq!(all((IpAddr::V4(v4), 80)), [four]);
        assert_eq!(all((IpAddr::V6(v6), 80)), [six]);
        assert_eq!(all((v4, 80)), [four]);
        assert_eq!(all((v6, 80)), [six]);
        assert_eq!(all("77.88.21.11:80"), [four]);
        assert_eq!(all("[2a02:0:0:1::1]:80"), [six]);
        assert_eq!(all("77.88.21.11:80".to_owned()), [four]);
        assert_eq!(all(("77.88.21.11", 80)), [four]);
        assert_eq!(all(("77.88.21.11".to_owned(), 80)), [four]);
        assert_eq!(all(("2a02:0:0:1::1", 80)), [six]);
        assert_eq!(all(&[four, six][..]), [four, six]);
        assert_eq!((&&four).to_socket_addrs().unwrap().next(), Some(four));
        let (owned, borrowed) = ("77.88.21.11:80".to_owned(), &("77.88.21.11".to_owned(), 80));
        assert_eq!(owned.to_socket_addrs().unwrap().next(), Some(four));
        assert_eq!(borrowed.to_socket_addrs().unwrap().next(), Some(four));
        let unsized_str: &str = "77.88.21.11:80";
        assert_eq!(
            str::to_socket_addrs(unsized_str).unwrap().next(),
            Some(four)
        );
    });
}

#[test]
fn localhost_resolves() {
    run(|| {
        for found in [
            all("localhost:21"),
            all(("localhost", 21)),
            all(("localhost".to_owned(), 21)),
        ] {
            assert!(!found.is_empty());
            assert!(
                found
                    .iter()
                    .all(|addr| addr.ip().is_loopback() && addr.port() == 21)
            );
        }
        assert!(all("localhost:0").contains(&SocketAddr::from(([127, 0, 0, 1], 0))));
    });
}

#[test]
fn many_lookups_at_once() {
    run(|| {
        let lookups: Vec<_> = (0..30)
            .map(|port| thread::spawn(move || all(("localhost", port))))
            .collect();
        for (port, lookup) in lookups.into_iter().enumerate() {
            let found = lookup.join().unwrap();
            assert!(!found.is_empty());
            assert!(found.iter().all(|addr| usize::from(addr.port()) == port));
        }
        thread::sleep(Duration::from_millis(1));
    });
}

#[test]
fn malformed_addresses() {
    run(|| {
        let socket = (ErrorKind::InvalidInput, "invalid socket address".to_owned());
        let port = (ErrorKind::InvalidInput, "invalid port value".to_owned());
        assert_eq!(error("localhost"), socket);
        assert_eq!(error(""), socket);
        assert_eq!(error("localhost:-1"), port);
        assert_eq!(error("localhost:"), port);
        assert_eq!(error("localhost:99999"), port);
        assert_eq!(error("localhost:http".to_owned()), port);
        assert_eq!(error(("nul\0inside", 1)).0, ErrorKind::InvalidInput);
    });
}

#[test]
fn a_name_that_cannot_exist_is_an_error() {
    run(|| {
        // A label may have 63 bytes, so no server is asked for this one.
        let name = "a".repeat(64);
        assert!((name.as_str(), 80).to_socket_addrs().is_err());
        assert!(format!("{name}:80").to_socket_addrs().is_err());
    });
}

#[test]
fn the_iterators_are_stds() {
    run(|| {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let one: std::option::IntoIter<SocketAddr> = addr.to_socket_addrs().unwrap();
        let more: std::vec::IntoIter<SocketAddr> = "127.0.0.1:1".to_socket_addrs().unwrap();
        let slice = [addr];
        let borrowed: std::iter::Cloned<std::slice::Iter<'_, SocketAddr>> =
            (&slice[..]).to_socket_addrs().unwrap();
        assert!(one.eq(more) && borrowed.eq([addr]));
    });
}
