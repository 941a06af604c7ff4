//! The windows: that each is one, and that together they have panes of a bearable number.

use std::ops::Range;

use super::names::wrong_window_name;
use super::reader::{At, Findings};
use super::typed::TypedWindow;
use super::used::{SECOND_US, add_duplicates, add_wrong, shown_us};
use crate::Window;
use crate::model::gcd;

const MINUTE_US: i64 = 60 * SECOND_US;
/// Most panes in one window: what merging a window may cost.
const PANES_MAX: i64 = 1_000;
/// Most windows: each is a table that every commit may write.
const WINDOWS_MAX: usize = 32;

/// The windows of the file, or one minute and five by one where it lists none.
pub(super) fn used_windows(typed: Option<At<Vec<TypedWindow>>>, findings: &mut Findings) -> Vec<Window> {
    let Some(typed) = typed else {
        let window = |name: &str, size_us| Window { name: name.to_owned(), size_us, slide_us: MINUTE_US };
        return vec![window("1min", MINUTE_US), window("5min", 5 * MINUTE_US)];
    };
    if typed.value.is_empty() || typed.value.len() > WINDOWS_MAX {
        findings.add_missing(
            &typed.span,
            format!("there must be 1 to {WINDOWS_MAX} windows, not {}", typed.value.len()),
        );
    }
    add_duplicates(typed.value.iter().filter_map(|window| window.name.as_ref()), "window", findings);
    let mut windows = Vec::new();
    let mut longest: Option<(i64, Range<usize>)> = None;
    let mut pane_us = 0;
    for window in &typed.value {
        if let Some(name) = &window.name {
            add_wrong(name, wrong_window_name(&name.value), findings);
        }
        let Some((size_us, slide_us)) = used_lengths(window, findings) else { continue };
        pane_us = gcd(gcd(pane_us, size_us), slide_us);
        if let Some(size) = &window.size_us
            && longest.as_ref().is_none_or(|(longest_us, _)| size_us > *longest_us)
        {
            longest = Some((size_us, size.span.clone()));
        }
        let name = window.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
        windows.push(Window { name, size_us, slide_us });
    }
    if let Some((longest_us, span)) = longest
        && longest_us / pane_us > PANES_MAX
    {
        findings.add(
            &span,
            format!(
                "this window would be the merge of {} panes of {} (the greatest common divisor of all sizes and \
                 slides), more than {PANES_MAX}",
                longest_us / pane_us,
                shown_us(pane_us)
            ),
        );
    }
    windows
}

/// Size and slide, if each of them and both together make a window.
fn used_lengths(typed: &TypedWindow, findings: &mut Findings) -> Option<(i64, i64)> {
    let mut fits = true;
    for (at, key) in [(&typed.size_us, "size"), (&typed.slide_us, "slide")] {
        if let Some(at) = at.as_ref().filter(|at| at.value == 0 || at.value % SECOND_US != 0) {
            findings.add(&at.span, format!("`{key}` in [[windows]] must be a multiple of 1s, 1s at least"));
            fits = false;
        }
    }
    let size_us = typed.size_us.as_ref()?.value;
    let Some(slide) = typed.slide_us.as_ref() else { return fits.then_some((size_us, size_us)) };
    if fits && slide.value > size_us {
        findings.add(
            &slide.span,
            "`slide` in [[windows]] cannot be longer than `size`: readings would fall between windows",
        );
        fits = false;
    }
    if fits && size_us % slide.value != 0 {
        findings.add(
            &slide.span,
            format!(
                "`size` ({}) must be a multiple of `slide` ({})",
                shown_us(size_us),
                shown_us(slide.value)
            ),
        );
        fits = false;
    }
    fits.then_some((size_us, slide.value))
}
