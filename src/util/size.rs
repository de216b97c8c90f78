//! Numbers of bytes as people write and read them.

/// Parses `500kB`, `64MiB`, `1GiB`, or a number of bytes.
///
/// # Errors
/// What is expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as 500kB, 64MiB or 1GiB".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: u64 = number.trim().parse().map_err(|_| expected())?;
    let bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("unknown unit '{unit}'; use kB, MB, GB, KiB, MiB or GiB")),
    };
    number.checked_mul(bytes).ok_or_else(expected)
}

/// A size in a message, exact: `64 MiB`, `1000 bytes`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".to_owned(),
        n if n.is_multiple_of(1 << 30) => format!("{} GiB", n >> 30),
        n if n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
        n if n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        let parsed = ["7", "7 b", "2kB", "2K", "3MiB", "3m", "1GB", "1GiB"].map(|text| parse_size(text).ok());
        let expected = [7, 7, 2000, 2048, 3 << 20, 3 << 20, 1_000_000_000, 1 << 30].map(Some);
        assert_eq!(parsed, expected);
        for wrong in ["", "x", "-1", "1.5M", "1TiB", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_exactly() {
        let shown = [0, 1000, 2048, 64 << 20, 1 << 30].map(format_size);
        assert_eq!(shown, ["0 bytes", "1000 bytes", "2 KiB", "64 MiB", "1 GiB"]);
    }
}
