//! A score per row, in the order of the input.

use std::io::{self, Write};

use crate::Evaluation;

/// Writes `row,line,score,is_anomaly,is_scored`: the row's number from 1, its line in the input, its score from 0 to 1,
/// whether the rules or the model flag it, and whether it counts in the figures.
pub fn write(evaluation: &Evaluation<'_>, to: &mut impl Write) -> io::Result<()> {
    let table = evaluation.table;
    let mut order = vec![0; table.rows()];
    for (row, position) in table.positions.iter().enumerate() {
        order[*position as usize] = row;
    }
    writeln!(to, "row,line,score,is_anomaly,is_scored")?;
    for (position, row) in order.into_iter().enumerate() {
        let (score, flag) = (evaluation.scored.scores[row], evaluation.scored.flags[row]);
        let (flag, counts) = (u8::from(flag), u8::from(row >= evaluation.from));
        writeln!(to, "{},{},{score},{flag},{counts}", position + 1, table.lines[row])?;
    }
    Ok(())
}
