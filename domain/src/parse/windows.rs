//! The windows, and the bounds on what they cost.

use std::collections::HashSet;
use std::ops::Range;

use super::domain::shown_us;
use super::names::{taken, wrong_window_name};
use super::section::Section;
use crate::model::gcd;
use crate::{DAY_US, MINUTE_US, SECOND_US, SESSIONS_MAX, SessionBy, SessionWindow, Window};

/// Most panes in one window: bounds the cost of a merge.
const PANES_MAX: i64 = 1_000;
/// Most windows that a reading is in, over all `[[windows]]`: bounds the rows that a commit writes for a zone.
const OVERLAP_MAX: i64 = 1_000;
/// Most windows: each is a table that every commit may write.
const WINDOWS_MAX: usize = 32;
/// Longest `max` of a session: bounds how much of a table a late reading is looked up in.
const SESSION_US_MAX: i64 = 31 * DAY_US;

/// The windows of the file, and its session windows. Without any window that is no session: one minute, and five by one.
pub(super) fn read_windows(file: &Section<'_>) -> (Vec<Window>, Vec<SessionWindow>) {
    let (mut windows, mut sessions) = (Vec::new(), Vec::new());
    if let Some(tables) = file.tables("windows", "[[windows]]").at {
        let count = tables.get_ref().len();
        if count == 0 || count > WINDOWS_MAX {
            let sentence = format!("there must be 1 to {WINDOWS_MAX} windows, not {count}");
            file.findings.add_missing(tables.span(), sentence);
        }
        let mut names = HashSet::new();
        let (mut read, mut has_others) = (Vec::new(), count == 0);
        for window in tables.get_ref() {
            let kind = read_kind(window);
            if kind == KINDS[SESSION] {
                sessions.extend(read_session(window, &mut names, sessions.len()));
            } else {
                has_others = true;
                read.extend(read_window(window, &kind, &mut names));
            }
        }
        if has_others {
            return (bounded(file, read), sessions);
        }
        let defaults = DEFAULTS.map(|(name, _)| name);
        if let Some(at) =
            tables.get_ref().iter().find(|at| at.peek("name").is_some_and(|name| defaults.contains(&name)))
        {
            let sentence =
                "without a window that is no session there are `1min` and `5min`; choose another name";
            file.findings.add(at.span.clone(), sentence);
        }
    }
    windows.extend(DEFAULTS.map(|(name, size_us)| Window {
        name: name.to_owned(),
        size_us,
        slide_us: MINUTE_US,
    }));
    (windows, sessions)
}

const DEFAULTS: [(&str, i64); 2] = [("1min", MINUTE_US), ("5min", 5 * MINUTE_US)];
const KINDS: [&str; 3] = ["tumbling", "sliding", "session"];
const SESSION: usize = 2;

/// What kind of window it is; "" where the file does not say, or says what is none.
fn read_kind(window: &Section<'_>) -> String {
    let kind = window
        .text("kind")
        .check(|kind| KINDS.contains(&kind.as_str()), "must be \"tumbling\", \"sliding\" or \"session\"");
    kind.or_default()
}

/// The windows, unless together they cost too much.
fn bounded(file: &Section<'_>, read: Vec<(Window, Range<usize>)>) -> Vec<Window> {
    let pane_us =
        read.iter().fold(0, |pane_us, (window, _)| gcd(gcd(pane_us, window.size_us), window.slide_us));
    if let Some((window, span)) = read.iter().rev().max_by_key(|(window, _)| window.size_us)
        && window.size_us / pane_us > PANES_MAX
    {
        let sentence = format!(
            "this window would be the merge of {} panes of {} (the greatest common divisor of all sizes and slides), \
             more than {PANES_MAX}",
            window.size_us / pane_us,
            shown_us(pane_us)
        );
        file.findings.add(span.clone(), sentence);
        // It is in too many windows as well, more often than not: one mistake, not two.
        return Vec::new();
    }
    let overlap = |window: &Window| window.size_us / window.slide_us;
    let total: i64 = read.iter().map(|(window, _)| overlap(window)).sum();
    if total > OVERLAP_MAX
        && let Some((window, span)) = read.iter().rev().max_by_key(|(window, _)| overlap(window))
    {
        let sentence = format!(
            "a reading would be in {total} windows at a time (the sum of size/slide), more than {OVERLAP_MAX}; most of \
             them, {}, are of `{}`: choose a longer `slide` for it, or a shorter `size`",
            overlap(window),
            window.name
        );
        file.findings.add(span.clone(), sentence);
    }
    read.into_iter().map(|(window, _)| window).collect()
}

/// A session window. Its keys are asked for whatever the others say, and those of other kinds are not.
fn read_session(window: &Section<'_>, names: &mut HashSet<String>, before: usize) -> Option<SessionWindow> {
    if before >= SESSIONS_MAX {
        let sentence = format!("there can be at most {SESSIONS_MAX} windows of kind \"session\"");
        window.findings.add(window.span.clone(), sentence);
    }
    let name = read_name(window, names);
    window.require("gap");
    let is_whole = |us: &i64| *us > 0 && us % SECOND_US == 0;
    let complaint = "must be a multiple of 1s, 1s at least";
    let gap = window.duration_us("gap").check(is_whole, complaint);
    let gap_us = gap.option();
    let longest = window.duration_us("max").check(is_whole, complaint).refuse_if(|max_us| {
        let gap_us = gap_us.unwrap_or(SECOND_US);
        let is_right = (gap_us..=SESSION_US_MAX).contains(max_us);
        (!is_right).then(|| {
            format!("`max` ({}) must be from `gap` ({}) to 31d", shown_us(*max_us), shown_us(gap_us))
        })
    });
    let max_us = longest.or(DAY_US.max(gap_us.unwrap_or(0)));
    let by = window.text("by").check(
        |by| [SessionBy::Zone, SessionBy::Sensor].iter().any(|known| known.as_str() == by),
        "must be \"zone\" or \"sensor\"",
    );
    let by = if by.or_default() == SessionBy::Sensor.as_str() { SessionBy::Sensor } else { SessionBy::Zone };
    if gap_us.is_some_and(|gap_us| gap_us > SESSION_US_MAX) {
        window.findings.add(window.span.clone(), "`gap` in [[windows]] must not be above 31d");
    }
    Some(SessionWindow { name, gap_us: gap_us?, max_us, by })
}

fn read_name(window: &Section<'_>, names: &mut HashSet<String>) -> String {
    window
        .required_text("name")
        .refuse_if(|name| wrong_window_name(name))
        .refuse_if(|name| taken(names, "window", name))
        .or_default()
}

/// A window and the place of its size, if size and slide together make one.
fn read_window(
    window: &Section<'_>,
    kind: &str,
    names: &mut HashSet<String>,
) -> Option<(Window, Range<usize>)> {
    let name = read_name(window, names);
    let is_whole = |us: &i64| *us > 0 && us % SECOND_US == 0;
    let complaint = "must be a multiple of 1s, 1s at least";
    window.require("size");
    let size = window.duration_us("size").check(is_whole, complaint);
    let slide = window.duration_us("slide").check(is_whole, complaint);
    let size_us = size.as_ref().copied().filter(is_whole);
    if slide.as_ref().is_some_and(|us| !is_whole(us)) {
        return None;
    }
    let (size_us, span) = (size_us?, size.at?.span());
    let slide = slide.refuse_if(|slide_us| match *slide_us {
        longer if longer > size_us => Some(
            "`slide` in [[windows]] cannot be longer than `size`: readings would fall between windows"
                .to_owned(),
        ),
        uneven if size_us % uneven != 0 => Some(format!(
            "`size` ({}) must be a multiple of `slide` ({})",
            shown_us(size_us),
            shown_us(uneven)
        )),
        _ => None,
    });
    let slides = slide.as_ref().is_some_and(|slide_us| *slide_us != size_us);
    if kind == KINDS[0] && slides || kind == KINDS[1] && !slides {
        let sentence =
            "a \"sliding\" window has a `slide` shorter than its `size`, a \"tumbling\" one has not";
        window.findings.add(window.span.clone(), sentence);
    }
    let slide_us = slide.or(size_us);
    (size_us % slide_us == 0).then_some((Window { name, size_us, slide_us }, span))
}
