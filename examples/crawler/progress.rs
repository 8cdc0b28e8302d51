//! The progress bar, on standard error, and only on a terminal.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The pause between two pictures while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// A progress bar that a green thread of its own keeps moving.
pub struct Progress {
    bar: ProgressBar,
    is_shown: bool,
    is_over: Rc<Cell<bool>>,
}

impl Progress {
    /// Shows a bar named `title`, or none.
    pub fn new(title: &str, is_shown: bool) -> Progress {
        let bar = match is_shown {
            true => ProgressBar::new(0),
            false => ProgressBar::hidden(),
        };
        let style = "{spinner} {prefix} [{bar:32}] {pos}/{len} URLs  {elapsed}";
        let style = ProgressStyle::with_template(style).expect("the template is well-formed");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(title.to_owned());
        let is_over = Rc::new(Cell::new(false));
        let (ticked, ends) = (bar.clone(), Rc::clone(&is_over));
        greenhub::spawn(move || {
            while !ends.get() {
                ticked.tick();
                greenhub::sleep(TICK);
            }
        });
        Progress {
            bar,
            is_shown,
            is_over,
        }
    }

    /// Shows how many of the URLs met so far are done.
    pub fn update(&self, done: u64, known: u64) {
        self.bar.set_length(known);
        self.bar.set_position(done);
    }

    /// Prints a line above the bar, unless everything is to be quiet.
    pub fn say(&self, line: &str) {
        if self.is_shown {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.is_over.set(true);
        self.bar.finish_and_clear();
    }
}
