//! How far behind W and the partitions are, in the room there is.

use citytide_core::position::Activity;

use super::is_idle;
use crate::telemetry::{PartitionFigures, Snapshot};

/// Partitions that are named when there are too many for all.
const NAMED_MAX: usize = 4;

/// W and the partitions, in so many columns.
pub fn watermark(snapshot: &Snapshot, columns: usize) -> String {
    let low = low(snapshot);
    if snapshot.partitions.len() < 2 {
        return low;
    }
    let all: Vec<String> = snapshot.partitions.iter().map(|one| partition(one, snapshot.now_ms)).collect();
    let all = format!("{low} · {}", all.join(" · "));
    if all.chars().count() <= columns {
        return all;
    }
    (0..=NAMED_MAX)
        .rev()
        .map(|named| thinned(snapshot, &low, named))
        .find(|text| text.chars().count() <= columns)
        .unwrap_or(low)
}

/// The slowest few by name, the others in a word.
fn thinned(snapshot: &Snapshot, low: &str, named: usize) -> String {
    let mut active: Vec<&PartitionFigures> =
        snapshot.partitions.iter().filter(|one| one.activity == Activity::Active).collect();
    active.sort_by_key(|one| one.watermark_us);
    let (slowest, others) = active.split_at(named.min(active.len()));
    let mut parts = vec![low.to_owned()];
    parts.extend(slowest.iter().map(|one| partition(one, snapshot.now_ms)));
    if let Some(first) = others.first() {
        let within =
            first.watermark_us.map(|us| format!(" within {}", coarse(behind_s(us, snapshot.now_ms))));
        parts.push(format!("{} more{}", others.len(), within.unwrap_or_default()));
    }
    for (activity, word) in [(Activity::Idle, "idle"), (Activity::Empty, "empty")] {
        let count = snapshot.partitions.iter().filter(|one| one.activity == activity).count();
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.join(" · ")
}

/// A partition: `3: 5 s`, or that it is idle.
fn partition(one: &PartitionFigures, now_ms: u64) -> String {
    let state = match (one.activity, one.watermark_us) {
        (Activity::Empty, _) => "empty".to_owned(),
        (Activity::Ended, _) => "ended".to_owned(),
        (Activity::Idle, _) => "idle".to_owned(),
        (Activity::Active, None) => "none yet".to_owned(),
        (Activity::Active, Some(us)) => coarse(behind_s(us, now_ms)),
    };
    format!("{}: {state}", one.partition)
}

/// How far W is behind this machine's clock. With all partitions idle it stands still, and no distance is shown: it
/// would grow although nothing is behind. Whoever has held it back for long is named.
pub fn low(snapshot: &Snapshot) -> String {
    let at = |us: i64, form: &str| {
        chrono::DateTime::from_timestamp_micros(us)
            .map_or_else(|| us.to_string(), |at| at.format(form).to_string())
    };
    let low = match snapshot.low_us {
        None => "none yet".to_owned(),
        Some(us) if is_idle(snapshot) => format!("{}, all partitions idle", at(us, "%Y-%m-%d %H:%M:%S")),
        Some(us) => match snapshot.now_ms as i64 / 1000 - us / 1_000_000 {
            // Event times may be ahead of this clock, by a little.
            behind_s @ ..3600 => format!("{behind_s} s behind"),
            _ => at(us, "%Y-%m-%d %H:%M"),
        },
    };
    match snapshot.holder() {
        None => low,
        Some(holder) => {
            format!(
                "{low}, held by partition {} for {}",
                holder.partition,
                coarse(snapshot.low_held_ms / 1000)
            )
        }
    }
}

fn behind_s(us: i64, now_ms: u64) -> u64 {
    u64::try_from(now_ms as i64 / 1000 - us / 1_000_000).unwrap_or(0)
}

/// A time in its greatest unit.
pub fn coarse(seconds: u64) -> String {
    match seconds {
        ..600 => format!("{seconds} s"),
        600..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
