//! A token bucket: how many lines a client may send.

use std::time::Instant;

/// Tokens flow in at a constant rate up to a limit; each line takes one.
#[derive(Debug)]
pub struct TokenBucket {
    /// Tokens per second.
    rate: f64,
    /// Tokens that there is room for: what may be taken at once after a pause.
    burst: f64,
    tokens: f64,
    /// When `tokens` was true.
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: f64, burst: u32, now: Instant) -> TokenBucket {
        let burst = f64::from(burst);
        TokenBucket {
            rate,
            burst,
            tokens: burst,
            filled: now,
        }
    }

    /// Takes a token. Returns whether there was one.
    pub fn take(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + seconds * self.rate).min(self.burst);
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(4.0, 3, start);
        let taken = |bucket: &mut TokenBucket, ms: u64| {
            let now = start + Duration::from_millis(ms);
            (0..10).take_while(|_| bucket.take(now)).count()
        };
        assert_eq!(taken(&mut bucket, 0), 3, "it starts full");
        assert_eq!(taken(&mut bucket, 200), 0);
        assert_eq!(taken(&mut bucket, 300), 1, "fractions of a token add up");
        assert_eq!(taken(&mut bucket, 850), 2);
        assert_eq!(taken(&mut bucket, 60_000), 3, "no more than fit in");
    }

    #[test]
    fn a_slow_rate_and_a_clock_that_stands_still() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(0.1, 1, start);
        assert!(bucket.take(start));
        assert!(!bucket.take(start));
        assert!(!bucket.take(start + Duration::from_secs(9)));
        assert!(bucket.take(start + Duration::from_millis(10_001)));
    }
}
