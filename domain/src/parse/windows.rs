//! The windows, and the bounds on what they cost.

use std::collections::HashSet;
use std::ops::Range;

use super::domain::shown_us;
use super::names::{taken, wrong_window_name};
use super::section::Section;
use crate::model::gcd;
use crate::{MINUTE_US, SECOND_US, Window};

/// Most panes in one window: bounds the cost of a merge.
const PANES_MAX: i64 = 1_000;
/// Most windows that a reading is in, over all `[[windows]]`: bounds the rows that a commit writes for a zone.
const OVERLAP_MAX: i64 = 1_000;
/// Most windows: each is a table that every commit may write.
const WINDOWS_MAX: usize = 32;

/// The windows of the file, or one minute and five by one where it lists none.
pub(super) fn read_windows(file: &Section<'_>) -> Vec<Window> {
    let Some(tables) = file.tables("windows", "[[windows]]").at else {
        let window = |name: &str, size_us| Window { name: name.to_owned(), size_us, slide_us: MINUTE_US };
        return vec![window("1min", MINUTE_US), window("5min", 5 * MINUTE_US)];
    };
    let count = tables.get_ref().len();
    if count == 0 || count > WINDOWS_MAX {
        let sentence = format!("there must be 1 to {WINDOWS_MAX} windows, not {count}");
        file.findings.add_missing(tables.span(), sentence);
    }
    let mut names = HashSet::new();
    let read: Vec<(Window, Range<usize>)> =
        tables.get_ref().iter().filter_map(|window| read_window(window, &mut names)).collect();
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

/// A window and the place of its size, if size and slide together make one.
fn read_window(window: &Section<'_>, names: &mut HashSet<String>) -> Option<(Window, Range<usize>)> {
    let name = window
        .required_text("name")
        .refuse_if(|name| wrong_window_name(name))
        .refuse_if(|name| taken(names, "window", name))
        .or_default();
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
    let slide_us = slide.or(size_us);
    (size_us % slide_us == 0).then_some((Window { name, size_us, slide_us }, span))
}
