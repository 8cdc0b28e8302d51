//! The subject: an accept loop and a green thread per connection, written as one would with std and OS threads.

use greenhub::io::{Read, Write};
use greenhub::net::{TcpListener, TcpStream};

/// Bytes read at once; the reference uses as many.
pub const BUFFER_BYTES: usize = 1536;

/// Prints the address and serves until the process is killed.
pub fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    println!("{}", listener.local_addr().expect("local_addr"));
    for stream in listener.incoming() {
        let stream = stream.expect("accept");
        greenhub::spawn(move || echo(stream));
    }
}

fn echo(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("set_nodelay");
    let mut buffer = [0; BUFFER_BYTES];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
