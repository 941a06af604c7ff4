//! The run: readings go out when they are due, until there are enough or someone says stop.
//!
//! Live, event time keeps up with the clock: when the broker stalls, or nothing paces the readings, the city restarts
//! its event time at now, at the offsets reached. What lies behind stays as it was.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use citytide_domain::Domain;
use citytide_generator::{City, Encoder, Reading, Schedule};

use crate::console::{Console, Thinning};
use crate::failure::Failure;
use crate::patience::Patience;
use crate::progress::Progress;
use crate::sink::{Sink, Taken};
use crate::truth::{TruthFile, Words};

/// Furthest that live event time falls behind the clock, and its bound as a share of `out_of_orderness`.
const BEHIND_US_MAX: i64 = 500_000;
const BEHIND_SHARE_MAX: f64 = 0.1;
/// Furthest ahead before the clock is taken to have been set back.
const AHEAD_US_MAX: i64 = 2_000_000;
/// Most readings between two looks at the clock.
const BURST_MAX: i64 = 1_000;
/// Longest and shortest rest between readings.
const REST_US: (i64, i64) = (1_000, 100_000);
/// Rest when the queue is full, and between two looks at what is still on its way at the end.
const FULL_REST: Duration = Duration::from_millis(5);
/// Longest wait at the end once somebody has said stop.
const STOP_US_MAX: i64 = 30_000_000;
/// Time between two flushes of the truth.
const TRUTH_US: i64 = 1_000_000;

/// Everything that a run needs.
pub struct Run {
    /// What makes the readings.
    pub city: City,
    /// Where they go.
    pub sink: Sink,
    /// When they go, by the clock; `None` as fast as possible.
    pub pace: Option<Schedule>,
    /// Whether event time keeps up with the clock.
    pub is_live: bool,
    /// How many there shall be.
    pub count: Option<u64>,
    /// When it ends by the clock, in microseconds of the Unix epoch.
    pub until_us: Option<i64>,
    /// How long nothing may arrive.
    pub patience: Patience,
    /// What is told meanwhile.
    pub progress: Progress,
    /// Lines for readings, and how many of them.
    pub console: Option<(Console, Thinning)>,
    /// Where the truth goes, beside the header.
    pub truth: Option<TruthFile>,
}

impl Run {
    /// Runs to the end; returns how many readings were sent. `now_us` tells the time.
    pub fn until_done(
        &mut self,
        domain: &Domain,
        stop: &AtomicBool,
        now_us: impl Fn() -> i64,
    ) -> Result<u64, Failure> {
        let mut sent = 0;
        let ended = self.send(domain, stop, &now_us, &mut sent).and_then(|taken| match taken {
            Taken::Closed => Ok(()),
            _ => self.finish(stop, &now_us, sent),
        });
        // What was handed over is in the file even where the run has failed.
        let flushed = self.truth.as_mut().map_or(Ok(()), TruthFile::flush);
        self.say_notes();
        self.progress.end();
        ended.and(flushed).map(|()| sent)
    }

    fn send(
        &mut self,
        domain: &Domain,
        stop: &AtomicBool,
        now_us: impl Fn() -> i64,
        sent: &mut u64,
    ) -> Result<Taken, Failure> {
        let encoder = Encoder::new(domain, &self.city);
        let words = Words::new(domain);
        let behind_us_max =
            BEHIND_US_MAX.min((domain.time.out_of_orderness_us as f64 * BEHIND_SHARE_MAX) as i64).max(50_000);
        let mut next_offsets = self.city.schedule().first_offsets.clone();
        let (mut json, mut key, mut header) = (Vec::new(), String::new(), String::new());
        let (mut reading, mut number) = (Reading::default(), 0i64);
        let mut flushed_us = now_us();
        let mut shown = Vec::new();

        while !stop.load(Ordering::Relaxed) && self.count.is_none_or(|count| *sent < count) {
            let now = now_us();
            if self.until_us.is_some_and(|until_us| now >= until_us) {
                break;
            }
            if self.is_live {
                let behind_us = now - self.city.schedule().turn_us(number);
                if behind_us > behind_us_max || behind_us < -AHEAD_US_MAX {
                    self.city.restart_at(now, next_offsets.clone());
                    self.pace = Some(self.city.schedule().clone());
                    number = 0;
                }
            }
            let due = self.pace.as_ref().map_or(i64::MAX, |pace| pace.due(now));
            let left = self.count.map_or(i64::MAX, |count| (count - *sent) as i64);
            let burst = due.saturating_sub(number).min(BURST_MAX).min(left);
            let mut chosen =
                self.console.as_mut().map(|(_, thinning)| thinning.choose(now, number, burst.max(0)));
            let mut is_full = false;
            for _ in 0..burst {
                let (partition, offset) = self.city.place_of(number);
                self.city.fill(partition, offset, &mut reading);
                encoder.encode(&reading, &mut json);
                key.clear();
                // Writing to a string cannot fail.
                let _ = write!(key, "{}", reading.sensor);
                let truth = words.header(&reading, &mut header).then_some(header.as_str());
                match self.sink.offer(partition, key.as_bytes(), &json, truth)? {
                    Taken::Yes => {}
                    Taken::NotYet => {
                        is_full = true;
                        break;
                    }
                    Taken::Closed => return Ok(Taken::Closed),
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
                Some(pace) if burst <= 0 => {
                    let rest_us = (pace.turn_us(number) - now).clamp(REST_US.0, REST_US.1);
                    Duration::from_micros(rest_us as u64)
                }
                _ => Duration::ZERO,
            };
            if self.sink.rest(rest)? == Taken::Closed {
                return Ok(Taken::Closed);
            }
            if !(0..TRUTH_US).contains(&(now - flushed_us))
                && let Some(file) = &mut self.truth
            {
                flushed_us = now;
                file.flush()?;
            }
            self.look_around(now, *sent)?;
        }
        Ok(Taken::Yes)
    }

    /// Waits until everything that was sent has arrived.
    fn finish(&mut self, stop: &AtomicBool, now_us: impl Fn() -> i64, sent: u64) -> Result<(), Failure> {
        self.sink.flush()?;
        while self.sink.delivered(sent) < sent {
            let now = now_us();
            if stop.load(Ordering::Relaxed) {
                self.patience.shorten(STOP_US_MAX, now);
            }
            self.sink.rest(FULL_REST)?;
            self.look_around(now, sent)?;
        }
        Ok(())
    }

    /// Tells how it goes; ends the run when nothing has gone for too long.
    fn look_around(&mut self, now: i64, sent: u64) -> Result<(), Failure> {
        self.say_notes();
        let delivered = self.sink.delivered(sent);
        self.progress.tell(now, sent, delivered);
        if self.patience.is_over(now, sent, delivered) {
            return self.sink.give_up(sent, self.patience.limit_us());
        }
        Ok(())
    }

    fn say_notes(&self) {
        for note in self.sink.notes() {
            self.progress.say(&note);
        }
    }
}
