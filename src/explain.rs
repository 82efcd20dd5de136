//! `thalweg explain CODE`: what an error code means and what to do, from the page that is also the guide.

use anyhow::Result;
use clap::Args;

use crate::exit::Failure;
use crate::shell::hanging;
use crate::{config, screen};

/// A section a code, headed `## TWnnnn …`.
const PAGES: &str = include_str!("../docs/errors.md");

/// Arguments of `thalweg explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg explain TW1101
  thalweg explain            all codes")]
pub(crate) struct ExplainArgs {
    /// A code, as in error[TW1101]; without one, all are listed
    code: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: ExplainArgs) -> Result<()> {
    let Some(code) = args.code else {
        for (code, title) in titles() {
            screen::line(format!("{code}  {title}"))?;
        }
        return Ok(());
    };
    let wanted = code.trim().to_uppercase();
    if let Some(page) = page(&wanted) {
        let columns = screen::columns().unwrap_or(usize::MAX);
        for line in page.lines() {
            screen::line(hanging(line, 0, columns))?;
        }
        return Ok(());
    }
    let nearest = config::nearest(&wanted, titles().map(|(code, _)| code));
    let nearest = nearest.map_or(String::new(), |code| format!(", did you mean {code}?"));
    let text = format!("there is no code {code}{nearest}; `thalweg explain` lists all");
    Err(Failure::NotFound(text).into())
}

/// Codes with their titles, in order.
fn titles() -> impl Iterator<Item = (&'static str, &'static str)> {
    let heads = PAGES.lines().filter_map(|line| line.strip_prefix("## "));
    heads.filter_map(|head| head.split_once(' '))
}

/// The page of a code in upper case, its title first.
pub(crate) fn page(code: &str) -> Option<&'static str> {
    let mut pages = PAGES.split("\n## ").skip(1);
    let page = pages.find(|page| page.split(' ').next() == Some(code))?;
    Some(page.trim_end())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The codes that the source gives out.
    fn given_out() -> BTreeSet<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/src/diagnostic/code.rs");
        let text = std::fs::read_to_string(folder).expect("the table of codes");
        let parts = text.split("\"TW").skip(1);
        parts.map(|part| format!("TW{}", &part[..4])).collect()
    }

    #[test]
    fn every_code_has_a_page() {
        let explained: BTreeSet<String> = titles().map(|(code, _)| code.to_owned()).collect();
        let missing: Vec<String> = given_out().difference(&explained).cloned().collect();
        assert!(
            missing.is_empty(),
            "docs/errors.md has no page of {missing:?}"
        );
        for code in &explained {
            let page = page(code).expect("listed");
            assert!(page.lines().count() >= 3, "{code} says too little: {page}");
            assert!(!page.contains("\n## "), "{page}");
        }
    }
}
