//! Numbers that stand for no value: −9999 and the like, which many loggers write where nothing was measured.

/// Such a number, and how often a column has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentinel {
    pub column: String,
    pub value: f64,
    pub count: usize,
}

/// Fewest times that it occurs.
const COUNT_LEAST: usize = 2;
/// It lies further from all other values than this many times their range.
const APART: f64 = 1.0;
/// Beside numbers of nothing but nines: the bounds of integers.
const BOUNDS: [f64; 6] = [-32_768.0, 32_767.0, 65_535.0, -2_147_483_648.0, 2_147_483_647.0, 4_294_967_295.0];

/// The sentinel of a column: its least or greatest value, if that looks like one and all others are far from it.
pub fn sentinel(column: &str, values: &[f64]) -> Option<Sentinel> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (&least, &greatest) = (sorted.first()?, sorted.last()?);
    let candidates = [(least, greatest), (greatest, least)];
    candidates.into_iter().filter(|(value, _)| is_usual(*value)).find_map(|(value, far)| {
        let first = sorted.partition_point(|other| *other < value);
        let count = sorted[first..].partition_point(|other| *other <= value);
        let near = if first == 0 { *sorted.get(count)? } else { sorted[first - 1] };
        let is_apart = (near - value).abs() > APART * (far - near).abs();
        (count >= COUNT_LEAST && is_apart && near != far).then(|| Sentinel {
            column: column.to_owned(),
            value,
            count,
        })
    })
}

/// Whether a number is one that is used for no value: two nines or more and nothing else, or the bound of an integer.
fn is_usual(value: f64) -> bool {
    let digits = value.abs().to_string().replace('.', "");
    let are_nines = digits.len() >= 2 && digits.bytes().all(|digit| digit == b'9');
    are_nines || BOUNDS.contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_far_from_everything_else_stand_for_no_value() {
        let found = |values: &[f64]| sentinel("heat", values).map(|found| (found.value, found.count));
        assert_eq!(found(&[20.0, -9999.0, 21.5, -9999.0, f64::NAN]), Some((-9999.0, 2)));
        assert_eq!(found(&[20.0, 999.9, 21.5, 999.9]), Some((999.9, 2)));
        assert_eq!(found(&[20.0, 21.0, 65_535.0, 65_535.0]), Some((65_535.0, 2)));
        // Once, among others of its size, or an ordinary number.
        assert_eq!(found(&[20.0, -9999.0, 21.5]), None);
        assert_eq!(found(&[0.0, 50.0, 99.0, 99.0]), None);
        assert_eq!(found(&[20.0, 21.0, 5000.0, 5000.0]), None);
    }
}
