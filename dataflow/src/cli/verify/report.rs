//! Prints the results: a line per check, and the first differences below it.

use std::fmt;

use citytide_store::compare::{Check, SHOWN_MAX};

use crate::cli::status::thousands;

/// What came of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The newest commit; `None` before the first.
    pub epoch: Option<i64>,
    /// W, microseconds; `None` before the first reading.
    pub watermark_us: Option<i64>,
    /// All checks, in the order of the printed lines.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether nothing differs, and no check had to leave out all that there is.
    pub fn agrees(&self) -> bool {
        self.checks.iter().all(|check| check.differing == 0 && !is_left_out(check))
    }
}

/// Whether there is something to compare, and nothing of it could be.
fn is_left_out(check: &Check) -> bool {
    check.compared == 0 && check.not_compared.is_some()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Some(epoch) => write!(f, "as of commit {epoch}")?,
            None => write!(f, "before the first commit")?,
        }
        match self.watermark_us.and_then(chrono::DateTime::from_timestamp_micros) {
            Some(at) => writeln!(f, ", watermark {}", at.format("%Y-%m-%d %H:%M:%S%.3f UTC"))?,
            None => writeln!(f, ", no watermark yet")?,
        }
        // Every check that differs gets its share, so that none hides behind another.
        let mut left = SHOWN_MAX;
        let mut sharing = self.checks.iter().filter(|check| check.differing > 0).count();
        for check in &self.checks {
            let Check { name, rows, compared, differing, shown, not_compared } = check;
            if is_left_out(check) {
                writeln!(
                    f,
                    "✗ {name}: nothing was compared; {}",
                    not_compared.as_deref().unwrap_or_default()
                )?;
                continue;
            }
            let rest = not_compared.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
            if *differing == 0 {
                match compared {
                    1 => writeln!(f, "✓ {name}: 1 {} agrees{rest}", rows.trim_end_matches('s'))?,
                    _ => writeln!(f, "✓ {name}: {} {rows} agree{rest}", thousands(*compared as i64))?,
                }
                continue;
            }
            writeln!(
                f,
                "✗ {name}: {} of {} {rows} differ{rest}",
                thousands(*differing as i64),
                thousands(*compared as i64)
            )?;
            let printed = shown.len().min(left / sharing);
            sharing -= 1;
            for difference in &shown[..printed] {
                for (depth, line) in difference.lines().enumerate() {
                    writeln!(f, "{:indent$}{line}", "", indent = if depth == 0 { 4 } else { 6 })?;
                }
            }
            left -= printed;
            if *differing > printed as u64 {
                writeln!(f, "    … and {} more", thousands(*differing as i64 - printed as i64))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(differing: u64, shown: usize) -> Check {
        let line = "2026-11-21 05:26:00 University District\nreading_count is 1, recomputed 2".to_owned();
        Check {
            name: "metrics_1min".into(),
            rows: "windows",
            compared: 1234,
            differing,
            shown: vec![line; shown],
            not_compared: None,
        }
    }

    #[test]
    fn a_report_is_a_line_per_check_with_differences_below() {
        let report =
            Report { epoch: Some(5), watermark_us: Some(1_500_000), checks: vec![check(0, 0), check(2, 1)] };
        assert!(!report.agrees());
        assert_eq!(
            report.to_string(),
            "as of commit 5, watermark 1970-01-01 00:00:01.500 UTC\n\
             ✓ metrics_1min: 1,234 windows agree\n\
             ✗ metrics_1min: 2 of 1,234 windows differ\n    \
             2026-11-21 05:26:00 University District\n      \
             reading_count is 1, recomputed 2\n    … and 1 more\n"
        );
    }

    #[test]
    fn a_check_that_could_compare_nothing_is_no_agreement_and_one_that_left_something_out_says_so() {
        let report = |compared| {
            let not_compared = Some("2 wait for readings that are not committed yet".to_owned());
            let check = Check { compared, not_compared, ..check(0, 0) };
            Report { epoch: Some(5), watermark_us: Some(1_500_000), checks: vec![check] }
        };
        assert!(!report(0).agrees() && report(7).agrees());
        let line = |report: Report| report.to_string().lines().nth(1).expect("a check").to_owned();
        let rest = "2 wait for readings that are not committed yet";
        assert_eq!(line(report(0)), format!("✗ metrics_1min: nothing was compared; {rest}"));
        assert_eq!(line(report(7)), format!("✓ metrics_1min: 7 windows agree; {rest}"));
    }

    #[test]
    fn no_more_than_a_hundred_differences_are_printed_and_all_are_counted() {
        let report = Report { epoch: None, watermark_us: None, checks: vec![check(70, 70), check(70, 70)] };
        let text = report.to_string();
        assert_eq!(text.matches("recomputed").count(), SHOWN_MAX);
        assert_eq!(text.matches("… and 20 more").count(), 2, "both have their share");
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }
}
