//! Values that travel in HTTP headers (2026-07-28, streamable-http §value-encoding).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const ENCODED_PREFIX: &str = "=?base64?";
const ENCODED_SUFFIX: &str = "?=";

/// The form of a value that is safe in a header (`HTM-05`): printable ASCII as it is; everything else, and values that
/// already look encoded, as `=?base64?…?=` of the UTF-8 bytes.
#[must_use]
pub fn encode_value(value: &str) -> String {
    let printable = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let padded = value.starts_with(' ') || value.ends_with(' ');
    let looks_encoded = value.starts_with(ENCODED_PREFIX) && value.ends_with(ENCODED_SUFFIX);
    if printable && !padded && !looks_encoded {
        value.to_owned()
    } else {
        format!("{ENCODED_PREFIX}{}{ENCODED_SUFFIX}", STANDARD.encode(value))
    }
}

#[cfg(test)]
mod tests {
    use super::encode_value;

    #[test]
    fn only_unsafe_values_are_encoded() {
        assert_eq!(encode_value("get weather"), "get weather");
        assert_eq!(encode_value(""), "");
        assert_eq!(encode_value(" x"), "=?base64?IHg=?=");
        assert_eq!(encode_value("x\t"), "=?base64?eAk=?=");
        assert_eq!(encode_value("ü"), "=?base64?w7w=?=");
        assert_eq!(encode_value("=?base64?eA==?="), "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
    }
}
