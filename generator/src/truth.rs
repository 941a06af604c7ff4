//! The ground truth of anomalous readings: in a Kafka header, in a file, on the console.
//!
//! The file is CSV, a line for each anomalous reading that was sent: `partition,offset,kind,metrics,event,sensor`. No
//! field needs quotes: metrics are separated by spaces, and their names hold neither space nor comma.
//!
//! 1. A malformed record has no truth: it never becomes a row.
//! 2. A silent sensor sends no reading: its line has the kind `silence` and the offset of the sensor that reported
//!    instead; there is no header.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use citytide_domain::Domain;
use citytide_generator::{MetricSet, Reading};

use crate::failure::Failure;

const HEADINGS: &str = "partition,offset,kind,metrics,event,sensor\n";

/// Formats the truth with the names of a domain's metrics.
pub struct TruthText {
    metrics: Vec<String>,
}

impl TruthText {
    pub fn new(domain: &Domain) -> TruthText {
        TruthText { metrics: domain.metrics.iter().map(|metric| metric.name.clone()).collect() }
    }

    fn push_metrics(&self, metrics: MetricSet, text: &mut String) {
        for (count, index) in metrics.iter().enumerate() {
            if count > 0 {
                text.push(' ');
            }
            text.push_str(&self.metrics[index]);
        }
    }

    /// Writes the header's value, `spike:temperature`, to `text`; `false` if the reading is normal or malformed.
    pub fn header(&self, reading: &Reading, text: &mut String) -> bool {
        text.clear();
        let Some(truth) = reading.truth.filter(|_| reading.malformed.is_none()) else { return false };
        text.push_str(truth.kind.name());
        text.push(':');
        self.push_metrics(truth.metrics, text);
        true
    }

    /// For the console: `spike temperature`.
    pub fn mark(&self, reading: &Reading) -> Option<String> {
        if reading.malformed.is_some() {
            return Some("malformed".to_owned());
        }
        let truth = reading.truth?;
        let mut mark = truth.kind.name().replace('_', " ");
        mark.push(' ');
        self.push_metrics(truth.metrics, &mut mark);
        Some(mark)
    }
}

pub struct TruthFile {
    path: PathBuf,
    lines: BufWriter<File>,
}

impl TruthFile {
    /// Opens it to append to it, or truncates it.
    pub fn open(path: &Path, append: bool) -> Result<TruthFile, Failure> {
        let opened = OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path);
        let wrong = |reason| Failure::TruthFile { file: path.to_owned(), reason };
        let file = opened.map_err(wrong)?;
        let is_new = file.metadata().map_err(wrong)?.len() == 0;
        let mut truth = TruthFile { path: path.to_owned(), lines: BufWriter::with_capacity(1 << 16, file) };
        if is_new {
            truth.lines.write_all(HEADINGS.as_bytes()).map_err(wrong)?;
        }
        Ok(truth)
    }

    /// Adds the lines of a reading; `header` is its [`TruthText::header`].
    pub fn add(
        &mut self,
        partition: u32,
        offset: i64,
        reading: &Reading,
        header: Option<&str>,
    ) -> Result<(), Failure> {
        let mut written = Ok(());
        if let Some((kind, metrics)) = header.and_then(|header| header.split_once(':'))
            && let Some(truth) = reading.truth
        {
            written = writeln!(
                self.lines,
                "{partition},{offset},{kind},{metrics},{},{}",
                truth.event, reading.sensor
            );
        }
        if let Some(silence) = reading.silence {
            written = written.and_then(|()| {
                writeln!(self.lines, "{partition},{offset},silence,,{},{}", silence.event, silence.sensor)
            });
        }
        written.map_err(|reason| self.wrong(reason))
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.lines.flush().map_err(|reason| self.wrong(reason))
    }

    fn wrong(&self, reason: std::io::Error) -> Failure {
        Failure::TruthFile { file: self.path.clone(), reason }
    }
}
