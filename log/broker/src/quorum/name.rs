//! What a topic may be called: Kafka's rules.

/// Longest name, in bytes: with a suffix it must fit a file name.
const NAME_BYTES_MAX: usize = 249;

/// Checks a name.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name == "." || name == ".." {
        return Err("it must not be \".\" or \"..\"");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than 249 characters");
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.bytes().all(legal) {
        Ok(())
    } else {
        Err("only ASCII letters, digits, '.', '_' and '-' are allowed")
    }
}

/// Whether a name keeps the rules.
pub(crate) fn is_valid(name: &str) -> bool {
    check(name).is_ok()
}

/// What the name has in common with those that Kafka takes for the same: '.' and '_' are one where metrics are named.
pub(super) fn shape(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_or_too_long_are_refused() {
        for name in ["a", "__consumer_offsets", "a.b-c_9", &"x".repeat(249)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "ü",
            "a b",
            "a\0",
            "..%2f",
            &"x".repeat(250),
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }
}
