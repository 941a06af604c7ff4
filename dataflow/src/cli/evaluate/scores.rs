//! A score per row, in the order of the input.

use std::io::{self, Write};

use citytide_detector::evaluate::figures::Evaluation;

/// Writes `row,line,score,is_anomaly,is_scored`: the row's number from 1, its line in the input, its score 0 … 1, whether
/// rules or model flag it, and whether it counts in the figures.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(evaluation: &Evaluation<'_>, to: &mut impl Write) -> io::Result<()> {
    let table = evaluation.table;
    let mut order = vec![0; table.rows()];
    for (row, place) in table.places.iter().enumerate() {
        order[*place as usize] = row;
    }
    writeln!(to, "row,line,score,is_anomaly,is_scored")?;
    for (place, row) in order.into_iter().enumerate() {
        let (score, flag) = (evaluation.judged.scores[row], evaluation.judged.flags[row]);
        let (flag, counts) = (u8::from(flag), u8::from(row >= evaluation.from));
        writeln!(to, "{},{},{score},{flag},{counts}", place + 1, table.lines[row])?;
    }
    Ok(())
}
