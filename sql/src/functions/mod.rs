//! The built-in functions that people look for: for completion, `\df`, errors about calls, and the guide; a test runs every
//! example.

mod aggregate;
mod over;
mod scalar;

use aggregate::AGGREGATES;
use over::OVER;
use scalar::SCALARS;

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it answers.
    pub what: &'static str,
    /// A call.
    pub example: &'static str,
}

const fn function(
    name: &'static str,
    takes: &'static str,
    what: &'static str,
    example: &'static str,
) -> Function {
    Function {
        name,
        takes,
        what,
        example,
    }
}

/// All of them: aggregates, functions of OVER, functions of a row. A name may stand among the first and the second.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    let scalars = SCALARS.iter().flat_map(|part| part.iter());
    AGGREGATES.iter().chain(OVER).chain(scalars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_lists_the_functions() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        let guide = std::fs::read_to_string(guide).expect("the reference");
        for part in [vec![AGGREGATES], vec![OVER], SCALARS.to_vec()] {
            let mut expected = String::from("| function | answers | example |\n|---|---|---|\n");
            for function in part.into_iter().flatten() {
                let [takes, what] =
                    [function.takes, function.what].map(|text| text.replace('|', "\\|"));
                expected += &format!(
                    "| `{}({takes})` | {} | `{}` |\n",
                    function.name, what, function.example
                );
            }
            assert!(
                guide.contains(&expected),
                "docs/reference.md should hold\n{expected}"
            );
        }
    }
}
