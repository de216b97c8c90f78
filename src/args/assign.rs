//! Assigns one value to its place in the arguments.

use serde_json::{Map, Value};

use crate::args::path::ArgPath;
use crate::schema::{PathStep, ValueProblem};

/// Sets the value at `place`, from step `depth` on, within `slot`; creates missing objects and arrays.
///
/// `known`: whether `slot` already has a value.
pub(super) fn assign(
    slot: &mut Value,
    known: bool,
    place: &ArgPath<'_>,
    depth: usize,
    value: Value,
) -> Result<(), ValueProblem> {
    let Some(step) = place.steps.get(depth) else {
        *slot = value;
        return Ok(());
    };
    if !known {
        *slot = match step {
            PathStep::Member(_) => Value::Object(Map::new()),
            PathStep::Item(_) => Value::Array(Vec::new()),
        };
    }
    let (inner, known) = match (slot, step) {
        (Value::Object(members), PathStep::Member(name)) => {
            let known = members.contains_key(name);
            (members.entry(name.as_str()).or_insert(Value::Null), known)
        }
        (Value::Array(items), PathStep::Item(position)) => {
            let at = (*position).min(items.len());
            let known = at < items.len();
            if !known {
                items.push(Value::Null);
            }
            (&mut items[at], known)
        }
        _ => {
            let part = match step {
                PathStep::Member(name) => format!("member {name}"),
                PathStep::Item(position) => format!("item {position}"),
            };
            let message = format!("given both as a value and by its {part}");
            return Err(ValueProblem::new(&place.steps[..depth], message));
        }
    };
    assign(inner, known, place, depth + 1, value)
}

/// The first step on the path to this place that is an item of an array which lacks the items before it.
pub(super) fn step_after_gap(arguments: &Map<String, Value>, place: &ArgPath<'_>) -> Option<usize> {
    let mut here = None;
    for (depth, step) in place.steps.iter().enumerate() {
        here = match step {
            PathStep::Member(name) if depth == 0 => arguments.get(name),
            PathStep::Item(position) => {
                let length = here.and_then(Value::as_array).map_or(0, Vec::len);
                if *position > length && here.is_none_or(Value::is_array) {
                    return Some(depth);
                }
                here.and_then(|here| step.get_from(here))
            }
            PathStep::Member(_) => here.and_then(|here| step.get_from(here)),
        };
    }
    None
}

/// The problem of an item with missing items before it, which is at step `at` of the path.
pub(super) fn missing_items_problem(place: &ArgPath<'_>, at: usize) -> ValueProblem {
    ValueProblem::new(
        &place.steps[..=at],
        "the items before it are missing; positions start at 0 and must not have gaps",
    )
}
