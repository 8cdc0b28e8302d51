//! The servers that the crawler is tested against.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server on loopback that records what it is asked for.
pub struct Site {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    log: Arc<Mutex<Vec<(String, Instant)>>>,
    arrivals: Receiver<()>,
}

impl Site {
    /// Serves until the test process ends, one request per connection.
    pub fn start<H>(handler: H) -> Site
    where
        H: Fn(&str, &TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (arrived, arrivals) = mpsc::channel();
        let (handler, entries) = (Arc::new(handler), Arc::clone(&log));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handler = Arc::clone(&handler);
                let (entries, arrived) = (Arc::clone(&entries), arrived.clone());
                thread::spawn(move || {
                    let path = read_request(&stream)?;
                    let entry = (path.clone(), Instant::now());
                    entries.lock().unwrap().push(entry);
                    // Only a test that waits for requests has kept the receiver.
                    let _ = arrived.send(());
                    handler(&path, &stream)
                });
            }
        });
        Site {
            port,
            log,
            arrivals,
        }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How often a path was asked for.
    pub fn requests(&self, path: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|(asked, _)| asked == path).count()
    }

    /// When each request arrived.
    pub fn starts(&self) -> Vec<Instant> {
        self.log
            .lock()
            .unwrap()
            .iter()
            .map(|entry| entry.1)
            .collect()
    }

    /// The URLs of all pages asked for.
    pub fn urls(&self) -> BTreeSet<String> {
        let log = self.log.lock().unwrap();
        let pages = log.iter().filter(|(path, _)| path != "/robots.txt");
        pages.map(|(path, _)| self.url(path)).collect()
    }

    /// Waits for as many further requests.
    pub fn wait_for_requests(&self, count: usize) {
        for _ in 0..count {
            let arrival = self.arrivals.recv_timeout(Duration::from_secs(10));
            arrival.expect("the crawler goes on asking");
        }
    }
}

/// The hostile site's answer to one request. An error means that the crawler hung up, as it should.
pub fn hostile(
    path: &str,
    mut stream: &TcpStream,
    index: &str,
    flaky: &Mutex<u32>,
) -> io::Result<()> {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
    let mut send = |text: &str| stream.write_all(text.as_bytes());
    let redirect =
        |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    match path {
        "/" => send(&format!(
            "{html}Content-Length: {}\r\n\r\n{index}",
            index.len()
        )),
        "/robots.txt" => send("HTTP/1.0 200 OK\r\n\r\nUser-agent: *\nDisallow: /private\n"),
        "/endless" => {
            send(&format!("{html}\r\n"))?;
            forever(Duration::ZERO, || {
                send(&"<a href='/endless'>x</a>".repeat(100))
            })
        }
        "/endless-image" => {
            send("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")?;
            forever(Duration::ZERO, || send(&"x".repeat(1000)))
        }
        "/endless-head" => {
            send(html)?;
            forever(Duration::ZERO, || {
                send(&format!("X-More: {}\r\n", "x".repeat(1000)))
            })
        }
        "/gzip-bomb" => {
            send(&format!("{html}Content-Encoding: gzip\r\n\r\n"))?;
            stream.write_all(&hundred_kilobytes_zipped())
        }
        "/announced-huge" => send(&format!("{html}Content-Length: 99999999999\r\n\r\n<p>")),
        "/slow-body" => {
            send(&format!("{html}\r\n"))?;
            forever(Duration::from_millis(50), || send("x"))
        }
        "/slow-head" => {
            send("HTTP/1.1 200 OK\r\nX-Slow: ")?;
            forever(Duration::from_millis(50), || send("x"))
        }
        "/silent" => wait_for_end(stream),
        "/body-too-short" => send(&format!("{html}Content-Length: 1000\r\n\r\nonly this")),
        "/body-too-long" => send(&format!(
            "{html}Content-Length: 3\r\n\r\n<p>{}",
            "y".repeat(500)
        )),
        "/length-no-number" => send(&format!("{html}Content-Length: many\r\n\r\n<p>")),
        "/not-http" => send("220 mail.test ESMTP ready\r\n"),
        "/hangs-up" => Ok(()),
        "/not-gzip" => send(&format!(
            "{html}Content-Encoding: gzip\r\n\r\nthis is no gzip"
        )),
        "/bad-chunks" => send(&format!(
            "{html}Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n"
        )),
        "/malformed" => send(&format!(
            "{html}\r\n<html <p><!-- <b></i>--!><td><A HREF='/found-in-malformed'</b>x</p></table <a href=\"/unclosed"
        )),
        "/binary-as-html" => {
            let bytes: Vec<u8> = (0..20_000_u32)
                .map(|i| (i.wrapping_mul(i) >> 5) as u8)
                .collect();
            send(&format!("{html}\r\n"))?;
            stream.write_all(&bytes)
        }
        "/image" => {
            send("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\u{89}PN")
        }
        "/no-type" => send("HTTP/1.1 200 OK\r\n\r\n<p>no Content-Type"),
        "/found-in-malformed" => send(&format!("{html}\r\n<p>")),
        "/always-500" => send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        "/flaky" => {
            let mut count = flaky.lock().unwrap();
            *count += 1;
            match *count {
                1 => send("HTTP/1.1 503 Later\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"),
                _ => send(&format!("{html}\r\n<p>now")),
            }
        }
        "/redirect-self" => send(&redirect("/redirect-self#again")),
        "/loop-1" => send(&redirect("/loop-2")),
        "/loop-2" => send(&redirect("loop-1")),
        "/redirect-nowhere" => send("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n"),
        "/redirect-mail" => send(&redirect("mailto:x@y.test")),
        _ => match path.strip_prefix("/chain-").map(str::parse::<u32>) {
            Some(Ok(number)) => send(&redirect(&format!("/chain-{}", number + 1))),
            _ => send("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope"),
        },
    }
}

/// 132 bytes that stand for 100,000.
fn hundred_kilobytes_zipped() -> Vec<u8> {
    let mut bytes = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\
        \xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xda\x8b\x6f\x0d\x0f\xa0"
        .to_vec();
    bytes.resize(121, 0);
    bytes.extend(b"\x80\x57\x03\x71\x11\x07\xfe\xa0\x86\x01\x00");
    bytes
}

/// Serves two pages over TLS until the test process ends, with a certificate for `localhost` that nobody
/// vouches for, and returns the port.
pub fn serve_tls() -> u16 {
    let certificate = include_bytes!("certificate.pem");
    let key = include_bytes!("key.pem");
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate).unwrap()],
                PrivateKeyDer::from_pem_slice(key).unwrap(),
            )
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || {
                let mut stream = StreamOwned::new(session, socket);
                let page = match &*read_request(&mut stream)? {
                    "/" => "<a href=/second>",
                    _ => "<p>",
                };
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
                let length = page.len();
                write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{page}")?;
                stream.flush()
            });
        }
    });
    port
}

/// Reads the head of a request and returns its path.
fn read_request(stream: impl Read) -> io::Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1);
    Ok(path.ok_or(io::ErrorKind::UnexpectedEof)?.to_owned())
}

/// Repeats `act` until it fails, which it does when the crawler hangs up.
fn forever(pause: Duration, mut act: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        act()?;
        thread::sleep(pause);
    }
}

fn wait_for_end(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}
