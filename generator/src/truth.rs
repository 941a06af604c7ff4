//! The truth about anomalous readings, told beside them: in a Kafka header, in a file, on the console.
//!
//! The file is CSV, a line per anomalous reading that was handed over: `partition,offset,kind,metrics,event`. No field
//! needs quotes: metrics are separated by spaces, and their names hold neither space nor comma.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use citytide_domain::Domain;
use citytide_generator::Anomaly;

use crate::failure::Failure;

const HEADINGS: &str = "partition,offset,kind,metrics,event\n";

/// Puts the truth into words.
pub struct Words {
    metrics: Vec<String>,
}

impl Words {
    /// In the names of a domain's metrics.
    pub fn new(domain: &Domain) -> Words {
        Words { metrics: domain.metrics.iter().map(|metric| metric.name.clone()).collect() }
    }

    fn parts(&self, anomaly: Anomaly) -> (&'static str, &str) {
        match anomaly {
            Anomaly::OutOfRange(metric) => ("range", &self.metrics[metric]),
            Anomaly::Spike(metric) => ("spike", &self.metrics[metric]),
        }
    }

    /// For the header: `spike:temperature`.
    pub fn header(&self, anomaly: Anomaly, text: &mut String) {
        let (kind, metrics) = self.parts(anomaly);
        text.clear();
        text.push_str(kind);
        text.push(':');
        text.push_str(metrics);
    }

    /// For the console: `spike temperature`.
    pub fn mark(&self, anomaly: Anomaly) -> String {
        let (kind, metrics) = self.parts(anomaly);
        format!("{kind} {metrics}")
    }
}

/// The file of `--truth`.
pub struct TruthFile {
    path: PathBuf,
    lines: BufWriter<File>,
}

impl TruthFile {
    /// Opens it; one that goes on keeps what it holds.
    pub fn open(path: &Path, goes_on: bool) -> Result<TruthFile, Failure> {
        let opened =
            OpenOptions::new().create(true).write(true).append(goes_on).truncate(!goes_on).open(path);
        let wrong = |reason| Failure::TruthFile { file: path.to_owned(), reason };
        let file = opened.map_err(wrong)?;
        let is_new = file.metadata().map_err(wrong)?.len() == 0;
        let mut truth = TruthFile { path: path.to_owned(), lines: BufWriter::with_capacity(1 << 16, file) };
        if is_new {
            truth.lines.write_all(HEADINGS.as_bytes()).map_err(wrong)?;
        }
        Ok(truth)
    }

    /// Adds a line.
    pub fn add(
        &mut self,
        words: &Words,
        partition: u32,
        offset: i64,
        anomaly: Anomaly,
    ) -> Result<(), Failure> {
        let (kind, metrics) = words.parts(anomaly);
        writeln!(self.lines, "{partition},{offset},{kind},{metrics},").map_err(|reason| self.wrong(reason))
    }

    /// Lets everything added so far reach the file.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.lines.flush().map_err(|reason| self.wrong(reason))
    }

    fn wrong(&self, reason: std::io::Error) -> Failure {
        Failure::TruthFile { file: self.path.clone(), reason }
    }
}
