//! Durations as people write and read them.

use std::time::Duration;

/// Parses `500ms`, `30s`, `2m`, `1h`, or a number of seconds.
///
/// # Errors
/// What is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 500ms, 30s or 2m".to_owned();
    if text.starts_with('-') {
        return Err("expected 0 or a positive duration such as 500ms, 30s or 2m".to_owned());
    }
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit '{unit}'; use ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| expected())
}

/// A duration that [`parse_duration`] reads, in whole seconds if possible: `30s`, `1500ms`, `0.0001s`.
#[must_use]
pub fn duration_literal(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        nanos if nanos.is_multiple_of(1_000_000) => format!("{}ms", time.as_millis()),
        _ => format!("{}s", time.as_secs_f64()),
    }
}

/// A duration in a message: `300 ms`, `2 s`, `2.5 s`.
#[must_use]
pub fn format_duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        format!("{millis} ms")
    } else if millis.is_multiple_of(1000) {
        format!("{} s", millis / 1000)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// A long duration in a message, in its largest unit: `59 s`, `3 min`, `2 h`, `2 days`.
#[must_use]
pub fn format_lifetime(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("1.5", 1500), ("2m", 120_000), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "-1", "x", "1e400", "nan", "inf"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration("5d"), Err("unknown unit 'd'; use ms, s, m or h".to_owned()));
        assert_eq!(parse_duration("-5"), Err("expected 0 or a positive duration such as 500ms, 30s or 2m".to_owned()));
    }

    #[test]
    fn a_literal_is_parsed_to_the_same_duration() {
        for (millis, literal) in [(30_000, "30s"), (1500, "1500ms"), (0, "0s")] {
            let time = Duration::from_millis(millis);
            assert_eq!(duration_literal(time), literal);
            assert_eq!(parse_duration(literal), Ok(time));
        }
        // 0 would be no limit.
        assert_eq!(duration_literal(Duration::from_micros(100)), "0.0001s");
    }

    #[test]
    fn messages_show_durations_briefly() {
        assert_eq!(
            [300, 2000, 2500].map(|millis| format_duration(Duration::from_millis(millis))),
            ["300 ms", "2 s", "2.5 s"]
        );
        assert_eq!([59, 180, 7200, 200_000].map(format_lifetime), ["59 s", "3 min", "2 h", "2 days"]);
    }
}
