//! Whole numbers as values of options.

/// Parses a whole number of at least `MIN` that the type can hold.
///
/// # Errors
/// What is expected.
pub fn parse_whole_number<T: TryFrom<u64>, const MIN: u64>(text: &str) -> Result<T, String> {
    let number = text.trim().parse::<u64>().ok().filter(|number| *number >= MIN);
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match size_of::<T>() {
        // No typed number is near the maximum of larger types.
        2 => format!("expected a whole number from {MIN} to {}", u16::MAX),
        _ if MIN == 0 => "expected a whole number".to_owned(),
        _ => format!("expected a whole number of at least {MIN}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_answered_with_the_range() {
        assert_eq!(parse_whole_number::<u16, 1>("8"), Ok(8));
        let range = Err("expected a whole number from 1 to 65535".to_owned());
        for text in ["0", "65536", "-1", "1.5", "many", ""] {
            assert_eq!(parse_whole_number::<u16, 1>(text), range, "{text}");
        }
        assert_eq!(parse_whole_number::<u32, 0>("many"), Err("expected a whole number".to_owned()));
        assert_eq!(parse_whole_number::<u32, 1>("0"), Err("expected a whole number of at least 1".to_owned()));
    }
}
