//! Assigns one value to its place in the arguments.

use serde_json::{Map, Value};

use crate::args::path::ArgPath;
use crate::schema::ArgumentProblem;

/// Sets the value at `place`, from step `depth` on, within `slot`; creates missing objects and arrays.
///
/// `known`: whether `slot` already has a value.
pub(super) fn assign(
    slot: &mut Value,
    known: bool,
    place: &ArgPath<'_>,
    depth: usize,
    value: Value,
) -> Result<(), ArgumentProblem> {
    let (Some(step), Some(position)) = (place.steps.get(depth), place.step_is_index.get(depth)) else {
        *slot = value;
        return Ok(());
    };
    if !known {
        *slot = if *position { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    let (inner, known) = match slot {
        Value::Object(members) if !*position => {
            let known = members.contains_key(step);
            (members.entry(step.as_str()).or_insert(Value::Null), known)
        }
        Value::Array(items) if *position => {
            let at = step.parse().unwrap_or(items.len()).min(items.len());
            let known = at < items.len();
            if !known {
                items.push(Value::Null);
            }
            (&mut items[at], known)
        }
        _ => {
            let what = if *position { "item" } else { "member" };
            let message = format!("given both as a value and by its {what} {step}");
            return Err(ArgumentProblem::new(&place.steps[..depth], message));
        }
    };
    assign(inner, known, place, depth + 1, value)
}

/// The member of an object or item of an array.
pub(super) fn child<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => value.get(step),
    }
}

/// Whether an array on the path to this place lacks items before it.
pub(super) fn has_missing_items(arguments: &Map<String, Value>, place: &ArgPath<'_>) -> bool {
    let mut here = place.steps.first().and_then(|first| arguments.get(first));
    for (step, position) in place.steps.iter().zip(&place.step_is_index).skip(1) {
        here = if *position {
            let items = here.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let at: usize = step.parse().unwrap_or_default();
            if at > items.len() && here.is_none_or(Value::is_array) {
                return true;
            }
            items.get(at)
        } else {
            here.and_then(|here| here.get(step))
        };
    }
    false
}

/// The problem of an item with missing items before it.
pub(super) fn missing_items_problem(place: &ArgPath<'_>) -> ArgumentProblem {
    let last = place.step_is_index.iter().rposition(|position| *position).unwrap_or_default();
    ArgumentProblem::new(
        &place.steps[..=last],
        "the items before it are missing; positions start at 0 and must not have gaps",
    )
}
