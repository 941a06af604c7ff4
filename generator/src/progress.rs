//! Progress on standard error: a bar at a terminal, a line every few seconds elsewhere, or nothing.
//!
//! Readings are shown on standard output, through this module, so that they scroll above the bar.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use citytide_domain::SECOND_US;
use indicatif::{ProgressBar, ProgressStyle};

/// Time between two status lines.
const STATUS_US: i64 = 5 * SECOND_US;
/// Time between two updates of the rate in the bar.
const RATE_US: i64 = SECOND_US;

/// Writes a line on standard error. A closed standard error is ignored.
pub fn complain(words: impl Display) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

enum Output {
    Silent,
    Lines,
    Bar(ProgressBar),
}

pub struct Progress {
    output: Output,
    at_us: i64,
    sent: u64,
    rate: u64,
}

impl Progress {
    pub fn silent() -> Progress {
        Progress { output: Output::Silent, at_us: 0, sent: 0, rate: 0 }
    }

    /// A line every five seconds.
    pub fn lines(now_us: i64) -> Progress {
        Progress { output: Output::Lines, at_us: now_us, sent: 0, rate: 0 }
    }

    /// A bar up to `count` readings; without a count, a counter.
    pub fn bar(now_us: i64, count: Option<u64>) -> Progress {
        let (bar, template) = match count {
            Some(count) => (
                ProgressBar::new(count),
                "{wide_bar} {percent:>3} % · {human_pos} of {human_len} · {msg} · {eta} left",
            ),
            None => (ProgressBar::no_length(), "{spinner} {human_pos} readings · {msg}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏░").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏✓"));
        bar.set_message("0/s");
        bar.enable_steady_tick(Duration::from_millis(250));
        Progress { output: Output::Bar(bar), at_us: now_us, sent: 0, rate: 0 }
    }

    /// Updates the numbers, and prints them when they are due.
    pub fn report(&mut self, now_us: i64, sent: u64, delivered: u64) {
        let elapsed_us = now_us - self.at_us;
        let interval_us = if matches!(self.output, Output::Lines) { STATUS_US } else { RATE_US };
        let is_due = !(0..interval_us).contains(&elapsed_us);
        if is_due {
            self.rate = ((sent - self.sent) as f64 / (elapsed_us.max(1) as f64 / 1e6)).round() as u64;
            (self.at_us, self.sent) = (now_us, sent);
        }
        let in_flight = sent - delivered;
        match &self.output {
            Output::Lines if is_due => complain(format_args!(
                "{} readings sent, {} in flight, {}/s",
                grouped(sent),
                grouped(in_flight),
                grouped(self.rate)
            )),
            Output::Bar(bar) if is_due => {
                bar.set_position(sent);
                let waiting = if in_flight > self.rate.max(1) {
                    format!(" · {} in flight", grouped(in_flight))
                } else {
                    String::new()
                };
                bar.set_message(format!("{}/s{waiting}", grouped(self.rate)));
            }
            Output::Bar(bar) => bar.set_position(sent),
            Output::Silent | Output::Lines => {}
        }
    }

    /// Prints to standard error.
    pub fn print(&self, words: &str) {
        match &self.output {
            Output::Bar(bar) => bar.suspend(|| complain(words)),
            Output::Lines => complain(words),
            Output::Silent => {}
        }
    }

    /// Prints readings to standard output. A closed pipe there is not an error.
    pub fn show(&self, lines: &[String]) {
        let print = || {
            let mut out = std::io::stdout().lock();
            let _ = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
        };
        match &self.output {
            Output::Bar(bar) if !lines.is_empty() => bar.suspend(print),
            _ => print(),
        }
    }

    pub fn end(&self) {
        if let Output::Bar(bar) = &self.output {
            bar.finish_and_clear();
        }
    }
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
