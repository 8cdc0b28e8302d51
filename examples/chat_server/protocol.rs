//! Lines become commands, words become names.

use std::fmt;

/// Characters that a nickname or the name of a room may have.
pub const NAME_MAX: usize = 24;

/// What a client wants. Names in it are not checked yet: see [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing: an empty line.
    Nothing,
    Say(&'a str),
    Nick(&'a str),
    Join(&'a str),
    Leave,
    List,
    /// Who is in the room of that name, or in one's own.
    Who(Option<&'a str>),
    Tell {
        to: &'a str,
        text: &'a str,
    },
    Help,
    Quit,
}

pub const HELP: &str = "\
* TEXT             say it to everybody in your room (a line that begins with // is said from the second / on)
* /nick NAME       change your nickname
* /join ROOM       go to a room, and create it if there is none
* /leave           leave the room
* /list            which rooms there are
* /who [ROOM]      who is in a room
* /msg NAME TEXT   say it to one person
* /quit            disconnect
";

impl<'a> Command<'a> {
    /// # Errors
    ///
    /// Says how the command is used, or that there is no such command.
    pub fn parse(line: &'a str) -> Result<Command<'a>, &'static str> {
        let Some(command) = line.strip_prefix('/') else {
            return Ok(match line {
                "" => Command::Nothing,
                text => Command::Say(text),
            });
        };
        if command.starts_with('/') {
            return Ok(Command::Say(command));
        }
        let (name, rest) = split_word(command);
        let is_one_word = !rest.is_empty() && !rest.contains(' ');
        match (name.to_ascii_lowercase().as_str(), rest) {
            ("nick", _) if is_one_word => Ok(Command::Nick(rest)),
            ("nick", _) => Err("usage: /nick NAME"),
            ("join", _) if is_one_word => Ok(Command::Join(rest)),
            ("join", _) => Err("usage: /join ROOM"),
            ("leave", "") => Ok(Command::Leave),
            ("leave", _) => Err("usage: /leave"),
            ("list", "") => Ok(Command::List),
            ("list", _) => Err("usage: /list"),
            ("who", "") => Ok(Command::Who(None)),
            ("who", _) if is_one_word => Ok(Command::Who(Some(rest))),
            ("who", _) => Err("usage: /who [ROOM]"),
            ("msg", _) => match split_word(rest) {
                (_, "") => Err("usage: /msg NAME TEXT"),
                (to, text) => Ok(Command::Tell { to, text }),
            },
            ("help", _) => Ok(Command::Help),
            ("quit", _) => Ok(Command::Quit),
            _ => Err("there is no such command; /help lists them"),
        }
    }
}

/// The first word, and what comes after the spaces behind it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start_matches(' '))
}

/// A nickname, or the name of a room: a letter or digit, then letters, digits, `-` and `_`, all of ASCII, so that no two
/// names look the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// # Errors
    ///
    /// States the rules.
    pub fn parse(text: &str) -> Result<Name, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= NAME_MAX
            && text.chars().all(is_allowed)
        {
            return Ok(Name(text.to_owned()));
        }
        Err(format!(
            "a name has 1 to {NAME_MAX} of the characters a-z, A-Z, 0-9, - and _, and begins with a letter or digit"
        ))
    }

    /// What names are compared by: capitals make no difference.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (line, command) in [
            ("", Command::Nothing),
            ("hello  there", Command::Say("hello  there")),
            (" /quit", Command::Say(" /quit")),
            ("//etc/passwd", Command::Say("/etc/passwd")),
            ("/nick bob", Command::Nick("bob")),
            ("/JOIN   rust", Command::Join("rust")),
            ("/leave", Command::Leave),
            ("/list", Command::List),
            ("/who", Command::Who(None)),
            ("/who rust", Command::Who(Some("rust"))),
            (
                "/msg bob  two words",
                Command::Tell {
                    to: "bob",
                    text: "two words",
                },
            ),
            ("/help me", Command::Help),
            ("/quit", Command::Quit),
        ] {
            assert_eq!(Command::parse(line), Ok(command), "{line:?}");
        }
        for (line, said) in [
            ("/nick", "/nick NAME"),
            ("/nick a b", "/nick NAME"),
            ("/join", "/join ROOM"),
            ("/leave now", "/leave"),
            ("/who a b", "/who [ROOM]"),
            ("/msg", "/msg NAME TEXT"),
            ("/msg bob", "/msg NAME TEXT"),
            ("/", "no such command"),
            ("/ nick", "no such command"),
            ("/n\u{e4}ck", "no such command"),
        ] {
            let error = Command::parse(line).expect_err(line);
            assert!(error.contains(said), "{line:?}: {error}");
        }
    }

    #[test]
    fn names() {
        for text in ["a", "Bob", "x_1-2", "0", &"n".repeat(NAME_MAX)] {
            assert_eq!(Name::parse(text).expect(text).to_string(), text);
        }
        for text in [
            "",
            "-a",
            "_",
            "a b",
            "a:",
            "b\u{f6}b",
            "<x>",
            &"n".repeat(NAME_MAX + 1),
        ] {
            assert!(Name::parse(text).is_err(), "{text:?} is no name");
        }
        assert_eq!(
            Name::parse("BoB").unwrap().folded(),
            Name::parse("bob").unwrap().folded()
        );
    }
}
