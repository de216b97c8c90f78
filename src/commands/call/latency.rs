//! How the response times of `--repeat` are drawn: a plot for a page, and a histogram for a terminal.

use std::fmt::Write;
use std::time::Duration;

/// The rows of a histogram below the last one.
const ROWS: usize = 8;
/// The longest bar of a histogram, in columns.
const BAR_COLUMNS: usize = 40;
/// The size of the plot and its margins, in units of its own.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 30.0;
/// The shortest time of the axis for when calls were due, in seconds: one call takes none.
const MIN_SPAN: f64 = 0.001;
/// The most columns of the plot: however many calls there are, a page stays small.
const COLUMNS: usize = 360;

/// One call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSample {
    /// When it was due, from the start of the run.
    pub due: Duration,
    /// How long its response took.
    pub time: Duration,
    /// Whether it failed.
    pub is_failure: bool,
}

/// A histogram of sorted times: rows of equal width up to the 99th percentile, then the rest.
pub(super) fn histogram(times: &[Duration]) -> Vec<String> {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Vec::new() };
    let p99 = times[(times.len() - 1) * 99 / 100];
    let step = (p99.saturating_sub(*first) / ROWS as u32).max(Duration::from_micros(1));
    let mut rows = Vec::new();
    let mut below = 0;
    let mut limit = *first;
    while below < times.len() {
        limit = if rows.len() < ROWS { limit + step } else { *last };
        let end = times.partition_point(|time| *time <= limit);
        rows.push((limit.min(*last), end - below));
        below = end;
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let label = |limit: &Duration| format!("{:.3}", limit.as_secs_f64() * 1000.0);
    let width = rows.iter().map(|(limit, _)| label(limit).len()).max().unwrap_or(0);
    let digits = most.to_string().len();
    rows.iter()
        .map(|(limit, count)| {
            let bar = "█".repeat((count * BAR_COLUMNS).div_ceil(most));
            format!("to {:>width$} ms  {count:>digits$}  {bar}", label(limit)).trim_end().to_owned()
        })
        .collect()
}

/// The times of all calls by when they were due, as SVG. Calls of the same column are one stroke from the shortest to
/// the longest.
pub(super) fn plot(samples: &[CallSample]) -> String {
    let max =
        |of: fn(&CallSample) -> Duration| samples.iter().map(of).max().unwrap_or_default().as_secs_f64().max(1e-9);
    let (span, longest) = (max(|sample| sample.due).max(MIN_SPAN), max(|sample| sample.time));
    let step = axis_step(longest);
    let top = step * (longest / step).ceil();
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let y = |seconds: f64| TOP + inner_height * (1.0 - seconds / top);
    let strokes = |is_failure: bool| {
        let mut columns: Vec<Option<(f64, f64)>> = vec![None; COLUMNS];
        for sample in samples.iter().filter(|sample| sample.is_failure == is_failure) {
            let at = (sample.due.as_secs_f64() / span * (COLUMNS - 1) as f64).round();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of a column")]
            let column = &mut columns[(at as usize).min(COLUMNS - 1)];
            let time = sample.time.as_secs_f64();
            let (low, high) = column.unwrap_or((time, time));
            *column = Some((low.min(time), high.max(time)));
        }
        let mut path = String::new();
        for (number, range) in columns.iter().enumerate() {
            if let Some((low, high)) = range {
                let x = LEFT + inner_width * number as f64 / (COLUMNS - 1) as f64;
                let _ = write!(path, "M{x:.1} {:.1}V{:.1}", y(*low), y(*high));
            }
        }
        path
    };
    let mut grid = String::new();
    let ticks = (0..).map(|number| step * f64::from(number)).take_while(|tick| *tick < top + step / 2.0);
    for tick in ticks {
        let at = y(tick);
        let _ = write!(
            grid,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            time_label(tick, top)
        );
    }
    let bottom = HEIGHT - 8.0;
    let _ = write!(
        grid,
        "<text x=\"{LEFT}\" y=\"{bottom}\">0</text><text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">{}</text>",
        WIDTH - RIGHT,
        time_label(span, span)
    );
    format!(
        "<p class=\"dim\">Response times over the times at which the calls were due; failed calls are red:</p>\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Response times over the times at which the calls were due\">{grid}\
         <path class=\"calls\" d=\"{}\"/><path class=\"failed\" d=\"{}\"/></svg>\n",
        strokes(false),
        strokes(true)
    )
}

/// The distance of the grid lines for times up to `longest`: a round number, with four steps at most.
fn axis_step(longest: f64) -> f64 {
    let power = 10_f64.powf((longest / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0].map(|factor| factor * power);
    steps.into_iter().find(|step| step * 4.0 >= longest).unwrap_or(10.0 * power)
}

/// A time at an axis that goes up to `top`, in at most eight characters: more do not fit beside the plot.
fn time_label(seconds: f64, top: f64) -> String {
    // Three digits of the largest; a float is printed without zeros at its end.
    let rounded = |value: f64, top: f64| {
        let scale = 10_f64.powf(2.0 - top.log10().floor()).max(1.0);
        (value * scale).round() / scale
    };
    if top >= 10.0 {
        format!("{} s", rounded(seconds, top))
    } else {
        format!("{} ms", rounded(seconds * 1000.0, top * 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_are_at_round_times_with_short_labels() {
        for (longest, expected) in [
            (0.000_123_4, "0 ms, 0.05 ms, 0.1 ms, 0.15 ms"),
            (0.001, "0 ms, 0.25 ms, 0.5 ms, 0.75 ms, 1 ms"),
            (0.008_656, "0 ms, 2.5 ms, 5 ms, 7.5 ms, 10 ms"),
            (0.3556, "0 ms, 100 ms, 200 ms, 300 ms, 400 ms"),
            (2.73, "0 ms, 1000 ms, 2000 ms, 3000 ms"),
            (12.34, "0 s, 5 s, 10 s, 15 s"),
            (99_999.0, "0 s, 25000 s, 50000 s, 75000 s, 100000 s"),
        ] {
            let step = axis_step(longest);
            let count = (longest / step).ceil();
            let labels: Vec<String> = (0..5)
                .map(f64::from)
                .filter(|number| *number <= count)
                .map(|number| time_label(step * number, step * count))
                .collect();
            assert_eq!(labels.join(", "), expected);
        }
        assert_eq!(time_label(0.004_2, 0.004_2), "4.2 ms");
        assert_eq!(time_label(1.996, 1.996), "1996 ms");
    }

    #[test]
    fn a_histogram_has_every_time_once() {
        let times: Vec<Duration> = (1..=1000).map(Duration::from_micros).chain([Duration::from_secs(1)]).collect();
        let rows = histogram(&times);
        assert_eq!(rows.len(), ROWS + 1, "{rows:?}");
        let counts: usize = rows.iter().filter_map(|row| row.split_whitespace().nth(3)?.parse::<usize>().ok()).sum();
        assert_eq!(counts, times.len(), "{rows:?}");
        assert!(rows[ROWS].starts_with("to 1000.000 ms"), "{rows:?}");
        assert_eq!(histogram(&[Duration::from_millis(2)]).len(), 1);
        assert!(histogram(&[]).is_empty());
    }

    #[test]
    fn a_plot_of_many_calls_is_small() {
        let sample = |number: u64| CallSample {
            due: Duration::from_micros(number),
            time: Duration::from_micros(number % 97),
            is_failure: number.is_multiple_of(1000),
        };
        let samples: Vec<CallSample> = (0..100_000).map(sample).collect();
        let plot = plot(&samples);
        assert!(plot.len() < 30_000 && plot.matches('V').count() > COLUMNS, "{} bytes", plot.len());
        assert!(!super::plot(&samples[..1]).contains("NaN"));
    }
}
