//! Numbers, texts and bytes as digits, and back: Flink's `bin`, `hex` and `unhex`, PostgreSQL's `convert_from` and `convert_to`.

use super::take::Takes::{Bytes, Int, Text, TextOrBytes, TextOrInt};
use super::{Answer, Line, Value, bytea, line, text};

pub(super) const LINES: &[Line] = &[
    line("bin", &[Int], text, bin),
    line("hex", &[TextOrInt], text, hex),
    line("__digits", &[TextOrBytes], text, digits),
    line("unhex", &[Text], bytea, unhex),
    line("convert_from", &[Bytes, Text], text, convert_from),
    line("convert_to", &[Text, Text], bytea, convert_to),
    line("to_base64", &[TextOrBytes], text, to_base64),
    line("from_base64", &[Text], text, from_base64),
];

/// The binary digits of a number; a negative one has all 64.
fn bin<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    Ok(match args {
        [Value::Int(number)] => Answer::text(format!("{number:b}")),
        _ => Answer::Null,
    })
}

/// The hexadecimal digits of a number, or of the bytes of a text.
fn hex<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    Ok(match args {
        [Value::Int(number)] => Answer::text(format!("{number:X}")),
        [Value::Text(text)] => {
            let digits = text.bytes().map(|byte| format!("{byte:02X}"));
            Answer::text(digits.collect::<String>())
        }
        _ => Answer::Null,
    })
}

/// The hexadecimal digits of bytes; a text has them already.
fn digits<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    Ok(match args {
        [Value::Bytes(bytes)] => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            Answer::text(digits.collect::<String>())
        }
        [Value::Text(text)] => Answer::Text((*text).into()),
        _ => Answer::Null,
    })
}

/// The bytes of hexadecimal digits, of an odd number with a 0 before; NULL for anything else, as Flink has it.
fn unhex<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text)] = args else {
        return Ok(Answer::Null);
    };
    let digits = text.chars().map(|digit| digit.to_digit(16));
    let digits: Option<Vec<u32>> = digits.collect();
    let Some(mut digits) = digits else {
        return Ok(Answer::Null);
    };
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    let bytes = digits.chunks_exact(2);
    let bytes = bytes.map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(u8::MAX));
    Ok(Answer::Bytes(bytes.collect()))
}

/// The only encoding that there is.
fn check_encoding(name: &str) -> Result<(), String> {
    let plain = name.replace(['-', '_'], "");
    match plain.eq_ignore_ascii_case("utf8") {
        true => Ok(()),
        false => Err(format!("'{name}' is not available: texts are in UTF8")),
    }
}

/// The text of bytes.
fn convert_from<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Bytes(bytes), Value::Text(encoding)] = *args else {
        return Ok(Answer::Null);
    };
    check_encoding(encoding)?;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!(
            "the bytes are no UTF8 from byte {} on",
            error.valid_up_to() + 1
        )
    })?;
    Ok(Answer::Text(text.into()))
}

/// The bytes of a text.
fn convert_to<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text), Value::Text(encoding)] = *args else {
        return Ok(Answer::Null);
    };
    check_encoding(encoding)?;
    Ok(Answer::Bytes(text.as_bytes().to_vec()))
}

/// The signs of base 64, by their numbers; RFC 4648.
const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes of a text, or bytes, in base 64 with its padding.
fn to_base64<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let bytes = match args {
        [Value::Text(text)] => text.as_bytes(),
        [Value::Bytes(bytes)] => bytes,
        _ => return Ok(Answer::Null),
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = [16, 8, 0].iter().zip(three);
        let bits = bits.fold(0_u32, |bits, (shift, byte)| {
            bits | u32::from(*byte) << shift
        });
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(match place <= three.len() {
                true => char::from(SIGNS[(bits >> shift & 63) as usize]),
                false => '=',
            });
        }
    }
    Ok(Answer::text(text))
}

/// The text whose bytes are in base 64; NULL for anything else, as Flink has it.
fn from_base64<'a>(args: &[Value<'a>]) -> Result<Answer<'a>, String> {
    let [Value::Text(text)] = args else {
        return Ok(Answer::Null);
    };
    let signs: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let padding = signs.iter().rev().take_while(|sign| **sign == b'=').count();
    let numbers = signs[..signs.len() - padding].iter();
    let numbers = numbers.map(|sign| SIGNS.iter().position(|known| known == sign));
    let numbers: Option<Vec<usize>> = numbers.collect();
    let Some(numbers) = numbers.filter(|numbers| numbers.len() % 4 != 1 && padding < 3) else {
        return Ok(Answer::Null);
    };
    let mut bytes = Vec::with_capacity(numbers.len());
    for four in numbers.chunks(4) {
        let shifts = [18, 12, 6, 0].iter().zip(four);
        let bits = shifts.fold(0, |bits, (shift, number)| bits | number << shift);
        let all = [bits >> 16, bits >> 8, bits];
        let all = all.iter().take(four.len() - 1);
        bytes.extend(all.map(|bits| u8::try_from(bits & 255).unwrap_or(u8::MAX)));
    }
    Ok(String::from_utf8(bytes).map_or(Answer::Null, Answer::text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_the_rfc() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(to_base64(&[Value::Text(text)]), Ok(Answer::text(coded)));
            assert_eq!(from_base64(&[Value::Text(coded)]), Ok(Answer::text(text)));
        }
        for wrong in ["Z", "Zm9!", "===", "/w=="] {
            assert_eq!(
                from_base64(&[Value::Text(wrong)]),
                Ok(Answer::Null),
                "{wrong}"
            );
        }
    }

    #[test]
    fn digits_go_both_ways() {
        for (number, digits) in [(4, "100"), (0, "0")] {
            assert_eq!(bin(&[Value::Int(number)]), Ok(Answer::text(digits)));
        }
        assert_eq!(hex(&[Value::Int(-1)]), Ok(Answer::text("F".repeat(16))));
        assert_eq!(hex(&[Value::Text("hi")]), Ok(Answer::text("6869")));
        let read = |text| unhex(&[Value::Text(text)]);
        assert_eq!(read("4D"), Ok(Answer::Bytes(vec![0x4d])));
        assert_eq!(read("fFf"), Ok(Answer::Bytes(vec![0x0f, 0xff])));
        assert_eq!(read("4G"), Ok(Answer::Null));
    }
}
