//! A connection: one green thread writes what is sent to the client, another reads what the client says.
//!
//! The writer is the connection's owner. It starts the reader, sends lines until the client is to be disconnected, then sees
//! the reader out and closes the connection. The reader ends for many reasons, by itself or killed; whichever it is, [`Presence`]
//! takes the client out of its room.

use std::rc::Rc;

use greenhub::io::{self, ErrorKind, Read, Write};
use greenhub::net::{Shutdown, TcpStream};
use greenhub::thread;
use greenhub::time::{Duration, Instant};

use crate::bucket::TokenBucket;
use crate::client::{Client, End};
use crate::lines::{LineBuffer, Malformed};
use crate::protocol::{Command, HELP, Name};
use crate::server::Server;

/// Bytes read at once. They lie on the reader's stack.
const READ_BYTES: usize = 1024;

/// After so many lines in a row that came too fast, the client is disconnected.
const IGNORED_MAX: u32 = 100;

/// How long a connection is kept after the last line for what is still on its way from the client. If something arrived after
/// it has been closed, the kernel would answer with a reset, and the client's would forget that last line.
const LINGER: Duration = Duration::from_secs(1);

/// A client that is silent for so long after the last line has nothing on its way.
const SILENCE: Duration = Duration::from_millis(100);

/// What the writer owns. When it is dropped the connection is gone, whichever way the writer has ended.
pub struct Session {
    pub server: Rc<Server>,
    pub client: Rc<Client>,
    pub stream: Rc<TcpStream>,
}

impl Session {
    /// Runs the connection to its end.
    pub fn run(self) {
        self.client.send(GREETING.into());
        let reader = Reader {
            server: Rc::clone(&self.server),
            client: Rc::clone(&self.client),
            stream: Rc::clone(&self.stream),
        };
        self.client
            .set_reader(greenhub::spawn(move || reader.run()));
        // A client that cannot be written to is one whose connection is lost; there is nobody to tell.
        let written = self.write();
        self.client.end(End::Lost);
        self.client.kill_reader();
        if written.is_ok() {
            self.part();
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut stream = &*self.stream;
        while let Some(batch) = self.client.next_batch() {
            stream.write_all(batch.text.as_bytes())?;
            self.server
                .counters
                .sent
                .update(|sent| sent + batch.messages);
        }
        let end = self.client.ended().unwrap_or(End::Lost);
        stream.write_all(end.farewell().as_bytes())?;
        stream.shutdown(Shutdown::Write)
    }

    /// Waits until the client has got the last line, as far as one can tell.
    fn part(&self) {
        let mut stream = &*self.stream;
        if stream.set_read_timeout(Some(SILENCE)).is_err() {
            return;
        }
        // Whether the client has closed its side, is silent or never stops makes no difference.
        let _ = greenhub::timeout(LINGER, || {
            while matches!(stream.read(&mut [0; READ_BYTES]), Ok(1..)) {}
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if thread::panicking() {
            // It has been killed because the client does not take what was sent; the kernel need not keep it any longer.
            let _ = self.stream.set_linger(Some(Duration::ZERO));
        }
        self.client.end(End::Lost);
        self.client.uncrowd();
        self.server.forget(self.client.id);
    }
}

const GREETING: &str = "* welcome to the greenhub chat; which nickname would you like?\n";

struct Reader {
    server: Rc<Server>,
    client: Rc<Client>,
    stream: Rc<TcpStream>,
}

/// A client that is there. When it is dropped, by the reader's end, the client has left.
struct Presence<'a>(&'a Reader);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let Reader { server, client, .. } = self.0;
        client.end(End::Lost);
        let end = client.ended().unwrap_or(End::Lost);
        server.rooms.borrow_mut().remove(client.id, end);
        server.limit_farewell(client.id);
    }
}

impl Reader {
    fn run(self) {
        let presence = Presence(&self);
        let end = self.read();
        self.client.end(end);
        drop(presence);
    }

    /// Does what the client says until there is a reason to disconnect it.
    fn read(&self) -> End {
        let options = &self.server.options;
        let mut lines = LineBuffer::new(options.max_line as usize);
        let mut bucket = TokenBucket::new(options.rate, options.burst.get(), Instant::now());
        let mut is_named = false;
        let mut ignored = 0;
        let mut deadline = Instant::now() + options.login_limit;
        while self.client.ended().is_none() {
            let line = match greenhub::deadline(deadline, || self.next_line(&mut lines)) {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => return End::Quit,
                Ok(Err(_)) => return End::Lost,
                Err(_) if is_named => return End::Idle,
                Err(_) => return End::Nameless,
            };
            self.server
                .counters
                .received
                .update(|received| received + 1);
            if line == Err(Malformed::Endless) {
                return End::Endless;
            }
            let now = Instant::now();
            if !bucket.take(now) {
                ignored += 1;
                if ignored > IGNORED_MAX {
                    return End::Flooding;
                }
                self.refuse("too fast; that line was ignored");
                continue;
            }
            ignored = 0;
            // Comes to an end: each of them unwinds or has its turn, and none of them waits for this reader.
            while self.server.counters.crowded.get() > 0 {
                thread::yield_now();
            }
            match line {
                Err(malformed) => self.refuse(&malformed.to_string()),
                Ok(line) if is_named => match self.obey(&line) {
                    Ok(()) => {}
                    Err(end) => return end,
                },
                Ok(line) => match self.introduce(&line) {
                    Ok(named) => is_named = named,
                    Err(end) => return end,
                },
            }
            if is_named {
                deadline = now + options.idle_limit;
            }
        }
        End::Lost
    }

    /// Waits for a line. `None` at the end of the stream; a last line that has no end may be half of one and is not returned.
    fn next_line(&self, lines: &mut LineBuffer) -> io::Result<Option<Result<String, Malformed>>> {
        let mut stream = &*self.stream;
        let mut bytes = [0; READ_BYTES];
        loop {
            if let Some(line) = lines.next_line() {
                return Ok(Some(line));
            }
            match stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(length) => lines.push(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn refuse(&self, why: &str) {
        self.client.send(format!("! {why}\n").into());
    }

    /// Sends the answer to a command.
    fn answer(&self, answer: Result<String, String>) {
        match answer {
            Ok(text) => self.client.send(text.into()),
            Err(why) => self.refuse(&why),
        }
    }

    /// Handles a line of a client that has no nickname yet. Returns whether it now has one, or why it is to go.
    fn introduce(&self, line: &str) -> Result<bool, End> {
        let nick = match Command::parse(line) {
            Ok(Command::Nothing) => return Ok(false),
            Ok(Command::Say(nick) | Command::Nick(nick)) => Name::parse(nick),
            Ok(Command::Help) => Err("type the nickname that you would like".to_owned()),
            Ok(Command::Quit) => return Err(End::Quit),
            Ok(_) => Err("choose a nickname first".to_owned()),
            Err(why) => Err(why.to_owned()),
        };
        let entered = nick.and_then(|nick| {
            let mut rooms = self.server.rooms.borrow_mut();
            rooms.enter(&self.client, nick)
        });
        let is_named = entered.is_ok();
        self.answer(entered);
        Ok(is_named)
    }

    /// Handles a line of a client that has a nickname. The error is why it is to go.
    fn obey(&self, line: &str) -> Result<(), End> {
        let id = self.client.id;
        let rooms = &self.server.rooms;
        let answer = match Command::parse(line) {
            Err(why) => Err(why.to_owned()),
            Ok(Command::Nothing) => return Ok(()),
            Ok(Command::Quit) => return Err(End::Quit),
            Ok(Command::Say(text)) => match rooms.borrow().say(id, text) {
                Ok(()) => return Ok(()),
                Err(why) => Err(why),
            },
            Ok(Command::Nick(nick)) => {
                Name::parse(nick).and_then(|nick| rooms.borrow_mut().rename(id, nick))
            }
            Ok(Command::Join(room)) => {
                Name::parse(room).and_then(|room| rooms.borrow_mut().join(id, &room))
            }
            Ok(Command::Leave) => rooms.borrow_mut().leave(id),
            Ok(Command::List) => Ok(rooms.borrow().list()),
            Ok(Command::Who(None)) => rooms.borrow().who(id, None),
            Ok(Command::Who(Some(room))) => {
                Name::parse(room).and_then(|room| rooms.borrow().who(id, Some(&room)))
            }
            Ok(Command::Tell { to, text }) => {
                Name::parse(to).and_then(|to| rooms.borrow().tell(id, &to, text))
            }
            Ok(Command::Help) => Ok(HELP.to_owned()),
        };
        self.answer(answer);
        Ok(())
    }
}
