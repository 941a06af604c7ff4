//! How a window came about.

use citytide_domain::{Domain, Metric};

use super::{Page, by, clock, dated_span, told_as_of, with_unit};
use crate::cli::models::print::when;
use crate::cli::status::{coarse, thousands};
use crate::cli::why::facts::AsOf;
use crate::cli::why::window::{Answer, Pane, WindowRow};

/// How a window came about.
pub fn of_window(answer: &Answer, domain: &Domain, as_of: &AsOf) -> String {
    let mut page = Page::default();
    let (start_us, end_us) = (answer.start_us, answer.end_us());
    page.say(
        "window",
        format!("{} of {}, {} UTC", answer.window.name, answer.zone, dated_span(start_us, end_us)),
    );
    match &answer.row {
        None => page.say("no row", no_row(answer, domain, as_of)),
        Some(row) => {
            page.say(&state_label(row.is_final, row.revision), stands(answer, row, as_of));
            if let Some(commit) = &answer.written_by {
                page.say("written", format!("last by {}", by(commit)));
            }
            page.say(
                "readings",
                format!("{} accepted, {} anomalous", thousands(row.readings), thousands(row.anomalies)),
            );
            let figures = domain.metrics.iter().zip(&row.figures);
            let lines: Vec<String> =
                figures.filter_map(|(metric, figures)| figure(metric, figures)).collect();
            page.list("values", lines.into_iter());
        }
    }
    raw(&mut page, answer, as_of);
    page.list("panes", answer.panes.iter().map(pane));
    let by_reason = answer.reasons.iter().map(|(metric, by, count)| {
        let by = if by.starts_with(['<', '>']) { format!("rule {by}") } else { by.clone() };
        format!("{metric}, {by}: {}", thousands(*count))
    });
    page.list("anomalies", by_reason);
    page.list(
        "sensors",
        answer.sensors.iter().map(|(sensor, count)| format!("{sensor}: {}", thousands(*count))),
    );
    told_as_of(&mut page, as_of);
    page.0
}

fn state_label(is_final: bool, revision: i32) -> String {
    match (is_final, revision) {
        (false, _) => "early",
        (true, 0) => "final",
        (true, _) => "corrected",
    }
    .to_owned()
}

/// Why the row is early, final or corrected.
fn stands(answer: &Answer, row: &WindowRow, as_of: &AsOf) -> String {
    if !row.is_final {
        return match as_of.watermark_us {
            None => "W is not there yet: a partition has no accepted reading; more readings change this row"
                .to_owned(),
            Some(watermark_us) => format!(
                "W is {}, {} before its end; more readings change this row",
                when(watermark_us),
                coarse(((answer.end_us() - watermark_us) / 1_000_000).max(0) as u64)
            ),
        };
    }
    let since = match &answer.final_by {
        Some(_) if answer.was_never_early() => {
            "W had passed its end before its first reading came: it was final at once".to_owned()
        }
        Some(commit) => {
            format!("W passed its end with commit {} ({} UTC)", commit.epoch, when(commit.committed_us))
        }
        None => "W has passed its end".to_owned(),
    };
    match row.revision {
        0 => format!("{since}; nothing was accepted for it since"),
        1 => format!("{since}; readings that were accepted after that corrected it once (revision 1)"),
        times => {
            format!(
                "{since}; readings that were accepted after that corrected it {times} times (revision {times})"
            )
        }
    }
}

fn no_row(answer: &Answer, domain: &Domain, as_of: &AsOf) -> String {
    if !answer.zones.contains(&answer.zone) {
        let zones = if answer.zones.is_empty() { "none".to_owned() } else { answer.zones.join(", ") };
        return format!("no accepted reading has come from this zone; zones are: {zones}");
    }
    let kept_us = domain.retention.windows_us.zip(as_of.watermark_us);
    match kept_us {
        Some((kept_us, watermark_us)) if answer.start_us < watermark_us - kept_us => {
            "it is older than what retention.windows keeps".to_owned()
        }
        _ if as_of.watermark_us.is_none_or(|watermark_us| answer.end_us() > watermark_us) => {
            "no reading of this zone and time was accepted so far".to_owned()
        }
        _ => "no reading of this zone and time was accepted".to_owned(),
    }
}

/// The readings of its time that are stored.
fn raw(page: &mut Page, answer: &Answer, as_of: &AsOf) {
    if answer.raw.late > 0 {
        page.say(
            "late",
            format!(
                "{} readings of this time came too late and are in no window",
                thousands(answer.raw.late)
            ),
        );
    }
    let Some(row) = &answer.row else { return };
    if answer.raw.accepted == row.readings {
        return page.say("stored", "all of its readings: citytide verify can recompute it");
    }
    let horizon = when(as_of.horizon.saturating_mul(1000));
    let says = match as_of.horizon {
        0 => "its readings are not what it counts: citytide verify lists the difference".to_owned(),
        _ => format!(
            "{} of its readings; retention has removed the others (up to {horizon} UTC)",
            thousands(answer.raw.accepted)
        ),
    };
    page.say("stored", says);
}

fn pane(pane: &Pane) -> String {
    format!(
        "{}: {} readings, {} anomalous, epochs {} … {}",
        clock(pane.start_us),
        thousands(pane.readings),
        thousands(pane.anomalies),
        pane.first_epoch,
        pane.last_epoch
    )
}

fn figure(metric: &Metric, figures: &[Option<f64>; 3]) -> Option<String> {
    let [Some(average), Some(least), Some(greatest)] = figures else { return None };
    let decimals = usize::from(metric.decimals);
    Some(format!(
        "{}: on average {}, {least:.decimals$} … {greatest:.decimals$}",
        metric.name,
        with_unit(metric, *average)
    ))
}
