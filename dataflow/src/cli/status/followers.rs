//! How far the followers are behind the last commit, and which of them retention waits for.

use citytide_store::followers::Follower;

use super::Line;
use super::partitions::coarse;

/// The line of the block, the slowest first; none without followers.
pub fn line(followers: &[Follower], columns: usize) -> Option<Line> {
    let told: Vec<String> = followers.iter().map(told).collect();
    let alarm = followers.iter().any(|one| one.holds_retention);
    (!told.is_empty()).then(|| Line { alarm, ..Line::new("followers", &told.join(" · "), columns) })
}

/// What the line of a log says: the slowest follower.
pub fn part(followers: &[Follower]) -> Option<String> {
    followers.first().map(|slowest| format!("follower {}", told(slowest)))
}

fn told(one: &Follower) -> String {
    let held = if one.holds_retention { ", holds retention up" } else { "" };
    format!("{}: {} behind{held}", one.name, coarse(one.behind_ms.max(0) as u64 / 1000))
}
