//! The known name that a wrong one was probably meant to be.

/// Similarity (Jaro–Winkler) below which a name is not worth suggesting.
const SIMILARITY_MIN: f64 = 0.8;

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
