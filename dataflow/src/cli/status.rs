//! The status of a run: a block of a few lines for a terminal, or one line for everything else. Pure: snapshots in,
//! text out.
//!
//! ```text
//! rate      142,600/s · lag 1,334,000, about 9 s to go · last commit 0.1 s ago
//! readings  1,234,567 · 61,728 anomalies · 12 late · 3 dead letters · 0 lost
//! watermark 12 s behind · 0: 5 s · 1: 12 s · 2: idle · 3: 5 s
//! detector  model 3 · 8 zones · 2 warming up
//! truth     precision 0.93 · recall 0.85 · last hour
//! incidents 3 open: 1 high, 2 low · 2 need attention
//! notifying 12 waiting · 1 given up in 24 h: duty: 404 Not Found
//! followers parquet: 9 d behind, holds retention up · page: 0 s behind
//! busy %    read 2  decode 12  score 3  place 5  window 1  copy 4  commit 22
//! ```
//!
//! Rates and shares are those of the last few seconds. Of many partitions the slowest few are named and the others
//! summed up. The line `detector` appears once it has judged, `truth` where the stream carries it, `followers` where
//! some are registered, `incidents` once they were counted, `notifying` where somebody notifies. Stages
//! of the workers share the workers' time; `commit` is the share of time in which one is under way.

mod detector;
mod followers;
mod incidents;
mod partitions;

use std::collections::VecDeque;

use citytide_core::position::Activity;

pub use partitions::coarse;

use crate::telemetry::{Phase, Snapshot, Stage, StageTimes};

/// What rates and shares are taken over, milliseconds.
const SPAN_MS: u64 = 5_000;
/// A frontier that stands still for longer is worth a word, milliseconds.
const STANDING_MS: u64 = 3_000;
/// Columns of the labels.
const LABEL: usize = 10;

/// A line of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says, cut to the columns there are.
    pub text: String,
    /// Columns of its label, which is not what matters.
    pub label: usize,
    /// Whether something is wrong.
    pub alarm: bool,
}

impl Line {
    fn new(label: &str, text: &str, columns: usize) -> Line {
        Line { text: format!("{label:LABEL$}{text}"), label: LABEL, alarm: false }.cut(columns)
    }

    /// With no more than so many columns.
    pub fn cut(&self, columns: usize) -> Line {
        let mut text = self.text.clone();
        if text.chars().count() > columns {
            text = text.chars().take(columns.saturating_sub(1)).chain(['…']).collect();
        }
        Line { text, ..*self }
    }

    /// As a terminal takes it.
    pub fn painted(&self, colours: bool) -> String {
        if !colours {
            return self.text.clone();
        }
        let label: String = self.text.chars().take(self.label).collect();
        let rest = &self.text[label.len()..];
        match self.alarm {
            true => format!("\x1b[2m{label}\x1b[0m\x1b[33m{rest}\x1b[0m"),
            false => format!("\x1b[2m{label}\x1b[0m{rest}"),
        }
    }
}

struct Sample {
    uptime_ms: u64,
    readings: i64,
    lag: i64,
    stages: StageTimes,
}

/// What is shown of a run.
#[derive(Default)]
pub struct Status {
    samples: VecDeque<Sample>,
    now: Snapshot,
}

impl Status {
    /// Takes note of a snapshot.
    pub fn observe(&mut self, snapshot: Snapshot) {
        if self.samples.back().is_some_and(|last| last.uptime_ms > snapshot.uptime_ms) {
            // Another generation.
            self.samples.clear();
        }
        if snapshot.phase != Phase::Starting {
            self.samples.push_back(Sample {
                uptime_ms: snapshot.uptime_ms,
                readings: snapshot.counts.readings(),
                lag: snapshot.lag(),
                stages: snapshot.stages,
            });
        }
        while self.samples.get(1).is_some_and(|next| next.uptime_ms + SPAN_MS <= snapshot.uptime_ms) {
            self.samples.pop_front();
        }
        self.now = snapshot;
    }

    /// The block for a terminal with so many columns.
    pub fn block(&self, columns: usize) -> Vec<Line> {
        if self.now.phase == Phase::Starting {
            return vec![Line::new("starting", "schema, ledger, the other processes", columns)];
        }
        let mut rate = Line::new("rate", &format!("{} · {}", self.progress(), self.commit()), columns);
        rate.alarm = self.now.standing_ms >= STANDING_MS;
        let room = columns.saturating_sub(LABEL);
        let mut watermark = Line::new("watermark", &partitions::watermark(&self.now, room), columns);
        watermark.alarm = self.now.holder().is_some();
        let mut block = vec![rate, Line::new("readings", &self.counts(), columns), watermark];
        block.extend(detector::lines(&self.now, columns));
        block.extend(incidents::line(self.now.incidents.as_ref(), columns));
        block.extend(incidents::notifying(self.now.notifying.as_ref(), columns));
        block.extend(followers::line(&self.now.followers, columns));
        block.push(Line::new("busy %", &self.shares(), columns));
        block
    }

    /// The line for a log.
    pub fn line(&self) -> String {
        if self.now.phase == Phase::Starting {
            return "starting".to_owned();
        }
        let counts = &self.now.counts;
        let mut line = format!(
            "{}/s · lag {} · watermark {} · {} anomalies",
            thousands(self.rate()),
            thousands(self.now.lag()),
            partitions::low(&self.now),
            thousands(self.now.tally.anomalies())
        );
        for (count, what) in [(counts.late, "late"), (counts.dead, "dead letters"), (counts.lost, "lost")] {
            if count > 0 {
                line += &format!(" · {} {what}", thousands(count));
            }
        }
        for part in detector::parts(&self.now) {
            line += &format!(" · {part}");
        }
        for part in incidents::parts(&self.now) {
            line += &format!(" · {part}");
        }
        if let Some(part) = followers::part(&self.now.followers) {
            line += &format!(" · {part}");
        }
        line + " · " + &self.commit()
    }

    /// What a run says when it ends.
    pub fn summary(snapshot: &Snapshot) -> [String; 2] {
        let Snapshot { counts, .. } = snapshot;
        let readings = counts.readings();
        let rate = readings as f64 / (snapshot.uptime_ms.max(1) as f64 / 1000.0);
        let epoch = snapshot.last_commit.map_or_else(|| "none".to_owned(), |last| last.epoch.to_string());
        [
            format!(
                "{} readings in {}, {}/s; last epoch {epoch}",
                thousands(readings),
                lasting(snapshot.uptime_ms / 1000),
                thousands(rate.round() as i64)
            ),
            format!(
                "{} anomalies · {} late · {} dead letters · {} lost",
                thousands(snapshot.tally.anomalies()),
                thousands(counts.late),
                thousands(counts.dead),
                thousands(counts.lost)
            ),
        ]
    }

    /// The first sample of the span and how much later the last one is, in seconds.
    fn span(&self) -> Option<(&Sample, &Sample, f64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = (last.uptime_ms - first.uptime_ms) as f64 / 1000.0;
        (seconds > 0.0).then_some((first, last, seconds))
    }

    /// Readings committed per second.
    fn rate(&self) -> i64 {
        self.span().map_or(0, |(first, last, s)| ((last.readings - first.readings) as f64 / s).round() as i64)
    }

    fn progress(&self) -> String {
        let lag = self.now.lag();
        let state = match self.now.phase {
            Phase::Draining => "draining".to_owned(),
            // Less than a second's worth is what is under way.
            _ if lag <= self.rate() => "caught up".to_owned(),
            _ => self.to_go().unwrap_or_default(),
        };
        let comma = if state.is_empty() { "" } else { ", " };
        format!("{}/s · lag {}{comma}{state}", thousands(self.rate()), thousands(lag))
    }

    /// How long the lag will last at the pace of the last seconds, when that is worth showing.
    fn to_go(&self) -> Option<String> {
        let (first, last, seconds) = self.span()?;
        let per_second = (first.lag - last.lag) as f64 / seconds;
        let left_s = last.lag as f64 / per_second;
        (per_second > 0.0 && (5.0..1e7).contains(&left_s))
            .then(|| format!("about {} to go", coarse(left_s.round() as u64)))
    }

    fn commit(&self) -> String {
        if self.now.standing_ms >= STANDING_MS {
            return format!("nothing committed for {}", coarse(self.now.standing_ms / 1000));
        }
        match self.now.last_commit {
            None => "no commit yet".to_owned(),
            Some(last) if last.ago_ms < 60_000 => {
                format!("last commit {:.1} s ago", last.ago_ms as f64 / 1000.0)
            }
            Some(last) => format!("last commit {} ago", coarse(last.ago_ms / 1000)),
        }
    }

    fn counts(&self) -> String {
        let counts = &self.now.counts;
        format!(
            "{} · {} anomalies · {} late · {} dead letters · {} lost",
            thousands(counts.readings()),
            thousands(self.now.tally.anomalies()),
            thousands(counts.late),
            thousands(counts.dead),
            thousands(counts.lost)
        )
    }

    fn shares(&self) -> String {
        let share = |stage: Stage| {
            let threads = if stage == Stage::Commit { 1 } else { self.now.workers.max(1) };
            let percent = self.span().map_or(0.0, |(first, last, seconds)| {
                let worked = last.stages.of(stage).saturating_sub(first.stages.of(stage));
                100.0 * worked.as_secs_f64() / seconds / threads as f64
            });
            format!("{} {}", stage.name(), percent.round().min(100.0))
        };
        Stage::ALL.map(share).join("  ")
    }
}

/// Whether no partition is active although one has spoken: then W stands still, and rightly so.
fn is_idle(snapshot: &Snapshot) -> bool {
    let mut activities = snapshot.partitions.iter().map(|one| one.activity);
    activities.clone().any(|one| one == Activity::Idle) && activities.all(|one| one != Activity::Active)
}

/// 3 min 20 s.
fn lasting(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s} s"),
        (h, min, _) => format!("{h} h {min} min"),
    }
}

/// 1234567 → 1,234,567.
pub fn thousands(number: i64) -> String {
    let digits = number.abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests;
