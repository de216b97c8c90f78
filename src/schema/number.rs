//! Numbers as text: the grammar of JSON, integers, exact comparison. Large numbers keep all digits.

use std::cmp::Ordering;

use serde_json::Number;

/// The longest decimal expansion that is compared digit by digit.
const MAX_DIGITS: i64 = 10_000;

/// A JSON number with the digits that were typed; `None` if the text is not a JSON number (RFC 8259 §6).
///
/// Other notations (`+5`, `.5`, `0x10`, `1_000`, `007`) are rejected. All digits are kept; only an exponent gets a sign
/// (`1E5` becomes `1e+5`, the same number).
#[must_use]
pub fn parse_json_number(text: &str) -> Option<Number> {
    text.parse().ok()
}

/// Whether the number is an integer as defined by JSON Schema: `5`, `5.0` and `1e3` are.
#[must_use]
pub fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || Decimal::parse(number.as_str()).is_some_and(|decimal| decimal.exponent >= 0)
}

/// Exact comparison; `None` if a number is too long to be compared.
#[must_use]
pub fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        return Some(left.cmp(&right));
    }
    Decimal::parse(left.as_str())?.compare(&Decimal::parse(right.as_str())?)
}

/// A number as sign, digits without surrounding zeros, and a power of ten: `-1200.5` is `-`, `12005`, `-1`.
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            // An exponent beyond i64 is as good as infinity or zero.
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits: String::new(), exponent: 0 });
        }
        let dropped = all.len() - all.trim_end_matches('0').len();
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        let exponent = exponent.checked_add(i64::try_from(dropped).ok()?)?;
        Some(Decimal { negative, digits: digits.to_owned(), exponent })
    }

    /// The number of digits before the decimal point.
    fn magnitude(&self) -> Option<i64> {
        self.exponent.checked_add(i64::try_from(self.digits.len()).ok()?)
    }

    fn compare(&self, other: &Decimal) -> Option<Ordering> {
        let sign = |decimal: &Decimal| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let signs = sign(self).cmp(&sign(other));
        if signs != Ordering::Equal || self.digits.is_empty() {
            return Some(signs);
        }
        let sizes = match self.magnitude()?.cmp(&other.magnitude()?) {
            // With the same magnitude and no trailing zeros, digits compare like fractions.
            Ordering::Equal => self.digits.cmp(&other.digits),
            unequal => unequal,
        };
        Some(if self.negative { sizes.reverse() } else { sizes })
    }
}

/// An integer in plain decimal digits (`1e3` is `1000`); `None` if it is not an integer or too long.
#[must_use]
pub fn plain_integer(number: &Number) -> Option<String> {
    if number.is_i64() || number.is_u64() {
        return Some(number.to_string());
    }
    let decimal = Decimal::parse(number.as_str())?;
    if decimal.digits.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = usize::try_from(decimal.exponent).ok().filter(|_| decimal.exponent <= MAX_DIGITS)?;
    Some(format!("{}{}{}", if decimal.negative { "-" } else { "" }, decimal.digits, "0".repeat(zeros)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn number(text: &str) -> Number {
        parse_json_number(text).unwrap()
    }

    #[test]
    fn only_json_numbers_are_numbers_and_keep_their_text() {
        for text in ["0", "-0", "5", "-12.50", "1e+400", "123456789012345678901234567890", "0.1e-7", "1.10"] {
            assert_eq!(number(text).to_string(), text);
        }
        assert_eq!(number("1E400").to_string(), "1e+400");
        for text in
            ["", "-", "+5", ".5", "5.", "007", "-01", "0x10", "1_000", "1,000", " 5", "5 ", "1e", "NaN", "inf", "٣"]
        {
            assert!(parse_json_number(text).is_none(), "{text}");
        }
    }

    #[test]
    fn whole_numbers() {
        for text in ["5", "5.0", "-0.0", "1e3", "1.50e1", "123456789012345678901234567890", "1e400", "100e-2", "0e-9"] {
            assert!(is_integer(&number(text)), "{text}");
        }
        for text in ["5.1", "1e-3", "1.55e1", "105e-2"] {
            assert!(!is_integer(&number(text)), "{text}");
        }
        assert_eq!(plain_integer(&number("-1.50e1")).as_deref(), Some("-15"));
        assert_eq!(plain_integer(&number("42.0")).as_deref(), Some("42"));
        assert_eq!(plain_integer(&number("0.0")).as_deref(), Some("0"));
        assert_eq!(plain_integer(&number("1e99999")), None);
        assert_eq!(plain_integer(&number("1.5")), None);
    }

    #[test]
    fn comparison_is_exact() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("1", "2", Less),
            ("-1", "-2", Greater),
            ("0", "-0.0", Equal),
            ("1e2", "100.0", Equal),
            ("9007199254740993", "9007199254740992.0", Greater),
            ("0.1", "0.10000000000000000001", Less),
            ("-0.1", "-0.10000000000000000001", Greater),
            ("1e400", "100", Greater),
            ("-1e400", "100", Less),
            ("99", "100.5", Less),
            ("123", "12.9", Greater),
        ] {
            assert_eq!(compare(&number(left), &number(right)), Some(expected), "{left} {right}");
        }
        assert_eq!(compare(&number("1e99999999999999999999"), &number("1")), None);
    }
}
