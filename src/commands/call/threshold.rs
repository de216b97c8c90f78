//! `--threshold`: limits of what `--repeat` measures, such as `p95<200ms` or `errors<1%`.

use crate::error::{ErrorKind, Failure, Result};
use crate::util::duration::parse_duration;

/// Something that is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metric {
    /// The time that this percentage of the calls did not exceed.
    Percentile(f64),
    /// The longest time.
    Max,
    /// The mean time.
    Mean,
    /// How many calls failed.
    Errors,
    /// The percentage of the calls that failed.
    ErrorPercent,
    /// Calls per second.
    Rate,
}

/// How a value is compared to its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ThresholdOperator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A limit.
#[derive(Clone, Debug)]
pub(super) struct Threshold {
    text: String,
    metric: Metric,
    comparison: ThresholdOperator,
    limit: f64,
}

impl Threshold {
    /// Reads a limit as it is typed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Failure::new(ErrorKind::Usage, format!("--threshold '{text}' is not a limit"))
                .cause(why)
                .hint("write it as METRIC<VALUE: p95<200ms, max<2s, errors<1%, errors<=0 or rate>100")
        };
        let at = text.find(['<', '>']).ok_or_else(|| invalid("it has no < or >"))?;
        let (name, rest) = text.split_at(at);
        let (comparison, value) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(value), _) => (ThresholdOperator::LessOrEqual, value),
            (_, Some(value)) => (ThresholdOperator::GreaterOrEqual, value),
            _ if rest.starts_with('<') => (ThresholdOperator::Less, &rest[1..]),
            _ => (ThresholdOperator::Greater, &rest[1..]),
        };
        let (name, value) = (name.trim(), value.trim());
        let percent = value.strip_suffix('%');
        let metric = match name {
            "max" => Metric::Max,
            "mean" => Metric::Mean,
            "errors" if percent.is_some() => Metric::ErrorPercent,
            "errors" => Metric::Errors,
            "rate" => Metric::Rate,
            _ => {
                let part = name.strip_prefix('p').and_then(|part| part.parse::<f64>().ok());
                let part = part.filter(|part| (0.0..=100.0).contains(part));
                Metric::Percentile(
                    part.ok_or_else(|| invalid("the metric is one of p0 to p100, max, mean, errors and rate"))?,
                )
            }
        };
        let limit = match metric {
            Metric::Errors | Metric::ErrorPercent | Metric::Rate => {
                let number = percent.unwrap_or(value).trim_end_matches("/s");
                number.trim().parse::<f64>().ok().filter(|number| number.is_finite())
            }
            _ if value.chars().all(|c| c.is_ascii_digit() || c == '.') => None,
            _ => parse_duration(value).ok().map(|time| time.as_secs_f64()),
        };
        let limit = limit.ok_or_else(|| match metric {
            Metric::Errors | Metric::ErrorPercent | Metric::Rate => invalid("its value is not a number"),
            _ => invalid("its value is not a time with a unit, such as 200ms"),
        })?;
        Ok(Threshold { text: text.to_owned(), metric, comparison, limit })
    }

    /// Whether it limits errors.
    pub fn is_about_errors(&self) -> bool {
        matches!(self.metric, Metric::Errors | Metric::ErrorPercent)
    }

    /// What it limits.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The measured value in words, if it is beyond the limit.
    pub fn violation(&self, value: f64) -> Option<String> {
        let holds = match self.comparison {
            ThresholdOperator::Less => value < self.limit,
            ThresholdOperator::LessOrEqual => value <= self.limit,
            ThresholdOperator::Greater => value > self.limit,
            ThresholdOperator::GreaterOrEqual => value >= self.limit,
        };
        let shown = match self.metric {
            Metric::Errors => format!("{value}"),
            Metric::ErrorPercent => format!("{value:.1}%"),
            Metric::Rate => format!("{value:.1}/s"),
            _ => format!("{:.3} ms", value * 1000.0),
        };
        (!holds).then(|| format!("{}: it is {shown}", self.text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_have_a_metric_a_comparison_and_a_value() {
        let read = |text: &str| Threshold::parse(text).map(|limit| (limit.metric, limit.comparison, limit.limit));
        assert_eq!(read("p95<200ms").unwrap(), (Metric::Percentile(95.0), ThresholdOperator::Less, 0.2));
        assert_eq!(read("p99.9 <= 2s").unwrap(), (Metric::Percentile(99.9), ThresholdOperator::LessOrEqual, 2.0));
        assert_eq!(read("errors<1%").unwrap(), (Metric::ErrorPercent, ThresholdOperator::Less, 1.0));
        assert_eq!(read("errors<=0").unwrap(), (Metric::Errors, ThresholdOperator::LessOrEqual, 0.0));
        assert_eq!(read("rate>=100/s").unwrap(), (Metric::Rate, ThresholdOperator::GreaterOrEqual, 100.0));
        for wrong in ["", "p95", "p101<1s", "p95<200", "errors<x", "what<1s"] {
            assert_eq!(read(wrong).unwrap_err().kind(), ErrorKind::Usage, "{wrong}");
        }
    }
}
