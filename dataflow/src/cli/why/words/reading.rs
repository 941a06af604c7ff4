//! What became of a record.

use citytide_core::floor_to;
use citytide_domain::{Domain, Metric};

use super::{Page, by, exact, length_of, span, told_as_of, with_unit};
use crate::cli::models::print::when;
use crate::cli::status::{coarse, thousands};
use crate::cli::why::facts::{AsOf, Commit};
use crate::cli::why::reading::{Answer, Fate, InWindow, Progress, Reading, read_at_us};

/// What became of a record.
pub fn of_reading(answer: &Answer, domain: &Domain, as_of: &AsOf) -> String {
    let mut page = Page::default();
    let place = format!("{}:{}", answer.partition, answer.offset);
    let source = answer.progress.as_ref().map_or("", |progress| progress.source.as_str());
    match &answer.fate {
        Fate::Reading(reading) => {
            page.say(
                "reading",
                format!(
                    "{place} of {source}: sensor {} in {}, recorded {} UTC",
                    reading.sensor,
                    reading.zone,
                    exact(reading.recorded_us)
                ),
            );
            page.say("values", values(domain, reading));
            came(&mut page, reading.epoch, answer.commit.as_ref(), Some(reading.recorded_us));
            lateness(&mut page, answer, reading, domain);
            verdict(&mut page, reading);
        }
        Fate::DeadLetter(letter) => {
            page.say("dead letter", format!("{place} of {source}: {}", letter.reason));
            let field = letter.field.as_ref().map_or(String::new(), |field| format!(" (field {field})"));
            page.say("because", format!("{}{field}", letter.message));
            page.say(
                "received",
                format!("{} UTC, by the record's own timestamp", exact(letter.received_at_us)),
            );
            came(&mut page, letter.epoch, answer.commit.as_ref(), None);
            let (kept, all) = (letter.payload.len() as i64, i64::from(letter.payload_bytes));
            let kept =
                if kept == all { String::new() } else { format!(", of which {} are kept", thousands(kept)) };
            page.say("bytes", format!("{}{kept}", thousands(all)));
            page.bytes(&letter.payload);
            page.say(
                "what to do",
                format!("citytide dead-letters show {place} says what it would be now, with the domain file as it is"),
            );
        }
        fate => {
            page.say("record", [place.as_str(), source].join(if source.is_empty() { "" } else { " of " }));
            page.say("", nothing(answer, fate, as_of));
        }
    }
    told_as_of(&mut page, as_of);
    page.0
}

/// Why there is no row.
fn nothing(answer: &Answer, fate: &Fate, as_of: &AsOf) -> String {
    let (partition, offset) = (answer.partition, answer.offset);
    let unknown = Progress { source: String::new(), first_offset: 0, next_offset: 0, lost: 0, gaps: 0 };
    let progress = answer.progress.as_ref().unwrap_or(&unknown);
    let Progress { first_offset, next_offset, lost, gaps, .. } = *progress;
    match fate {
        Fate::UnknownPartition => format!("nothing of partition {partition} has been read yet"),
        Fate::BeforeTheStart => format!(
            "not read, and will not be: reading of partition {partition} began at offset {}",
            thousands(first_offset)
        ),
        Fate::NotReadYet if next_offset == first_offset => {
            format!("not read yet: nothing of partition {partition} is committed")
        }
        Fate::NotReadYet => format!(
            "not read yet, or not committed yet: partition {partition} is committed up to offset {}, and this one is {} \
             further on",
            thousands(next_offset - 1),
            thousands(offset - next_offset + 1)
        ),
        Fate::BehindTheHorizon => format!(
            "nothing is left of it: retention has removed the rows up to {} UTC. It counts in the totals of its partition \
             and, if it was accepted, in its windows",
            when(as_of.horizon.saturating_mul(1000))
        ),
        _ => match (gaps, lost) {
            (1.., 0) => format!(
                "a gap: the log has no record there (a transaction's marker, an aborted transaction, or compaction). \
                 Partition {partition} counts {} gaps and lost nothing",
                thousands(gaps)
            ),
            (0, 1..) => format!(
                "lost: Kafka deleted it before it was read. Partition {partition} counts {} lost and no gaps",
                thousands(lost)
            ),
            _ => format!(
                "a gap or lost: no record came from there. Partition {partition} counts {} gaps (offsets without a record) \
                 and {} lost (deleted before they were read)",
                thousands(gaps),
                thousands(lost)
            ),
        },
    }
}

/// When a row was read and committed.
fn came(page: &mut Page, epoch: i64, commit: Option<&Commit>, recorded_us: Option<i64>) {
    let read_us = read_at_us(epoch, commit);
    let after = recorded_us.map_or(String::new(), |recorded_us| match read_us - recorded_us {
        behind_us @ 1_000_000.. => {
            format!(", {} after it was recorded", coarse((behind_us / 1_000_000) as u64))
        }
        ahead_us @ ..=-1_000_000 => {
            format!(", {} before the time it bears", coarse((-ahead_us / 1_000_000) as u64))
        }
        _ => ", less than a second after it was recorded".to_owned(),
    });
    page.say("read", format!("{} UTC (epoch {epoch}){after}", exact(read_us)));
    if let Some(commit) = commit {
        let what = if commit.is_replay { ", a replay of dead letters" } else { "" };
        page.say("committed", format!("{}{what}", by(commit)));
    }
}

fn lateness(page: &mut Page, answer: &Answer, reading: &Reading, domain: &Domain) {
    let pane_us = floor_to(reading.recorded_us, domain.pane_us());
    let pane = span(pane_us, pane_us + domain.pane_us());
    let allowed = length_of(domain.time.allowed_lateness_us);
    let partition = answer.partition;
    if reading.is_late {
        // Nothing is said of what was accepted so long before that it explains nothing.
        let behind_us = domain.time.allowed_lateness_us + domain.time.out_of_orderness_us;
        let explains = |highest_us: &i64| pane_us + domain.pane_us() + behind_us <= *highest_us;
        let before = reading.highest_before_us.filter(explains).map_or(String::new(), |highest_us| {
            format!(
                " Shortly before, the partition had accepted readings up to {} UTC, and its watermark follows {} behind.",
                when(highest_us),
                length_of(domain.time.out_of_orderness_us)
            )
        });
        let why = format!(
            "it is in no window: its pane {pane} had ended {allowed} (allowed_lateness) or more before the watermark of \
             partition {partition}.{before}"
        );
        return page.say("late", why);
    }
    let why = match answer.commit.as_ref().is_some_and(|commit| commit.is_replay) {
        true => "it was a dead letter and was replayed: then a reading is never late".to_owned(),
        false => format!(
            "its pane {pane} had not ended {allowed} (allowed_lateness) before the watermark of partition \
             {partition}"
        ),
    };
    page.say("accepted", why);
    page.list("windows", reading.windows.iter().map(in_window));
    if reading.windows.is_empty() {
        page.say("windows", "none is left: retention.windows has removed them");
    }
}

fn in_window(window: &InWindow) -> String {
    format!(
        "{} {}: {}, {} readings, last written in epoch {}",
        window.name,
        span(window.start_us, window.end_us),
        state(window.is_final, window.revision),
        thousands(window.readings),
        window.epoch
    )
}

fn state(is_final: bool, revision: i32) -> String {
    match (is_final, revision) {
        (false, _) => "early".to_owned(),
        (true, 0) => "final".to_owned(),
        (true, 1) => "final, corrected once".to_owned(),
        (true, times) => format!("final, corrected {times} times"),
    }
}

fn verdict(page: &mut Page, reading: &Reading) {
    let confidence = reading.confidence.map_or(String::new(), |one| format!(", confidence {one:.2}"));
    let score = format!("score {:.2}{confidence}", reading.score);
    if reading.is_anomaly {
        let severity = reading.severity.as_deref().unwrap_or("unknown");
        let by = match reading.detector.as_deref() {
            Some("rules") => "a rule of the domain",
            Some("model") => "the model",
            Some("both") => "a rule and the model",
            _ => "the detector",
        };
        page.say("anomaly", format!("severity {severity}, flagged by {by}, {score}"));
        let reasons = reading.reasons.as_array().map_or(&[][..], Vec::as_slice);
        let sentences = reasons.iter().map(|one| one["text"].as_str().unwrap_or_default().to_owned());
        page.list("because", sentences);
    } else {
        page.say("normal", format!("{score}; what was typical is stored with anomalies alone"));
    }
    let judged = match (reading.model_version, &reading.model) {
        (0, _) => "the rules, and by what is typical where a run has a detector; no model yet".to_owned(),
        (version, None) => format!("model {version}, which is not stored any more"),
        (version, Some(model)) => format!(
            "model {version}, fitted on {} readings of {} … {} UTC",
            thousands(model.rows),
            when(model.fitted_from_us),
            when(model.fitted_until_us)
        ),
    };
    page.say("judged by", judged);
}

fn values(domain: &Domain, reading: &Reading) -> String {
    let value = |(metric, value): (&Metric, &Option<f64>)| match value {
        Some(value) => format!("{} {}", metric.name, with_unit(metric, *value)),
        None => format!("{} –", metric.name),
    };
    domain.metrics.iter().zip(&reading.values).map(value).collect::<Vec<_>>().join(" · ")
}
