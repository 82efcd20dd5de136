//! The nearest known name to a mistyped one.

/// The name of `known` nearest to `word`, without regard to case, if it is near enough to be meant: one edit for short
/// words (of two letters none may differ), at most two otherwise, three from nine letters on. The first of equals wins.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = match word.chars().count() {
        0..=1 => return None,
        2..=3 => 1,
        4..=8 => 2,
        _ => 3,
    };
    let short = word.chars().count() == 2;
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let distance = strsim::osa_distance(&word, &name.to_lowercase());
        // Of two letters one that is another leaves next to nothing; one that is missing leaves both.
        if distance > 0 && short && name.chars().count() <= 2 {
            continue;
        }
        if distance <= limit && best.is_none_or(|(other, _)| distance < other) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["carrier", "origin", "dest"];
        assert_eq!(nearest("carier", known), Some("carrier"));
        assert_eq!(nearest("ORIGNI", known), Some("origin"));
        assert_eq!(nearest("tailnum", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("t2", ["t", "t1"]), None);
        assert_eq!(nearest("ID", ["id"]), Some("id"));
        assert_eq!(nearest("wy", ["why"]), Some("why"));
    }
}
