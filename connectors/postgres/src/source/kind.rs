//! PURE: what a column's type is to this connector, from the type's oid and what the catalog says about it.

use std::collections::HashMap;

/// Domains over domains, arrays of domains: followed this far.
const DEPTH_MAX: usize = 8;
/// Precision of times that declare none.
const DIGITS_MAX: usize = 6;

/// A type as it is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// bool, bit(1).
    Boolean,
    /// smallint.
    Int16,
    /// integer.
    Int32,
    /// bigint, oid.
    Int64,
    /// real.
    Float32,
    /// double precision.
    Float64,
    /// numeric, with its precision and scale if it declares them.
    Numeric(Option<(i32, i32)>),
    /// money.
    Money,
    /// date.
    Date,
    /// time, with the digits of its seconds' fraction.
    Time(usize),
    /// time with time zone.
    TimeTz(usize),
    /// timestamp.
    Timestamp(usize),
    /// timestamp with time zone.
    TimestampTz(usize),
    /// interval.
    Interval,
    /// bytea.
    Bytes,
    /// bit(n) and varbit(n); `None` without a limit.
    Bits(Option<i32>),
    /// Text, and everything whose text form is its value.
    Text,
    /// Text with a name: `Json`, `Xml`, `Uuid`, `Ltree`, `Tsvector`.
    Named(&'static str),
    /// An enum, with its labels in order.
    Enum(String),
    /// hstore.
    Hstore,
    /// point.
    Point,
    /// An array of any number of dimensions.
    Array(Box<Kind>),
    /// Anything else.
    Unknown,
}

/// What the catalog says about a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TypeInfo {
    /// Its name.
    pub(super) name: String,
    /// `typtype`: b, d, e, …
    pub(super) class: String,
    /// Of a domain: the type below.
    pub(super) base: u32,
    /// Of a domain: the modifier of the type below.
    pub(super) base_modifier: i32,
    /// Of an array: its elements' type, else 0.
    pub(super) element: u32,
    /// Labels of an enum, joined by commas.
    pub(super) labels: String,
}

/// Types that are not built in, and arrays, by oid.
pub(super) type Types = HashMap<u32, TypeInfo>;

/// What a type is; types that `types` lacks are unknown.
pub(super) fn kind(oid: u32, modifier: i32, types: &Types) -> Kind {
    resolve(oid, modifier, types, DEPTH_MAX)
}

/// The types that have to be known before `oid` can be resolved.
pub(super) fn missing(oid: u32, types: &Types) -> Option<u32> {
    let mut oid = oid;
    for _ in 0..DEPTH_MAX {
        if scalar(oid, -1).is_some() || oid == 0 {
            return None;
        }
        let Some(info) = types.get(&oid) else {
            return Some(oid);
        };
        oid = if info.class == "d" {
            info.base
        } else {
            info.element
        };
    }
    None
}

fn resolve(oid: u32, modifier: i32, types: &Types, depth: usize) -> Kind {
    if let Some(kind) = scalar(oid, modifier) {
        return kind;
    }
    let (Some(info), Some(depth)) = (types.get(&oid), depth.checked_sub(1)) else {
        return Kind::Unknown;
    };
    match (info.class.as_str(), info.name.as_str()) {
        ("d", _) => {
            let modifier = match info.base_modifier {
                -1 => modifier,
                own => own,
            };
            resolve(info.base, modifier, types, depth)
        }
        ("e", _) => Kind::Enum(info.labels.clone()),
        ("b", "citext") => Kind::Text,
        ("b", "hstore") => Kind::Hstore,
        ("b", "ltree") => Kind::Named("Ltree"),
        ("b", _) if info.element != 0 => match resolve(info.element, modifier, types, depth) {
            Kind::Unknown => Kind::Unknown,
            element => Kind::Array(Box::new(element)),
        },
        _ => Kind::Unknown,
    }
}

/// The built-in types that are no arrays; their oids never change.
fn scalar(oid: u32, modifier: i32) -> Option<Kind> {
    let digits = usize::try_from(modifier).map_or(DIGITS_MAX, |digits| digits.min(DIGITS_MAX));
    Some(match oid {
        16 => Kind::Boolean,
        17 => Kind::Bytes,
        20 | 26 => Kind::Int64,
        21 => Kind::Int16,
        23 => Kind::Int32,
        700 => Kind::Float32,
        701 => Kind::Float64,
        790 => Kind::Money,
        1082 => Kind::Date,
        1083 => Kind::Time(digits),
        1266 => Kind::TimeTz(digits),
        1114 => Kind::Timestamp(digits),
        1184 => Kind::TimestampTz(digits),
        1186 => Kind::Interval,
        1560 | 1562 => match modifier {
            1 => Kind::Boolean,
            // bit without a length is bit(1); varbit without one has no limit.
            -1 if oid == 1560 => Kind::Boolean,
            length => Kind::Bits((length > 0).then_some(length)),
        },
        1700 => Kind::Numeric((modifier >= 4).then(|| {
            let packed = modifier - 4;
            // The scale is a signed number of 11 bits.
            let scale = packed & 0x7FF;
            let scale = if scale > 0x3FF { scale - 0x800 } else { scale };
            ((packed >> 16) & 0xFFFF, scale.max(0))
        })),
        114 | 3802 => Kind::Named("Json"),
        142 => Kind::Named("Xml"),
        2950 => Kind::Named("Uuid"),
        3614 => Kind::Named("Tsvector"),
        600 => Kind::Point,
        // "char", name, text, cidr, macaddr8, macaddr, inet, char, varchar, ranges.
        18 | 19 | 25 | 650 | 774 | 829 | 869 | 1042 | 1043 => Kind::Text,
        3904 | 3906 | 3908 | 3910 | 3912 | 3926 => Kind::Text,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, class: &str) -> TypeInfo {
        TypeInfo {
            name: name.to_owned(),
            class: class.to_owned(),
            base_modifier: -1,
            ..TypeInfo::default()
        }
    }

    #[test]
    fn modifiers_tell_precision_and_length() {
        let types = Types::new();
        assert_eq!(kind(1700, -1, &types), Kind::Numeric(None));
        assert_eq!(
            kind(1700, (10 << 16 | 2) + 4, &types),
            Kind::Numeric(Some((10, 2)))
        );
        assert_eq!(kind(1083, 3, &types), Kind::Time(3));
        assert_eq!(kind(1114, -1, &types), Kind::Timestamp(6));
        assert_eq!(kind(1560, 1, &types), Kind::Boolean);
        assert_eq!(kind(1560, 5, &types), Kind::Bits(Some(5)));
        assert_eq!(kind(1562, -1, &types), Kind::Bits(None));
        assert_eq!(kind(9999, -1, &types), Kind::Unknown);
    }

    #[test]
    fn domains_and_arrays_are_followed_and_circles_end() {
        let mut types = Types::new();
        types.insert(
            50_000,
            TypeInfo {
                base: 1700,
                base_modifier: (5 << 16 | 1) + 4,
                ..info("price", "d")
            },
        );
        types.insert(
            50_001,
            TypeInfo {
                element: 50_000,
                ..info("_price", "b")
            },
        );
        types.insert(
            50_002,
            TypeInfo {
                base: 50_002,
                ..info("circle", "d")
            },
        );
        assert_eq!(
            kind(50_001, -1, &types),
            Kind::Array(Box::new(Kind::Numeric(Some((5, 1)))))
        );
        assert_eq!(kind(50_002, -1, &types), Kind::Unknown);
        assert_eq!(missing(50_001, &types), None);
        assert_eq!(missing(50_002, &types), None);
        assert_eq!(missing(50_003, &types), Some(50_003));
        types.insert(
            50_003,
            TypeInfo {
                element: 50_004,
                ..info("_x", "b")
            },
        );
        assert_eq!(missing(50_003, &types), Some(50_004));
    }
}
