//! The command line: what may be asked for, in which units, with which defaults.
//!
//! Everything is validated here, so that the rest of the server can take an [`Options`] at its word.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Longest time that an option may give.
const SECONDS_MAX: f64 = 365.0 * 86_400.0;

/// A line-based TCP chat with nicknames, rooms and private messages; talk to it with netcat, socat or telnet.
///
/// Ends on Ctrl-C or SIGTERM: it stops accepting, bids everybody farewell, lets them take what is on its way to them
/// within the grace time, closes the rest and exits with status 0. A second signal cuts the grace time short.
#[derive(Parser, Debug, Clone)]
#[command(name = "chat_server", version, max_term_width = 100)]
pub struct Options {
    /// Address to listen on; port 0 takes a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7008")]
    pub listen: String,

    /// Turn clients away while so many are connected
    #[arg(long, value_name = "N", default_value = "10000")]
    pub max_connections: NonZeroUsize,

    /// Create no further room while there are so many
    #[arg(long, value_name = "N", default_value = "1000")]
    pub max_rooms: NonZeroUsize,

    /// Refuse lines that are longer
    #[arg(long, value_name = "BYTES", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(80..=65_536))]
    pub max_line: u32,

    /// Lines that a client may send per second in the long run; more are ignored
    #[arg(long, value_name = "N", default_value = "5", value_parser = positive_number)]
    pub rate: f64,

    /// Lines that a client may send at once after a pause
    #[arg(long, value_name = "N", default_value = "20")]
    pub burst: NonZeroU32,

    /// Disconnect a client that has said nothing for so long
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = positive_seconds)]
    pub idle_limit: Duration,

    /// Disconnect a client that has not chosen a nickname after so long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = positive_seconds)]
    pub login_limit: Duration,

    /// Lines that wait for a client that reads slower than the others write
    #[arg(long, value_name = "LINES", default_value = "256")]
    pub queue: NonZeroUsize,

    /// What to do for a client when its queue is full
    #[arg(long, value_enum, default_value_t = SlowPolicy::DropOldest)]
    pub slow: SlowPolicy,

    /// Memory that the kernel may use for what it has not sent to a client yet
    #[arg(long, value_name = "BYTES", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1024..=16_777_216))]
    pub send_buffer: u32,

    /// Time that a client has to take what is left for it when it is disconnected, or when the server ends
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub grace: Duration,

    /// Print clients, rooms and lines every second
    #[arg(long)]
    pub stats: bool,
}

/// What happens to a line for a client whose queue is full.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowPolicy {
    /// The oldest line in the queue makes room for it; the client is told how many it has missed
    DropOldest,
    /// It is dropped; the client is told how many it has missed
    DropNewest,
    /// The client is disconnected
    Disconnect,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=SECONDS_MAX).contains(&value) => Ok(Duration::from_secs_f64(value)),
        Ok(_) => Err(format!("must lie between 0 and {SECONDS_MAX} seconds")),
        Err(_) => Err("is not a number of seconds".into()),
    }
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        duration => Ok(duration),
    }
}

fn positive_number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 1e9 => Ok(value),
        Ok(_) => Err("must be more than 0 and at most 1e9".into()),
        Err(_) => Err("is not a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn times_and_rates_are_checked() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(positive_number("0.1"), Ok(0.1));
        for text in ["", "-1", "nan", "inf", "1e30", "soon"] {
            assert!(seconds(text).is_err(), "{text:?} is no time");
            assert!(positive_number(text).is_err(), "{text:?} is no rate");
        }
        assert!(positive_seconds("0").is_err());
        assert!(positive_number("0").is_err());
    }
}
