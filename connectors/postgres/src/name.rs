//! Names of tables as people write them: parts between dots, in quotes where they have letters of their own.

/// The parts of a name between dots; a dot in quotes is a letter, and a quote in quotes is written twice.
///
/// # Errors
/// A quote that is not closed.
pub(crate) fn parts(name: &str) -> Result<Vec<String>, String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            letter => part.push(letter),
        }
    }
    parts.push(part);
    match quoted {
        true => Err("has a quote that is not closed".to_owned()),
        false => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_part_names_and_quotes_keep_them_whole() {
        for (name, expected) in [
            ("t", &["t"][..]),
            ("s.t", &["s", "t"]),
            (r#""a.b"."say ""hi""""#, &["a.b", r#"say "hi""#]),
            ("", &[""]),
            ("s.", &["s", ""]),
        ] {
            assert_eq!(parts(name).unwrap(), expected, "{name}");
        }
        assert!(parts(r#""t"#).is_err());
    }
}
