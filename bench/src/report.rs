//! What was measured, as it comes: a line per figure with its target, 80 columns at most, and the verdict at the end.

use anyhow::Result;

use crate::stage::Stage;

/// The columns: what, figure, target, verdict.
const WHAT: usize = 44;
const FIGURE: usize = 16;

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Has no target.
    Told,
}

/// The lines so far.
pub struct Report {
    missed: usize,
}

impl Report {
    /// Says where it measures.
    pub fn new(stage: &Stage) -> Result<Report> {
        let cores = std::thread::available_parallelism()?;
        println!("citytide bench: {cores} cores, PostgreSQL {}", stage.server_version()?);
        Ok(Report { missed: 0 })
    }

    /// Begins a scene, and prints the machine's load, on which its figures depend.
    pub fn scene(&self, what: &str) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("?");
        println!("\n{what} (load before: {load})");
    }

    /// A figure in `unit`, and what it must be.
    pub fn figure(&mut self, what: &str, figure: f64, unit: &str, target: Target) {
        let shown = |value: f64| if value >= 1000.0 { thousands(value) } else { trimmed(value) };
        let (aim, met) = match target {
            Target::AtLeast(least) => (format!("≥ {}", shown(least)), Some(figure >= least)),
            Target::AtMost(most) => (format!("≤ {}", shown(most)), Some(figure <= most)),
            Target::Told => (String::new(), None),
        };
        let verdict = match met {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        };
        self.missed += usize::from(met == Some(false));
        let value = format!("{} {unit}", shown(figure));
        println!("{}", format!("  {what:<WHAT$}{value:>FIGURE$}  {aim:<8} {verdict}").trim_end());
    }

    /// Something that must hold.
    pub fn holds(&mut self, what: &str, holds: bool) {
        self.missed += usize::from(!holds);
        let (shown, verdict) = if holds { ("yes", "ok") } else { ("no", "MISSED") };
        println!("  {what:<WHAT$}{shown:>FIGURE$}  {:<8} {verdict}", "");
    }

    /// The last line and the exit code.
    pub fn close(self) -> i32 {
        match self.missed {
            0 => println!("\nevery target is met"),
            1 => println!("\none target is missed"),
            missed => println!("\n{missed} targets are missed"),
        }
        i32::from(self.missed > 0)
    }
}

/// The middle one; of an even number the lower one of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

/// A whole number with its digits in groups of three.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn trimmed(value: f64) -> String {
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_and_trimmed() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(1000.0), "1,000");
        assert_eq!(trimmed(0.5), "0.5");
        assert_eq!(trimmed(256.0), "256");
        assert_eq!(trimmed(3.0), "3");
    }

    #[test]
    fn the_median_of_an_even_number_is_the_lower_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.0);
    }
}
