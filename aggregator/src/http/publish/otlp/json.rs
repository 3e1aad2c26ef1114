//! The peculiarities of OTLP's JSON: numbers as strings, ids in hexadecimal, and `null` for a default.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use serde_json::value::RawValue;

/// Whether a field can be omitted.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a field in which `null` is its default.
pub fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a whole number that may be a string. It does not use serde's numbers, which lose the last bit of some fractions.
pub fn number<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + FromStr<Err: fmt::Display>,
{
    in_json(from, |text| {
        let whole = || whole(text)?.parse().ok();
        text.parse().or_else(|err| whole().ok_or(err))
    })
}

/// Reads a 64-bit floating-point number, which may be a string, or the name of a value that JSON numbers cannot express. One
/// that is too large is refused, as in `ProtoJSON`, instead of becoming infinite.
fn double<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    in_json(from, |text| match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err("not a 64-bit number"),
        },
    })
}

/// Reads a number in JSON's grammar, or a string that contains one; `null` is the default.
fn in_json<'de, D, T, E>(from: D, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default,
    E: fmt::Display,
{
    let raw = <&RawValue>::deserialize(from)?.get();
    let text = match raw.as_bytes() {
        b"null" => return Ok(T::default()),
        [b'"', ..] => Cow::Owned(serde_json::from_str::<String>(raw).map_err(D::Error::custom)?),
        _ => Cow::Borrowed(raw),
    };
    // Rust also parses +1, 01 and inf, which are not numbers in JSON.
    let is_number = serde_json::from_str::<&RawValue>(&text).is_ok_and(|number| {
        number.get() == text && !text.starts_with(['"', '{', '[', 't', 'f', 'n'])
    });
    let is_name = matches!(&*text, "NaN" | "Infinity" | "-Infinity") && raw.starts_with('"');
    if !is_number && !is_name {
        return Err(D::Error::custom(format_args!("not a number: {raw}")));
    }
    parse(&text).map_err(|err| D::Error::custom(format_args!("{err}: {raw}")))
}

/// The digits of a whole number that is written with a zero fraction or an exponent, which `ProtoJSON` allows.
fn whole(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{before}{behind}");
    if before.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    if digits.bytes().all(|digit| digit == b'0') {
        return Some("0".to_owned());
    }
    let point = i64::try_from(before.len())
        .ok()?
        .checked_add(exponent.parse().ok()?)?;
    // No 64-bit number has more digits; the bound keeps a hostile exponent from allocating memory.
    let point = usize::try_from(point).ok().filter(|point| *point <= 64)?;
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, rest) = digits.split_at_checked(point)?;
    let is_whole = rest.bytes().all(|digit| digit == b'0');
    is_whole.then(|| format!("{sign}{whole}"))
}

/// A whole number within a value, read by [`number`].
pub struct Number<T>(pub T);

/// A floating-point number within a value, read by [`double`].
pub struct Double(pub f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        double(from).map(Self)
    }
}

impl<'de, T: Default + FromStr<Err: fmt::Display>> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        number(from).map(Self)
    }
}

/// 64-bit integers, which are written as strings.
pub mod long {
    use super::{Serializer, fmt};

    pub use super::number as deserialize;

    pub fn serialize<T: fmt::Display, S: Serializer>(number: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }
}

/// Trace and span ids.
pub mod hex {
    use std::{borrow::Cow, fmt::Write};

    use super::{Deserialize, Deserializer, Error, Serializer};

    pub fn serialize<S: Serializer>(id: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * id.len());
        for byte in id {
            let _ = write!(text, "{byte:02x}");
        }
        to.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text: Option<Cow<'de, str>> = Option::deserialize(from)?;
        let digits: Option<Vec<u8>> = text
            .unwrap_or_default()
            .chars()
            .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
        let digits = digits.ok_or_else(|| D::Error::custom("an id must be hexadecimal"))?;
        Ok(digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect())
    }
}
