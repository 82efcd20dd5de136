//! The known name that a wrong one was probably meant to be: worth a hint, or so near that it is a typing error.

/// Similarity (Jaro–Winkler) below which a name is not worth suggesting.
const SIMILARITY_MIN: f64 = 0.8;

/// Letters in which a typing error differs at most from what was meant, of names that are long enough.
const TYPO_EDITS_MAX: usize = 2;
/// Letters of a name for each of these edits.
const LETTERS_PER_EDIT: usize = 4;

/// Whether `name` is `meant` with a letter or two that are wrong, missing, too many or in the wrong order.
pub(crate) fn is_typo(name: &str, meant: &str) -> bool {
    let edits = strsim::damerau_levenshtein(name, meant);
    (1..=TYPO_EDITS_MAX).contains(&edits) && edits * LETTERS_PER_EDIT <= meant.len()
}

/// The most similar of `known`, if any is similar enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let plain = candidate.to_lowercase();
            // The last part of a class name is what people type.
            let short = plain.rsplit('.').next().unwrap_or(&plain);
            let similarity = strsim::jaro_winkler(&lower, &plain).max(if lower.contains('.') {
                0.0
            } else {
                strsim::jaro_winkler(&lower, short)
            });
            (candidate, similarity)
        })
        .filter(|(candidate, similarity)| *similarity >= SIMILARITY_MIN && *candidate != name)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(candidate, _)| candidate)
}
