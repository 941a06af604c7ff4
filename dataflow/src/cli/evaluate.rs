//! `citytide evaluate`: reads labelled readings, evaluates the detector on them (see [`citytide_evaluate`]), and prints
//! or writes its precision, recall and scores.

mod error;
mod readings;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citytide_domain::Domain;
use citytide_evaluate::page::page;
use citytide_evaluate::text::text;
use citytide_evaluate::{Columns, Evaluation, Report, Table, read_csv, scores, time_us};

use super::exit_error::ExitError;
use super::tables::read_domain;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use error::EvaluateError;
use readings::Readings;

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The input is CSV (commas, semicolons or tabs, with a header line) with a column of labels, or what
`citytide-generator --stdout --truth FILE` writes. Every other numeric column besides time, label,
sensor and zone is a metric. Where lines name their partition, as the generator's do, each partition
is judged in the order of its lines: that is its log, and a run over the log gives the same verdicts.
All other rows are judged in the order of their times. The detector starts without any knowledge:
for the first half hour and 512 readings of a zone only rules flag readings, and learning what is
usual at an hour of the day takes days. All rows count, unless --from makes the first ones only
teach.

Rows of a single sensor that say nothing about the next row are not a stream, and some streams are too
short to learn from. These are judged as a table, by the isolation forest on raw values, and the
share that the domain expects to be anomalous (contamination, 5 %) is flagged. The output says so.

The last line of standard output is one JSON object. auroc and ap need no threshold; precision,
recall and f1 use the threshold that the detector set without labels; best_f1 and
recall_at_precision_90 use thresholds chosen by the labels. Nothing is point-adjusted.

Compared on the same rows: rules only; max|z| (zone's median and MAD); windowed PCA (eight readings
of a sensor); an isolation forest on raw values (500 trees of 256 rows); and the hybrid's forest
alone. The first four learn from the rows before --from, without it from all rows. The oracle
learns from the rows that are labelled normal, including later ones, and looks at one row at a time:
it does not see what only shows over several rows, so it is not an upper bound.

Examples:
  citytide evaluate --input city.csv --label kind --time at --sensor id --zone area
  citytide evaluate --input city.csv --label kind --time at --from 0.667 --report city.html
  citytide-generator --stdout --rate 0 --count 500000 --duration 7d \\
    --start 2026-11-02T00:00:00Z --truth truth.csv |
    citytide evaluate --input - --truth truth.csv")]
pub struct Args {
    /// Read labelled readings from this file: CSV, or JSON lines with --truth; - reads standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Column of the labels: empty, 0, false, no and normal are normal, anything else is a kind of anomaly
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Column of the event time: RFC 3339, seconds or milliseconds
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Column of the sensor; without it each zone is one sensor
    #[arg(long, value_name = "COLUMN")]
    sensor: Option<String>,
    /// Column of the zone; without it there is one zone
    #[arg(long, value_name = "COLUMN")]
    zone: Option<String>,
    /// Treat this label as normal, instead of those above; may be repeated
    #[arg(long, value_name = "LABEL", allow_hyphen_values = true)]
    normal: Vec<String>,
    /// Read the generator's truth about JSON lines from this file, instead of labels
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Use the rules and scales of this domain file [default: smart-city, if the table has all of its metrics]
    #[arg(long, value_name = "FILE", help_heading = "Domain")]
    domain: Option<PathBuf>,
    /// Let the first rows only teach: a share of the time, such as 0.667, or the time from which rows count
    #[arg(long, value_name = "SHARE|TIME")]
    from: Option<String>,
    /// Write each row's score as CSV, in the order of the input
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Write a page with pictures: scores, precision and recall, kinds, zones
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Judge again without each member of the detector in turn, and print the difference
    #[arg(long)]
    ablation: bool,
}

/// Evaluates and prints; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    evaluate(args)?;
    Ok(Exit::Done.code())
}

fn evaluate(args: &Args) -> Result<(), EvaluateError> {
    let (mut table, domain) = read(args)?;
    table.domain = Arc::new(domain.clone().unwrap_or_else(Domain::smart_city));
    let from = first_row(&table, args.from.as_deref())?;
    // Created before minutes of work, so that a wrong path is reported at once.
    let scores_file = args.scores.as_deref().map(Output::create).transpose()?;
    let page_file = args.report.as_deref().map(Output::create).transpose()?;
    let layout = Arc::new(table.layout(domain.as_ref()));
    let evaluation = Evaluation::new(&table, &layout, from);
    let ablation = if args.ablation { evaluation.ablation(&layout) } else { Default::default() };
    let input = match args.input.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => args.input.display().to_string(),
    };
    let domain = domain.as_ref().map(|domain| domain.name.as_str());
    let report = Report::new(&input, domain, &layout, &evaluation, ablation);
    if let Some(file) = scores_file {
        file.write(|to| scores::write(&evaluation, to))?;
    }
    if let Some(file) = page_file {
        file.write(|to| to.write_all(page(&report, &evaluation).as_bytes()))?;
    }
    let json = serde_json::to_string(&report).expect("names and numbers become JSON");
    output::print_line(format_args!("{}{json}", text(&report, &table)));
    Ok(())
}

/// The table, and the domain that knows something of its metrics.
fn read(args: &Args) -> Result<(Table, Option<Domain>), EvaluateError> {
    let failed = |reason| EvaluateError::read(&args.input, &reason);
    let mut input: Box<dyn BufRead> = match args.input.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::with_capacity(1 << 16, File::open(&args.input).map_err(failed)?)),
    };
    if readings::are_lines(input.fill_buf().map_err(failed)?) {
        let Some(truth) = &args.truth else { return Err(EvaluateError::NoTruth) };
        if args.label.is_some() || args.time.is_some() || args.sensor.is_some() || args.zone.is_some() {
            return Err(EvaluateError::ColumnsOfLines);
        }
        let domain = read_domain(args.domain.as_deref())?;
        let readings = Readings::read(input, &args.input, &domain)?;
        // Only now: in a pipe the truth is whole when the readings have ended.
        let told = std::fs::read(truth).map_err(|reason| EvaluateError::read(truth, &reason))?;
        return Ok((readings.with_truth(truth, &told)?, Some(domain)));
    }
    if args.truth.is_some() {
        return Err(EvaluateError::TruthOfTable);
    }
    let (Some(time), Some(label)) = (args.time.clone(), args.label.clone()) else {
        return Err(EvaluateError::NoColumns);
    };
    let (sensor, zone, normal) = (args.sensor.clone(), args.zone.clone(), args.normal.clone());
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(failed)?;
    let table = read_csv(&bytes, &Columns { time, label, sensor, zone, normal })?;
    drop(bytes);
    let domain = read_domain(args.domain.as_deref())?;
    let known = domain.metrics.iter().filter(|metric| table.names.contains(&metric.name)).count();
    let domain = match (&args.domain, known) {
        (Some(path), 0) => return Err(EvaluateError::OtherDomain { path: path.display().to_string() }),
        (Some(_), _) => Some(domain),
        (None, known) => (known == domain.metrics.len()).then_some(domain),
    };
    Ok((table, domain))
}

/// A file that is written to.
struct Output<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl Output<'_> {
    fn create(path: &Path) -> Result<Output<'_>, EvaluateError> {
        let file = File::create(path).map_err(|reason| EvaluateError::write(path, &reason))?;
        Ok(Output { path, file: BufWriter::new(file) })
    }

    fn write(
        mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), EvaluateError> {
        let written = write(&mut self.file).and_then(|()| self.file.flush());
        written.map_err(|reason| EvaluateError::write(self.path, &reason))
    }
}

/// The first row that counts.
fn first_row(table: &Table, from: Option<&str>) -> Result<usize, EvaluateError> {
    let Some(text) = from else { return Ok(0) };
    let wrong = |why| EvaluateError::From { text: text.to_owned(), why };
    let at_us = match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => table.time_at_share_us(share),
        _ => time_us(text).ok_or_else(|| {
            wrong("give a share from 0 to less than 1, or a time as 2026-11-21T05:26:00Z".to_owned())
        })?,
    };
    match table.row_at(at_us) {
        row if row < table.rows() => Ok(row),
        _ => Err(wrong("the last row is before it, so that none would count".to_owned())),
    }
}

#[cfg(test)]
mod tests;
