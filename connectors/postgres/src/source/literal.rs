//! PURE: the text forms of arrays (`{1,NULL,"a b"}`) and of hstore (`"a"=>"1", "b"=>NULL`).
//!
//! Arrays of more than one dimension come out as one list, row by row: their schema has one dimension, because the
//! type does not tell how many there are.

/// The items of an array; `None` for NULL.
pub(super) fn array(text: &str) -> Option<Vec<Option<String>>> {
    // `[0:1]={…}` has other bounds than 1.
    let body = match text.starts_with('[') {
        true => text.split_once('=')?.1,
        false => text,
    };
    let mut items = Vec::new();
    let mut depth = 0_usize;
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            ',' => {}
            _ if depth == 0 => return None,
            '"' => items.push(Some(quoted(&mut chars)?)),
            first => {
                let mut item = String::from(first);
                if first == '\\' {
                    item.clear();
                    item.push(chars.next()?);
                }
                while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '}')) {
                    item.push(if c == '\\' { chars.next()? } else { c });
                }
                let null = item.eq_ignore_ascii_case("null") && first != '\\';
                items.push((!null).then_some(item));
            }
        }
    }
    (depth == 0 && body.starts_with('{')).then_some(items)
}

/// The pairs of an hstore in the order in which they are printed.
pub(super) fn hstore(text: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        if chars.next()? != '"' {
            return None;
        }
        let key = quoted(&mut chars)?;
        for expected in ['=', '>'] {
            if chars.next()? != expected {
                return None;
            }
        }
        let value = match chars.next()? {
            '"' => Some(quoted(&mut chars)?),
            'N' => {
                for expected in ['U', 'L', 'L'] {
                    if chars.next()? != expected {
                        return None;
                    }
                }
                None
            }
            _ => return None,
        };
        pairs.push((key, value));
        while chars.next_if(|c| matches!(c, ',' | ' ')).is_some() {}
    }
    Some(pairs)
}

/// What follows an opening quote, up to the closing one.
fn quoted(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(items: &[&str]) -> Option<Vec<Option<String>>> {
        Some(items.iter().map(|item| Some((*item).to_owned())).collect())
    }

    #[test]
    fn arrays() {
        assert_eq!(array("{}"), some(&[]));
        assert_eq!(array("{1,2}"), some(&["1", "2"]));
        assert_eq!(array("{{1,2},{3,4}}"), some(&["1", "2", "3", "4"]));
        assert_eq!(array("[0:1]={a,b}"), some(&["a", "b"]));
        assert_eq!(
            array(r#"{"a,b","c\"d","e\\f","","NULL",ü}"#),
            some(&["a,b", "c\"d", "e\\f", "", "NULL", "ü"])
        );
        assert_eq!(array("{NULL,x}"), Some(vec![None, Some("x".to_owned())]));
        for bad in ["", "1", "{", "}", "{\"a", "{1}}", "{a\\"] {
            assert_eq!(array(bad), None, "{bad}");
        }
    }

    #[test]
    fn hstores() {
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(hstore(""), Some(vec![]));
        assert_eq!(
            hstore(r#""a"=>"1", "b \" c"=>NULL, "d"=>"x\\y""#),
            Some(vec![
                pair("a", Some("1")),
                pair("b \" c", None),
                pair("d", Some("x\\y"))
            ])
        );
        for bad in ["a", "\"a\"", "\"a\"=>", "\"a\"=>NUL", "\"a\"=1"] {
            assert_eq!(hstore(bad), None, "{bad}");
        }
    }
}
