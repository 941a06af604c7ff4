//! Detectors to compare with, on the same rows. None but the oracle sees a label.
//!
//! Each learns from the rows before the first one that counts, or from all rows if all count.

mod forest;
mod oracle;
mod pca;
mod scales;

use std::sync::Arc;

use citytide_detector::{Layout, Member, Sample};

use crate::score::broken_rules;
use crate::{Table, score_stream};
use scales::Scales;

/// Most rows that a forest or principal components are fitted on.
const FITTED_ROWS_MAX: usize = 20_000;

/// A detector to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// The rules of the domain alone.
    RulesOnly,
    /// The largest deviation of a metric from the median of its zone.
    LargestZ,
    /// The reconstruction error of principal components over a sensor's last readings.
    WindowedPca,
    /// An isolation forest on the values as they are.
    ForestRaw,
    /// The detector's own isolation forest, without its other members.
    ForestResiduals,
    /// A model that knows which rows are normal, and looks at one reading at a time.
    Oracle,
}

/// Scores of all rows, and flags if the detector sets a threshold itself.
pub type ReferenceScores = (Vec<f32>, Option<Vec<bool>>);

impl Reference {
    /// In the order of the report.
    pub const ALL: [Reference; 6] = [
        Reference::RulesOnly,
        Reference::LargestZ,
        Reference::WindowedPca,
        Reference::ForestRaw,
        Reference::ForestResiduals,
        Reference::Oracle,
    ];

    /// Its key in the line of JSON.
    pub fn key(self) -> &'static str {
        match self {
            Reference::RulesOnly => "rules_only",
            Reference::LargestZ => "max_abs_z",
            Reference::WindowedPca => "windowed_pca",
            Reference::ForestRaw => "forest_raw",
            Reference::ForestResiduals => "forest_residuals",
            Reference::Oracle => "oracle",
        }
    }

    /// Its name in tables for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Reference::RulesOnly => "rules only",
            Reference::LargestZ => "max|z|",
            Reference::WindowedPca => "windowed PCA",
            Reference::ForestRaw => "forest, raw values",
            Reference::ForestResiduals => "forest, residuals",
            Reference::Oracle => "oracle (sees labels)",
        }
    }

    /// Scores all rows; `None` if the table is too small. `from` is the first row that counts.
    pub fn score(self, table: &Table, layout: &Arc<Layout>, from: usize) -> Option<ReferenceScores> {
        let fitted = fitted_rows(table, from);
        let scales = || Scales::fit(table, fitted);
        let scores = match self {
            Reference::RulesOnly => {
                let broken = broken_rules(table, layout);
                return Some((broken.iter().map(|is_broken| f32::from(*is_broken)).collect(), Some(broken)));
            }
            Reference::LargestZ => scales().largest(table),
            Reference::WindowedPca => pca::score(table, &scales(), fitted),
            Reference::ForestRaw => forest::score(table, &scales(), fitted, &layout.forest)?,
            Reference::ForestResiduals => {
                let others = Member::ALL.into_iter().filter(|member| *member != Member::Forest);
                score_stream(table, layout, &others.collect::<Vec<_>>()).scores
            }
            Reference::Oracle => oracle::score(table),
        };
        Some((scores, None))
    }
}

/// Rows to fit on, from the first: those before `from`, or all.
fn fitted_rows(table: &Table, from: usize) -> usize {
    if from == 0 { table.rows() } else { from }
}

/// Whether a row belongs to a sample of [`FITTED_ROWS_MAX`] out of `rows`. It is chosen by a hash: every n-th row would
/// take the same sensors again and again.
fn is_sampled(row: usize, rows: usize) -> bool {
    rows <= FITTED_ROWS_MAX || Sample::hash(0, row as i64) % (rows as u64) < FITTED_ROWS_MAX as u64
}
