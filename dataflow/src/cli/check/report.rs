//! The results of the checks: lines for people, JSON for programs, an exit code for scripts. Pure.

use std::fmt;

use crate::cli::exit_error::ExitError;
use crate::runtime::exit::Exit;

/// Columns of a terminal.
const COLUMNS: usize = 80;
/// Columns before a line's text.
const MARGIN: usize = 16;

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// A run works, but not as it should.
    Warning,
    /// A run cannot begin.
    Failed(Exit),
    /// Not asked, for another question failed.
    Skipped,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was asked about.
    pub name: &'static str,
    /// The answer.
    pub state: State,
    /// What was found, or what to do.
    pub says: String,
}

/// All answers, in the order of the questions.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// All is well.
    pub fn ok(&mut self, name: &'static str, says: impl Into<String>) {
        self.add(name, State::Ok, says.into());
    }

    /// It works, but not as it should.
    pub fn warning(&mut self, name: &'static str, says: impl Into<String>) {
        self.add(name, State::Warning, says.into());
    }

    /// A run cannot begin, and would end as `ending` says.
    pub fn failed(&mut self, name: &'static str, error: &ExitError) {
        self.add(name, State::Failed(error.exit()), error.to_string());
    }

    /// Not asked, for `needs` failed.
    pub fn skipped(&mut self, name: &'static str, needs: &str) {
        self.add(name, State::Skipped, format!("skipped: needs {needs}"));
    }

    fn add(&mut self, name: &'static str, state: State, says: String) {
        self.lines.push(Line { name, state, says });
    }

    /// The code of the first failure; [`Exit::Done`] without one.
    pub fn exit(&self) -> Exit {
        let failures = self.lines.iter().filter_map(|line| match line.state {
            State::Failed(exit) => Some(exit),
            _ => None,
        });
        failures.into_iter().next().unwrap_or(Exit::Done)
    }

    /// One object: `exit`, and `checks` with `check`, `state` (ok, warning, failed, skipped) and `says`.
    pub fn json(&self) -> serde_json::Value {
        let lines = self.lines.iter().map(
            |line| serde_json::json!({"check": line.name, "state": line.state.word(), "says": line.says}),
        );
        serde_json::json!({"exit": self.exit().code(), "checks": lines.collect::<Vec<_>>()})
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed(_) => "failed",
            State::Skipped => "skipped",
        }
    }

    fn sign(self) -> char {
        match self {
            State::Ok => '✓',
            State::Warning => '!',
            State::Failed(_) => '✗',
            State::Skipped => '–',
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let mut written = format!("{} {:<14}", line.state.sign(), line.name);
            let mut column = MARGIN;
            for (index, word) in line.says.split_whitespace().enumerate() {
                let length = word.chars().count();
                if index > 0 && column + 1 + length > COLUMNS {
                    written += &format!("\n{:MARGIN$}", "");
                    column = MARGIN;
                } else if index > 0 {
                    written.push(' ');
                    column += 1;
                }
                written += word;
                column += length;
            }
            writeln!(f, "{written}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_gives_the_code_and_warnings_none() {
        let mut report = Report::default();
        report.ok("kafka", "there");
        report.warning("topic", "CreateTime");
        assert_eq!(report.exit(), Exit::Done);
        report.failed("database", &ExitError::new(Exit::Away, "away".to_owned()));
        report.failed("configuration", &ExitError::new(Exit::Config, "wrong".to_owned()));
        report.skipped("tables", "database");
        assert_eq!(report.exit(), Exit::Away);
        let json = report.json();
        assert_eq!(json["exit"], 69);
        assert_eq!(json["checks"][3]["state"], "failed");
        assert_eq!(json["checks"][4]["says"], "skipped: needs database");
    }

    #[test]
    fn lines_fit_a_terminal_and_lose_no_word() {
        let mut report = Report::default();
        let says = "word ".repeat(60);
        report.warning("configuration", says.clone());
        let written = report.to_string();
        assert!(written.lines().count() > 3);
        assert!(written.lines().all(|line| line.chars().count() <= COLUMNS), "{written}");
        assert_eq!(written.matches("word").count(), 60);
        assert!(written.lines().skip(1).all(|line| line.starts_with("                word")), "{written}");
    }
}
