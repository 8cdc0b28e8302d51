//! Bytes become lines: what a client may send at all.
//!
//! Nothing gets past this module that could do harm on somebody else's terminal. What is wrong with a line is told in words
//! that are meant for the client who sent it; they never repeat what it sent, except for the number of a character.

use std::fmt;

/// Bytes of a line that is too long which are skipped in search of its end.
const SKIPPED_MAX: usize = 1 << 20;

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct LineBuffer {
    /// What has come since the last line.
    bytes: Vec<u8>,
    /// Bytes that a line may have, without its end.
    line_max: usize,
    /// Bytes skipped so far of a line that is too long; its end is still to come.
    skipped: Option<usize>,
}

/// Why a line is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    TooLong {
        max: usize,
    },
    /// Too long even to wait for its end: the one case after which there is no next line.
    Endless,
    NotUtf8,
    Forbidden(char),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Malformed::TooLong { max } => write!(f, "a line may have at most {max} bytes"),
            Malformed::Endless => f.write_str("a line without an end"),
            Malformed::NotUtf8 => f.write_str("that is not UTF-8"),
            Malformed::Forbidden(c) => write!(f, "the character U+{:04X} is not allowed", c as u32),
        }
    }
}

impl LineBuffer {
    pub fn new(line_max: usize) -> LineBuffer {
        LineBuffer {
            bytes: Vec::new(),
            line_max,
            skipped: None,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line, without its end and spaces in front of that. `None` when more bytes are needed.
    pub fn next_line(&mut self) -> Option<Result<String, Malformed>> {
        while let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            if self.skipped.take().is_some() {
                continue;
            }
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return Some(self.check(line));
        }
        let is_new = self.skipped.is_none();
        // A carriage return may be the first half of the line's end.
        if is_new && self.bytes.len() <= self.line_max + 1 {
            return None;
        }
        let skipped = self.skipped.unwrap_or(0) + self.bytes.len();
        self.skipped = Some(skipped);
        self.bytes.clear();
        if skipped > SKIPPED_MAX {
            return Some(Err(Malformed::Endless));
        }
        is_new.then_some(Err(Malformed::TooLong { max: self.line_max }))
    }

    fn check(&self, line: &[u8]) -> Result<String, Malformed> {
        if line.len() > self.line_max {
            return Err(Malformed::TooLong { max: self.line_max });
        }
        let line = str::from_utf8(line).map_err(|_| Malformed::NotUtf8)?;
        let line = line.replace('\t', " ");
        match line.chars().find(|&c| is_forbidden(c)) {
            Some(c) => Err(Malformed::Forbidden(c)),
            None => Ok(line.trim_end().to_owned()),
        }
    }
}

/// Whether a terminal might do something else with a character than show it in its place: control characters, among them the
/// one that starts escape sequences; separators of lines; and what changes the direction of writing, also of the text around it.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        // Invisible tags and the byte order mark, which can hide text.
        || matches!(c, '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines that come of `chunks`, which arrive one after the other.
    fn lines(line_max: usize, chunks: &[&[u8]]) -> Vec<Result<String, Malformed>> {
        let mut buffer = LineBuffer::new(line_max);
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.push(chunk);
            while let Some(line) = buffer.next_line() {
                lines.push(line);
            }
            assert!(
                buffer.bytes.len() <= line_max + 1,
                "it keeps no more than a line"
            );
        }
        lines
    }

    fn line(text: &str) -> Result<String, Malformed> {
        Ok(text.to_owned())
    }

    #[test]
    fn lines_may_come_in_any_pieces() {
        let whole = "one\r\ntwo \n\n\u{e4}\u{1F980}\nrest".as_bytes();
        let expected = [line("one"), line("two"), line(""), line("\u{e4}\u{1F980}")];
        assert_eq!(lines(80, &[whole]), expected);
        for size in 1..whole.len() {
            let chunks: Vec<&[u8]> = whole.chunks(size).collect();
            assert_eq!(lines(80, &chunks), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_may_have_the_longest_length_and_not_a_byte_more() {
        let too_long = Err(Malformed::TooLong { max: 4 });
        assert_eq!(lines(4, &[b"1234\r\nx\n"]), [line("1234"), line("x")]);
        assert_eq!(lines(4, &[b"1234", b"\r", b"\n"]), [line("1234")]);
        assert_eq!(lines(4, &[b"12345\nx\n"]), [too_long.clone(), line("x")]);
        assert_eq!(
            lines(4, &[b"12345\r", b"\nx\n"]),
            [too_long.clone(), line("x")]
        );
        assert_eq!(
            lines(4, &[b"12345", b"678", b"9\nx\n"]),
            [too_long, line("x")]
        );
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut buffer = LineBuffer::new(80);
        let mut told = Vec::new();
        for _ in 0..=SKIPPED_MAX / 1024 {
            buffer.push(&[b'x'; 1024]);
            told.extend(buffer.next_line());
            assert!(buffer.bytes.capacity() < 8192);
        }
        assert_eq!(
            told,
            [Err(Malformed::TooLong { max: 80 }), Err(Malformed::Endless)]
        );
    }

    #[test]
    fn what_could_harm_a_terminal_is_refused() {
        for (bytes, refused) in [
            (&b"\x1b[2J\n"[..], '\x1b'),
            (b"a\0b\n", '\0'),
            (b"a\rb\n", '\r'),
            (b"bell \x07\n", '\x07'),
            (b"\x7f\n", '\x7f'),
            ("\u{9b}2J\n".as_bytes(), '\u{9b}'),
            ("\u{202e}evil\n".as_bytes(), '\u{202e}'),
            ("two\u{2028}lines\n".as_bytes(), '\u{2028}'),
        ] {
            assert_eq!(lines(80, &[bytes]), [Err(Malformed::Forbidden(refused))]);
        }
        assert_eq!(
            lines(80, &[b"\xff\xfe\n", b"\xc3\n"]),
            [Err(Malformed::NotUtf8), Err(Malformed::NotUtf8)]
        );
        assert_eq!(lines(80, &[b"a\tb\t\n"]), [line("a b")]);
        let message = Malformed::Forbidden('\x1b').to_string();
        assert_eq!(message, "the character U+001B is not allowed");
    }

    #[test]
    fn any_bytes_become_lines_that_can_be_shown() {
        // A small generator (xorshift) of bytes among which the interesting ones are frequent.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut buffer = LineBuffer::new(80);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..next() % 40)
                .map(|_| match next() % 4 {
                    0 => b"\n\r\x1b\0/ \xc3\xa4"[next() as usize % 8],
                    1 => next() as u8,
                    _ => b'a' + (next() % 26) as u8,
                })
                .collect();
            buffer.push(&bytes);
            while let Some(line) = buffer.next_line() {
                let Ok(line) = line else { continue };
                assert!(
                    line.len() <= 80 && !line.chars().any(char::is_control),
                    "{line:?}"
                );
            }
        }
    }
}
