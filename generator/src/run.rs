//! The run: sends readings when they are due, until the requested number is reached or a signal arrives.
//!
//! In a live run event time follows the clock: after a stall of the broker, or without a pace, the city restarts event
//! time at now, from the current offsets on. A history is sent first, as fast as possible, until its turns have reached
//! the stream's start, which is now in a live run: so nothing is missing between the two.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use citytide_domain::{Domain, SECOND_US};
use citytide_generator::{City, Encoder, Reading, Schedule};

use crate::console::{Console, Sampler};
use crate::failure::Failure;
use crate::patience::Patience;
use crate::progress::{Progress, grouped};
use crate::sink::{Offer, Sink};
use crate::truth::{TruthFile, TruthText};

/// How far live event time may fall behind the clock: absolute, and as a share of `out_of_orderness`.
const BEHIND_US_MAX: i64 = 500_000;
const BEHIND_SHARE_MAX: f64 = 0.1;
/// If event time is further ahead than this, the clock was set back.
const AHEAD_US_MAX: i64 = 2_000_000;
/// Most readings between two reads of the clock.
const BURST_MAX: i64 = 1_000;
/// Shortest and longest sleep between readings.
const REST_US: (i64, i64) = (1_000, 100_000);
/// Sleep when the queue is full, and between checks of what is in flight at the end.
const FULL_REST: Duration = Duration::from_millis(5);
/// Longest wait for acknowledgements after a signal.
const STOP_US_MAX: i64 = 30_000_000;
/// Time between two flushes of the truth file.
const TRUTH_US: i64 = SECOND_US;

pub struct Run {
    pub city: City,
    /// The same city before `city` starts.
    pub history: Option<City>,
    /// By partition: the offsets before this one are there already, and their turns in the history pass.
    pub next_offsets: Vec<i64>,
    pub sink: Sink,
    /// When readings are due by the clock; `None`: as fast as possible.
    pub pace: Option<Schedule>,
    /// Whether event time follows the clock.
    pub is_live: bool,
    /// How many readings to send.
    pub count: Option<u64>,
    /// The end by the clock, in microseconds of the Unix epoch.
    pub until_us: Option<i64>,
    pub patience: Patience,
    pub progress: Progress,
    pub console: Option<(Console, Sampler)>,
    pub truth: Option<TruthFile>,
}

impl Run {
    /// Runs to the end and returns how many readings were sent. `now_us` is the clock.
    pub fn until_done(
        &mut self,
        domain: &Domain,
        stop: &AtomicBool,
        now_us: impl Fn() -> i64,
    ) -> Result<u64, Failure> {
        let mut sent = 0;
        let ended = self.send(domain, stop, &now_us, &mut sent).and_then(|taken| match taken {
            Offer::Closed => Ok(()),
            _ => self.finish(stop, &now_us, sent),
        });
        // Also after an error: the file names every reading that was sent.
        let flushed = self.truth.as_mut().map_or(Ok(()), TruthFile::flush);
        self.print_notes();
        self.progress.end();
        ended.and(flushed).map(|()| sent)
    }

    fn send(
        &mut self,
        domain: &Domain,
        stop: &AtomicBool,
        now_us: impl Fn() -> i64,
        sent: &mut u64,
    ) -> Result<Offer, Failure> {
        let encoder = Encoder::new(domain, &self.city);
        let words = TruthText::new(domain);
        let behind_us_max =
            BEHIND_US_MAX.min((domain.time.out_of_orderness_us as f64 * BEHIND_SHARE_MAX) as i64).max(50_000);
        let mut next_offsets = self.next_offsets.clone();
        let (started_us, mut of_history) = (now_us(), 0);
        let (mut json, mut key, mut header) = (Vec::new(), String::new(), String::new());
        let (mut reading, mut number) = (Reading::default(), 0i64);
        let mut flushed_us = now_us();
        let mut shown = Vec::new();

        while !stop.load(Ordering::Relaxed)
            && (self.history.is_some() || self.count.is_none_or(|count| *sent - of_history < count))
        {
            let now = now_us();
            let mut due = self.pace.as_ref().map_or(i64::MAX, |pace| pace.due(now));
            if let Some(history) = &self.history {
                let start_us = if self.is_live { now } else { self.city.schedule().start_us };
                due = history.schedule().turns_before(start_us);
                if number >= due {
                    let seconds = (now - started_us) as f64 / 1e6;
                    self.progress.print(&format!("history: {} readings in {seconds:.1} s", grouped(*sent)));
                    self.history = None;
                    (number, of_history) = (0, *sent);
                    self.city.restart_at(start_us, next_offsets.clone());
                    self.pace = self.pace.take().map(|pace| Schedule { start_us: now, ..pace });
                    self.until_us = self.until_us.map(|until_us| until_us + now - started_us);
                    continue;
                }
            } else if self.until_us.is_some_and(|until_us| now >= until_us) {
                break;
            } else if self.is_live {
                let behind_us = now - self.city.schedule().turn_us(number);
                if behind_us > behind_us_max || behind_us < -AHEAD_US_MAX {
                    self.city.restart_at(now, next_offsets.clone());
                    self.pace = Some(self.city.schedule().clone());
                    number = 0;
                    continue;
                }
            }
            let city = self.history.as_ref().unwrap_or(&self.city);
            let left = match (&self.history, self.count) {
                (None, Some(count)) => (count - (*sent - of_history)) as i64,
                _ => i64::MAX,
            };
            let burst = due.saturating_sub(number).min(BURST_MAX).min(left);
            let mut chosen =
                self.console.as_mut().map(|(_, sampler)| sampler.choose(now, number, burst.max(0)));
            let mut is_full = false;
            for _ in 0..burst {
                let (partition, offset) = city.place_of(number);
                if offset < next_offsets[partition as usize] {
                    number += 1;
                    continue;
                }
                city.fill(partition, offset, &mut reading);
                encoder.encode(&reading, &mut json);
                key.clear();
                // Writing to a string cannot fail.
                let _ = write!(key, "{}", reading.sensor);
                let truth = words.header(&reading, &mut header).then_some(header.as_str());
                match self.sink.offer(partition, key.as_bytes(), &json, truth)? {
                    Offer::Accepted => {}
                    Offer::QueueFull => {
                        is_full = true;
                        break;
                    }
                    Offer::Closed => return Ok(Offer::Closed),
                }
                if let Some(file) = &mut self.truth {
                    file.add(partition, offset, &reading, truth)?;
                }
                if let Some((console, _)) = &self.console
                    && chosen.as_mut().is_some_and(|chosen| chosen.has(number))
                {
                    shown.push(console.line(&reading, words.mark(&reading).as_deref()));
                }
                next_offsets[partition as usize] = offset + 1;
                number += 1;
                *sent += 1;
            }
            self.progress.show(&shown);
            shown.clear();
            let rest = match &self.pace {
                _ if is_full => FULL_REST,
                Some(pace) if self.history.is_none() && burst <= 0 => {
                    let rest_us = (pace.turn_us(number) - now).clamp(REST_US.0, REST_US.1);
                    Duration::from_micros(rest_us as u64)
                }
                _ => Duration::ZERO,
            };
            if self.sink.rest(rest)? == Offer::Closed {
                return Ok(Offer::Closed);
            }
            if !(0..TRUTH_US).contains(&(now - flushed_us))
                && let Some(file) = &mut self.truth
            {
                flushed_us = now;
                file.flush()?;
            }
            self.check_progress(now, *sent)?;
        }
        Ok(Offer::Accepted)
    }

    /// Waits until all readings are acknowledged.
    fn finish(&mut self, stop: &AtomicBool, now_us: impl Fn() -> i64, sent: u64) -> Result<(), Failure> {
        self.sink.flush()?;
        while self.sink.delivered(sent) < sent {
            let now = now_us();
            if stop.load(Ordering::Relaxed) {
                self.patience.shorten(STOP_US_MAX, now);
            }
            self.sink.rest(FULL_REST)?;
            self.check_progress(now, sent)?;
        }
        Ok(())
    }

    /// Reports progress; fails if nothing was acknowledged for too long.
    fn check_progress(&mut self, now: i64, sent: u64) -> Result<(), Failure> {
        self.print_notes();
        let delivered = self.sink.delivered(sent);
        self.progress.report(now, sent, delivered);
        if self.patience.is_over(now, sent, delivered) {
            return self.sink.give_up(sent, self.patience.limit_us());
        }
        Ok(())
    }

    fn print_notes(&self) {
        for note in self.sink.notes() {
            self.progress.print(&note);
        }
    }
}
