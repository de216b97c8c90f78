//! Dates in HTTP headers.

use jiff::fmt::rfc2822::DateTimeParser;

/// Seconds since 1970 of a date in the preferred form of RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`. The name of
/// the day is ignored.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<u64> {
    let parsed = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text);
    parsed.ok()?.as_second().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_parsed() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(parse_http_date("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        for bad in ["", "soon", "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 6", "Sun, 06 Nox 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }
}
