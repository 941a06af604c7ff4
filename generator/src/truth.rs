//! The truth about anomalous readings, told beside them: in a Kafka header, in a file, on the console.
//!
//! The file is CSV, a line per anomalous reading that was handed over: `partition,offset,kind,metrics,event,sensor`. No
//! field needs quotes: metrics are separated by spaces, and their names hold neither space nor comma.
//!
//! 1. A record whose bytes are no reading has no truth: it never becomes a row.
//! 2. A silent sensor leaves no reading: its line is of the kind `silence`, stands at the offset that another sensor got
//!    instead, and no header tells of it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use citytide_domain::Domain;
use citytide_generator::{MetricSet, Reading};

use crate::failure::Failure;

const HEADINGS: &str = "partition,offset,kind,metrics,event,sensor\n";

/// Puts the truth into words.
pub struct Words {
    metrics: Vec<String>,
}

impl Words {
    /// In the names of a domain's metrics.
    pub fn new(domain: &Domain) -> Words {
        Words { metrics: domain.metrics.iter().map(|metric| metric.name.clone()).collect() }
    }

    fn push_metrics(&self, metrics: MetricSet, text: &mut String) {
        for (count, index) in metrics.iter().enumerate() {
            if count > 0 {
                text.push(' ');
            }
            text.push_str(&self.metrics[index]);
        }
    }

    /// For the header, `spike:temperature`, into `text`; whether there is anything to tell.
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

    /// Adds what there is to say of a reading, whose [`Words::header`] this is.
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

    /// Lets everything added so far reach the file.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.lines.flush().map_err(|reason| self.wrong(reason))
    }

    fn wrong(&self, reason: std::io::Error) -> Failure {
        Failure::TruthFile { file: self.path.clone(), reason }
    }
}
