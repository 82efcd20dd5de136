//! Types of SQL for PostgreSQL's, and which columns have values that an UPDATE may not send.

use crate::source::kind::Kind;

/// Digits of the longest DECIMAL.
const DIGITS_MAX: i32 = 38;
/// Rows of fewer bytes have all their values in them.
const LARGE_BYTES: usize = 2000;
/// Of a character.
const UTF8_BYTES_MAX: usize = 4;
/// What the modifier of a text's type has more than its length.
const LENGTH_IN_MODIFIER: i32 = 4;

/// How many bytes the values of a column may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// At most these.
    Upto(usize),
    /// Any number.
    Unbounded,
}

/// Those of values that may be stored beside their row, so that an UPDATE does not send them; `None` where they never are.
pub(super) fn size(type_oid: u32, modifier: i32, kind: &Kind) -> Option<Size> {
    let length = |bytes_each: usize| match usize::try_from(modifier - LENGTH_IN_MODIFIER) {
        Ok(length) => Size::Upto(length.saturating_mul(bytes_each)),
        Err(_) => Size::Unbounded,
    };
    Some(match (type_oid, kind) {
        // "char", name, cidr, macaddr8, macaddr, inet: some bytes, always in the row.
        (18 | 19 | 650 | 774 | 829 | 869, _) => return None,
        (_, Kind::Named("Uuid") | Kind::Enum(_)) => return None,
        // char(n) and varchar(n), in characters.
        (1042 | 1043, _) => length(UTF8_BYTES_MAX),
        (_, Kind::Bits(Some(bits))) => Size::Upto(usize::try_from(*bits).unwrap_or(0) / 8),
        (
            _,
            Kind::Text
            | Kind::Named(_)
            | Kind::Bytes
            | Kind::Hstore
            | Kind::Array(_)
            | Kind::Bits(None),
        ) => Size::Unbounded,
        _ => return None,
    })
}

/// The columns whose values may be stored beside their row. The server does that to the largest ones of a row that is too long.
pub(super) fn large(sizes: Vec<(String, Size)>) -> Vec<String> {
    let bounded = sizes.iter().map(|(_, size)| match size {
        Size::Upto(bytes) => *bytes,
        Size::Unbounded => 0,
    });
    let long_without = bounded.sum::<usize>() >= LARGE_BYTES;
    let is_large = |size: Size| match size {
        Size::Upto(bytes) => long_without || bytes >= LARGE_BYTES,
        Size::Unbounded => true,
    };
    let large = sizes.into_iter().filter(|(_, size)| is_large(*size));
    large.map(|(name, _)| name).collect()
}

/// The type of SQL; `None` where there is none.
pub(super) fn sql_type(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Boolean => "BOOLEAN".to_owned(),
        Kind::Int16 => "SMALLINT".to_owned(),
        Kind::Int32 => "INT".to_owned(),
        Kind::Int64 => "BIGINT".to_owned(),
        Kind::Float32 => "REAL".to_owned(),
        Kind::Float64 => "DOUBLE".to_owned(),
        Kind::Numeric(Some((precision, scale)))
            if *precision <= DIGITS_MAX && scale <= precision =>
        {
            format!("DECIMAL({precision},{scale})")
        }
        Kind::Date => "DATE".to_owned(),
        Kind::Time(_) => "TIME".to_owned(),
        Kind::Timestamp(_) => "TIMESTAMP".to_owned(),
        Kind::TimestampTz(_) => "TIMESTAMPTZ".to_owned(),
        Kind::Bytes | Kind::Bits(_) => "BYTEA".to_owned(),
        Kind::Numeric(_)
        | Kind::Money
        | Kind::TimeTz(_)
        | Kind::Interval
        | Kind::Text
        | Kind::Named(_)
        | Kind::Enum(_)
        | Kind::Hstore => "TEXT".to_owned(),
        Kind::Point => "JSON".to_owned(),
        Kind::Array(element) => match &**element {
            // Arrays of arrays are one list.
            Kind::Array(_) => return None,
            element => format!("{}[]", sql_type(element)?),
        },
        Kind::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kind::{self, Types};

    #[test]
    fn large_values_are_those_that_may_be_stored_beside_the_row() {
        let of = |columns: &[(u32, i32)]| {
            let types = Types::new();
            let sizes = columns.iter().enumerate();
            let sizes = sizes.filter_map(|(place, (oid, modifier))| {
                let kind = kind::kind(*oid, *modifier, &types);
                Some((place.to_string(), size(*oid, *modifier, &kind)?))
            });
            large(sizes.collect()).join(" ")
        };
        // integer, character(84), inet, uuid.
        assert_eq!(of(&[(23, -1), (1042, 88), (869, -1), (2950, -1)]), "");
        // text, varchar, varchar(1000), bytea, jsonb.
        assert_eq!(
            of(&[(25, -1), (1043, -1), (1043, 1004), (17, -1), (3802, -1)]),
            "0 1 2 3 4"
        );
        // text beside character(84), and many of the latter.
        assert_eq!(of(&[(25, -1), (1042, 88)]), "0");
        assert_eq!(of(&[(1042, 258), (1043, 258)]), "0 1");
    }

    #[test]
    fn types_are_sqls() {
        for (kind, expected) in [
            (Kind::Numeric(Some((10, 2))), Some("DECIMAL(10,2)")),
            (Kind::Numeric(Some((50, 2))), Some("TEXT")),
            (Kind::Numeric(Some((2, 5))), Some("TEXT")),
            (Kind::Numeric(None), Some("TEXT")),
            (Kind::Array(Box::new(Kind::Int32)), Some("INT[]")),
            (
                Kind::Array(Box::new(Kind::Numeric(Some((5, 1))))),
                Some("DECIMAL(5,1)[]"),
            ),
            (Kind::TimestampTz(3), Some("TIMESTAMPTZ")),
            (Kind::Unknown, None),
            (Kind::Array(Box::new(Kind::Unknown)), None),
        ] {
            assert_eq!(sql_type(&kind).as_deref(), expected, "{kind:?}");
        }
    }
}
