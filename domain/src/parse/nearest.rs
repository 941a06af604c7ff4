//! Finds the known name nearest to a mistyped one, for "did you mean".

/// The candidate with the least edit distance to `typed`, if that is at most a third of its length (at least 1). A
/// swap of neighbours counts as one edit, and case does not count.
///
/// ```
/// use citytide_domain::nearest;
///
/// assert_eq!(nearest("unti", ["unit", "usual"]), Some("unit"));
/// assert_eq!(nearest("anomalus", ["unit", "anomalous"]), Some("anomalous"));
/// assert_eq!(nearest("Unit", ["unit"]), Some("unit"));
/// assert_eq!(nearest("colour", ["unit", "usual"]), None);
/// ```
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    if typed.len() > 100 {
        return None;
    }
    let distance_max = (typed.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_swapped_or_missing_letter_finds_its_name() {
        assert_eq!(nearest("unti", ["unit", "usual"]), Some("unit"));
        assert_eq!(nearest("anomalus", ["unit", "anomalous"]), Some("anomalous"));
        assert_eq!(nearest("Unit", ["unit"]), Some("unit"));
    }

    #[test]
    fn what_resembles_nothing_finds_nothing() {
        assert_eq!(nearest("colour", ["unit", "usual"]), None);
        assert_eq!(nearest("", ["unit"]), None);
    }
}
