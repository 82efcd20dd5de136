//! PURE: decimal text as the unscaled integers that Kafka Connect's decimals are made of.

/// Digits that a scale may have at most: PostgreSQL's own limit is 16383.
const SCALE_MAX: usize = 20_000;
/// One limb of the integer that is built has this many decimal digits.
const LIMB_DIGITS: usize = 9;

/// A decimal number, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    /// Decimal digits of the unscaled number, without zeros in front.
    digits: String,
    scale: usize,
}

impl Decimal {
    /// Reads `-12.340`, keeping its zeros; `None` for what is no number (`NaN`, `Infinity`).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all = format!("{whole}{fraction}");
        let is_number = !all.is_empty() && all.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || fraction.len() > SCALE_MAX {
            return None;
        }
        Some(Self {
            negative,
            digits: all.trim_start_matches('0').to_owned(),
            scale: fraction.len(),
        })
    }

    /// Digits behind the point; those of a zero are none, whatever it was written with.
    pub(super) fn scale(&self) -> i32 {
        match self.digits.is_empty() {
            true => 0,
            false => i32::try_from(self.scale).unwrap_or(i32::MAX),
        }
    }

    /// The same number with this many digits behind the point; `None` where that would lose some.
    pub(super) fn rescaled(mut self, scale: usize) -> Option<Self> {
        while self.scale > scale {
            if !self.digits.is_empty() && self.digits.pop() != Some('0') {
                return None;
            }
            self.scale -= 1;
        }
        if scale > SCALE_MAX {
            return None;
        }
        if !self.digits.is_empty() {
            let zeros = scale - self.scale;
            self.digits.extend(std::iter::repeat_n('0', zeros));
        }
        self.scale = scale;
        Some(self)
    }

    /// The unscaled number in two's complement, big-endian, in as few bytes as hold it.
    pub(super) fn unscaled(&self) -> Vec<u8> {
        let mut bytes = magnitude(&self.digits);
        if self.negative {
            // Minus one, then every bit turned: the two's complement without a separate carry.
            for byte in &mut bytes {
                let (value, borrowed) = byte.overflowing_sub(1);
                *byte = value;
                if !borrowed {
                    break;
                }
            }
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        let fill = if self.negative && !self.digits.is_empty() {
            0xFF
        } else {
            0
        };
        bytes.push(fill);
        while let [.., before, last] = bytes[..]
            && last == fill
            && (before ^ last) & 0x80 == 0
        {
            bytes.pop();
        }
        bytes.reverse();
        bytes
    }
}

/// A number of decimal digits as bytes, the lowest first.
fn magnitude(digits: &str) -> Vec<u8> {
    let mut limbs: Vec<u32> = Vec::new();
    let head = digits.len() % LIMB_DIGITS;
    let (first, rest) = digits.split_at(head);
    let parts = std::iter::once(first)
        .filter(|part| !part.is_empty())
        .chain(
            rest.as_bytes()
                .chunks(LIMB_DIGITS)
                .filter_map(|part| std::str::from_utf8(part).ok()),
        );
    for part in parts {
        let mut carry = part.parse::<u64>().unwrap_or(0);
        for limb in &mut limbs {
            let value = u64::from(*limb) * 1_000_000_000 + carry;
            *limb = (value & 0xFFFF_FFFF) as u32;
            carry = value >> 32;
        }
        if carry > 0 {
            limbs.push((carry & 0xFFFF_FFFF) as u32);
        }
    }
    limbs.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str, scale: usize) -> Vec<u8> {
        Decimal::parse(text)
            .unwrap()
            .rescaled(scale)
            .unwrap()
            .unscaled()
    }

    #[test]
    fn unscaled_bytes_are_those_of_javas_big_integer() {
        assert_eq!(bytes("12.34", 2), [0x04, 0xD2]);
        assert_eq!(bytes("-12.34", 2), [0xFB, 0x2E]);
        assert_eq!(bytes("0", 0), [0]);
        assert_eq!(bytes("-0.00", 2), [0]);
        assert_eq!(bytes("127", 0), [0x7F]);
        assert_eq!(bytes("128", 0), [0, 0x80]);
        assert_eq!(bytes("-128", 0), [0x80]);
        assert_eq!(bytes("-129", 0), [0xFF, 0x7F]);
        assert_eq!(bytes("-256", 0), [0xFF, 0x00]);
        assert_eq!(bytes("5", 3), [0x13, 0x88]);
        assert_eq!(bytes("1.50", 1), [0x0F]);
        assert_eq!(Decimal::parse("1.55").unwrap().rescaled(1), None);
    }

    #[test]
    fn a_zero_has_no_scale_of_its_own() {
        for (text, scale) in [
            ("0.000", 0),
            ("-0.0", 0),
            ("0", 0),
            ("0.010", 3),
            ("1.00", 2),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().scale(), scale, "{text}");
        }
    }

    #[test]
    fn small_numbers_agree_with_i128() {
        for exponent in 0..37 {
            for offset in -2..=2_i128 {
                for sign in [-1, 1] {
                    let number = sign * (10_i128.pow(exponent) + offset);
                    let mut expected = number.to_be_bytes().to_vec();
                    while let [first, second, ..] = expected[..]
                        && (first == 0 || first == 0xFF)
                        && (first ^ second) & 0x80 == 0
                    {
                        expected.remove(0);
                    }
                    assert_eq!(bytes(&number.to_string(), 0), expected, "{number}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "NaN",
            "Infinity",
            "-Infinity",
            "",
            "-",
            ".",
            "1e5",
            "1.2.3",
            "１",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
