//! The validator for everyday schemas.
//!
//! Nearly all tools use a handful of keywords. Checking those here takes some thousand instructions, while the full
//! validator first compiles its meta-schema, which costs more than the whole start of mcpipe
//! (`docs/dependencies.md`). Anything that is not fully supported here is left to the full validator, as soon as a
//! value reaches it; a test checks that both validators agree.
//!
//! It runs on the thread that everything else runs on, so its work is limited by a budget.

use std::cmp::Ordering;
use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::schema::document::SchemaDocument;
use crate::schema::number;
use crate::schema::problem::{CountUnit, MAX_PROBLEMS, ValueProblem};
use crate::schema::types::TypeSet;
use crate::schema::value_path::PathStep;

/// The budget of one validation; beyond it the full validator, which has a time limit, takes over.
const BUDGET: usize = 160_000;
/// The budget of a quick check.
const QUICK_BUDGET: usize = 16_000;
/// What it costs to validate one value by one schema; to compare two values costs 1.
const VALIDATION_COST: usize = 16;
/// What it costs to compile a pattern.
const PATTERN_COST: usize = 2_000;
/// How many bytes of text are matched against a pattern for a cost of 1.
const BYTES_PER_COST: usize = 16;
/// The deepest nesting; a schema that refers to itself without end stops here.
const MAX_DEPTH: usize = 200;
/// The largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 18;
/// The longest array whose items are compared with each other.
const MAX_COMPARED_ITEMS: usize = 200;

/// Validates `value` by `schema`, a part of `document`; `None` if that is left to the full validator.
pub(super) fn validate_fast<'a>(
    document: SchemaDocument<'a>,
    schema: &'a Value,
    value: &'a Value,
) -> Option<Vec<ValueProblem>> {
    let mut validator = FastValidator::new(document, BUDGET);
    validator.validate(schema, value, 0)?;
    Some(validator.problems)
}

/// Whether `schema` accepts `value`; `None` if a quick check cannot decide that.
pub(super) fn quick_accepts<'a>(document: SchemaDocument<'a>, schema: &'a Value, value: &'a Value) -> Option<bool> {
    let mut validator = FastValidator::new(document, QUICK_BUDGET);
    validator.validate(schema, value, 0)?;
    Some(validator.problems.is_empty())
}

/// One step to the value that is validated. Only for a problem it becomes a [`PathStep`].
enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

struct FastValidator<'a> {
    document: SchemaDocument<'a>,
    budget: usize,
    path: Vec<Step<'a>>,
    problems: Vec<ValueProblem>,
    /// The compiled patterns.
    patterns: HashMap<&'a str, Regex>,
}

/// `None`: left to the full validator.
type Decided = Option<()>;

/// The keywords of a schema that are supported, found in one pass: most schemas have few of them.
#[derive(Default)]
struct Keywords<'a> {
    reference: Option<&'a Value>,
    types: Option<&'a Value>,
    constant: Option<&'a Value>,
    choices: Option<&'a Value>,
    required: Option<&'a Value>,
    properties: Option<&'a Value>,
    additional_properties: Option<&'a Value>,
    properties_count: CountRange<'a>,
    items: Option<&'a Value>,
    unique_items: Option<&'a Value>,
    items_count: CountRange<'a>,
    pattern: Option<&'a Value>,
    length: CountRange<'a>,
    /// `minimum`, `maximum`, `exclusiveMinimum` and `exclusiveMaximum`.
    bounds: [Option<&'a Value>; 4],
    multiple_of: Option<&'a Value>,
    all_of: Option<&'a Value>,
    any_of: Option<&'a Value>,
    one_of: Option<&'a Value>,
    not: Option<&'a Value>,
    /// Whether there are keywords that are not supported: for any value, for objects and for arrays.
    has_unsupported: bool,
    has_unsupported_for_objects: bool,
    has_unsupported_for_arrays: bool,
}

/// The least and the most.
type CountRange<'a> = [Option<&'a Value>; 2];

impl<'a> Keywords<'a> {
    fn new(members: &'a Map<String, Value>) -> Self {
        let mut keywords = Keywords::default();
        for (keyword, value) in members {
            let place = match keyword.as_str() {
                "$ref" => &mut keywords.reference,
                "type" => &mut keywords.types,
                "const" => &mut keywords.constant,
                "enum" => &mut keywords.choices,
                "required" => &mut keywords.required,
                "properties" => &mut keywords.properties,
                "additionalProperties" => &mut keywords.additional_properties,
                "minProperties" => &mut keywords.properties_count[0],
                "maxProperties" => &mut keywords.properties_count[1],
                "items" => &mut keywords.items,
                "uniqueItems" => &mut keywords.unique_items,
                "minItems" => &mut keywords.items_count[0],
                "maxItems" => &mut keywords.items_count[1],
                "pattern" => &mut keywords.pattern,
                "minLength" => &mut keywords.length[0],
                "maxLength" => &mut keywords.length[1],
                "minimum" => &mut keywords.bounds[0],
                "maximum" => &mut keywords.bounds[1],
                "exclusiveMinimum" => &mut keywords.bounds[2],
                "exclusiveMaximum" => &mut keywords.bounds[3],
                "multipleOf" => &mut keywords.multiple_of,
                "allOf" => &mut keywords.all_of,
                "anyOf" => &mut keywords.any_of,
                "oneOf" => &mut keywords.one_of,
                "not" => &mut keywords.not,
                "if" | "$dynamicRef" | "$recursiveRef" => {
                    keywords.has_unsupported = true;
                    continue;
                }
                "patternProperties"
                | "propertyNames"
                | "dependentRequired"
                | "dependentSchemas"
                | "dependencies"
                | "unevaluatedProperties" => {
                    keywords.has_unsupported_for_objects = true;
                    continue;
                }
                "contains" | "prefixItems" | "unevaluatedItems" | "additionalItems" => {
                    keywords.has_unsupported_for_arrays = true;
                    continue;
                }
                _ => continue,
            };
            *place = Some(value);
        }
        keywords
    }
}

impl<'a> FastValidator<'a> {
    fn new(document: SchemaDocument<'a>, budget: usize) -> Self {
        FastValidator { document, budget, path: Vec::new(), problems: Vec::new(), patterns: HashMap::new() }
    }

    fn spend(&mut self, cost: usize) -> Decided {
        self.budget = self.budget.checked_sub(cost)?;
        Some(())
    }

    fn validate(&mut self, schema: &'a Value, value: &'a Value, depth: usize) -> Decided {
        self.spend(VALIDATION_COST).filter(|()| depth <= MAX_DEPTH)?;
        let members = match schema {
            Value::Bool(true) => return Some(()),
            Value::Bool(false) => {
                self.report(ValueProblem::not_allowed(&self.path()));
                return Some(());
            }
            Value::Object(members) => members,
            _ => return None,
        };
        let keywords = Keywords::new(members);
        if let Some(reference) = keywords.reference {
            let target = self.document.resolve_reference(reference.as_str()?)?;
            self.validate(target, value, depth + 1)?;
            if self.document.dialect().ref_ignores_siblings() {
                return Some(());
            }
        }
        if keywords.has_unsupported {
            return None;
        }
        self.validate_type_and_enum(&keywords, value)?;
        match value {
            Value::Object(object) => self.validate_object(schema, &keywords, object, depth)?,
            Value::Array(items) => self.validate_array(&keywords, items, depth)?,
            Value::String(text) => self.validate_string(&keywords, text, value)?,
            Value::Number(number) => self.validate_number(&keywords, number, value)?,
            Value::Bool(_) | Value::Null => {}
        }
        self.validate_compositions(&keywords, value, depth)
    }

    fn report(&mut self, problem: ValueProblem) {
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Validates by one branch: returns the problems instead of reporting them.
    fn validate_separately(&mut self, schema: &'a Value, value: &'a Value, depth: usize) -> Option<Vec<ValueProblem>> {
        let before = std::mem::take(&mut self.problems);
        let judged = self.validate(schema, value, depth + 1);
        let found = std::mem::replace(&mut self.problems, before);
        judged.map(|()| found)
    }

    /// Validates one member or item.
    fn validate_child(&mut self, step: Step<'a>, schema: &'a Value, value: &'a Value, depth: usize) -> Decided {
        self.path.push(step);
        let judged = self.validate(schema, value, depth + 1);
        self.path.pop();
        judged
    }

    fn path(&self) -> Vec<PathStep> {
        let step = |step: &Step<'a>| match step {
            Step::Member(name) => PathStep::member(*name),
            Step::Item(position) => PathStep::Item(*position),
        };
        self.path.iter().map(step).collect()
    }

    fn path_of_member(&self, name: &str) -> Vec<PathStep> {
        let mut path = self.path();
        path.push(PathStep::member(name));
        path
    }

    fn validate_type_and_enum(&mut self, keywords: &Keywords<'a>, value: &'a Value) -> Decided {
        if let Some(keyword) = keywords.types {
            let kinds = TypeSet::from_keyword(keyword)?;
            if !kinds.contains(TypeSet::of_value(value)) {
                self.report(ValueProblem::wrong_type(&self.path(), kinds, value));
                return Some(());
            }
        }
        let constant = keywords.constant.map(std::slice::from_ref);
        let listed = keywords.choices.map(|values| values.as_array().map(Vec::as_slice));
        for allowed in [constant, listed.map_or(Some(None), |list| list.map(Some))?].into_iter().flatten() {
            if !self.contains_equal(allowed, value)? {
                self.report(ValueProblem::not_in_enum(&self.path(), allowed, value));
            }
        }
        Some(())
    }

    fn validate_object(
        &mut self,
        schema: &'a Value,
        keywords: &Keywords<'a>,
        object: &'a Map<String, Value>,
        depth: usize,
    ) -> Decided {
        if !object.is_empty() && keywords.has_unsupported_for_objects {
            return None;
        }
        for name in keywords.required.and_then(Value::as_array).into_iter().flatten() {
            let name = name.as_str()?;
            if !object.contains_key(name) {
                self.report(ValueProblem::missing(&self.path_of_member(name)));
            }
        }
        let properties = keywords.properties.and_then(Value::as_object);
        for (name, value) in object {
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => self.validate_child(Step::Member(name), schema, value, depth)?,
                None => match keywords.additional_properties {
                    None | Some(Value::Bool(true)) => {}
                    Some(Value::Bool(false)) if self.problems.len() >= MAX_PROBLEMS => {}
                    Some(Value::Bool(false)) => {
                        let path = self.path_of_member(name);
                        let known = self.document.property_names(schema);
                        self.report(ValueProblem::unknown_parameter(&path, known));
                    }
                    Some(schema) => self.validate_child(Step::Member(name), schema, value, depth)?,
                },
            }
        }
        self.validate_count(keywords.properties_count, object.len(), CountUnit::Members)
    }

    fn validate_array(&mut self, keywords: &Keywords<'a>, items: &'a [Value], depth: usize) -> Decided {
        if keywords.has_unsupported_for_arrays {
            return None;
        }
        match keywords.items {
            None => {}
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => {
                for (position, item) in items.iter().enumerate() {
                    self.validate_child(Step::Item(position), schema, item, depth)?;
                }
            }
            Some(_) => return None,
        }
        if keywords.unique_items == Some(&Value::Bool(true)) {
            if items.len() > MAX_COMPARED_ITEMS {
                return None;
            }
            for (position, item) in items.iter().enumerate() {
                if self.contains_equal(&items[..position], item)? {
                    self.report(ValueProblem::duplicate_items(&self.path()));
                    break;
                }
            }
        }
        self.validate_count(keywords.items_count, items.len(), CountUnit::Items)
    }

    fn validate_string(&mut self, keywords: &Keywords<'a>, text: &str, value: &'a Value) -> Decided {
        if let Some(pattern) = keywords.pattern {
            let pattern = pattern.as_str()?;
            if !self.matches_pattern(pattern, text)? {
                self.report(ValueProblem::pattern_mismatch(&self.path(), pattern).with_value(value));
            }
        }
        let before = self.problems.len();
        if keywords.length != [None; 2] {
            self.validate_count(keywords.length, text.chars().count(), CountUnit::Characters)?;
        }
        for problem in &mut self.problems[before..] {
            *problem = problem.clone().with_value(value);
        }
        Some(())
    }

    fn validate_number(&mut self, keywords: &Keywords<'a>, number: &Number, value: &'a Value) -> Decided {
        type LimitTest = fn(Ordering) -> bool;
        const TESTS: [(LimitTest, &str); 4] = [
            (Ordering::is_ge, "at least"),
            (Ordering::is_le, "at most"),
            (Ordering::is_gt, "more than"),
            (Ordering::is_lt, "less than"),
        ];
        for (limit, (fits, words)) in keywords.bounds.into_iter().zip(TESTS) {
            let Some(limit) = limit else { continue };
            let Value::Number(bound) = limit else { return None };
            if !fits(number::compare(number, bound)?) {
                self.report(ValueProblem::new(&self.path(), format!("must be {words} {bound}")).with_value(value));
            }
        }
        if let Some(step) = keywords.multiple_of {
            // Only integers: decimal fractions are left to the full validator.
            let whole = |number: &Number| number::plain_integer(number)?.parse::<i64>().ok();
            let step = whole(step.as_number()?).filter(|step| *step > 0)?;
            if whole(number)? % step != 0 {
                self.report(ValueProblem::new(&self.path(), format!("must be a multiple of {step}")).with_value(value));
            }
        }
        Some(())
    }

    fn validate_count(&mut self, [least, most]: CountRange<'a>, count: usize, unit: CountUnit) -> Decided {
        let limit = |value: Option<&Value>| match value {
            None => Some(None),
            Some(value) => value.as_u64().map(Some),
        };
        let count = count as u64;
        let (least, most) = (limit(least)?, limit(most)?);
        if let Some(least) = least.filter(|least| count < *least) {
            self.report(ValueProblem::too_few(&self.path(), least, unit));
        }
        if let Some(most) = most.filter(|most| count > *most) {
            self.report(ValueProblem::too_many(&self.path(), most, unit));
        }
        Some(())
    }

    fn validate_compositions(&mut self, keywords: &Keywords<'a>, value: &'a Value, depth: usize) -> Decided {
        for schema in branch_schemas(keywords.all_of)? {
            self.validate(schema, value, depth + 1)?;
        }
        for (branches, is_exclusive) in [(keywords.any_of, false), (keywords.one_of, true)] {
            let schemas = branch_schemas(branches)?;
            if schemas.is_empty() {
                continue;
            }
            let trials: Vec<Vec<ValueProblem>> =
                schemas.iter().map(|schema| self.validate_separately(schema, value, depth)).collect::<Option<_>>()?;
            match trials.iter().filter(|problems| problems.is_empty()).count() {
                0 => match schemas.iter().map(|schema| schema.get("const").cloned()).collect::<Option<Vec<Value>>>() {
                    // The titled choice of elicitation forms is a oneOf of constants.
                    Some(constants) => self.report(ValueProblem::not_in_enum(&self.path(), &constants, value)),
                    None => {
                        for problem in ValueProblem::no_branch_matches(&self.path(), value, trials) {
                            self.report(problem);
                        }
                    }
                },
                1 => {}
                _ if is_exclusive => {
                    self.report(ValueProblem::several_branches_match(&self.path(), value));
                }
                _ => {}
            }
        }
        if let Some(schema) = keywords.not
            && self.validate_separately(schema, value, depth)?.is_empty()
        {
            self.report(ValueProblem::excluded(&self.path(), value));
        }
        Some(())
    }

    /// Whether a pattern of ECMA-262 matches a part of the text.
    ///
    /// Patterns with lookaround or backreferences are left to the full validator: they need an engine whose time is
    /// not bounded by the length of the text.
    fn matches_pattern(&mut self, pattern: &'a str, text: &str) -> Option<bool> {
        self.spend(text.len() / BYTES_PER_COST)?;
        if !self.patterns.contains_key(pattern) {
            self.spend(PATTERN_COST)?;
            let translated = jsonschema_regex::to_rust_regex(pattern).ok()?;
            let compiled = regex::RegexBuilder::new(&translated).size_limit(MAX_PATTERN_BYTES).build().ok()?;
            self.patterns.insert(pattern, compiled);
        }
        Some(self.patterns.get(pattern)?.is_match(text))
    }

    fn contains_equal(&mut self, values: &[Value], value: &'a Value) -> Option<bool> {
        for other in values {
            if self.json_equal(other, value)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Equality as defined by JSON Schema: numbers by value, members in any order.
    fn json_equal(&mut self, left: &Value, right: &Value) -> Option<bool> {
        self.spend(1)?;
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => Some(number::compare(left, right)? == Ordering::Equal),
            (Value::Array(left), Value::Array(right)) => {
                if left.len() != right.len() {
                    return Some(false);
                }
                for (left, right) in left.iter().zip(right) {
                    if !self.json_equal(left, right)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            (Value::Object(left), Value::Object(right)) => {
                if left.len() != right.len() {
                    return Some(false);
                }
                for (name, left) in left {
                    match right.get(name) {
                        Some(right) if self.json_equal(left, right)? => {}
                        _ => return Some(false),
                    }
                }
                Some(true)
            }
            (left, right) => Some(left == right),
        }
    }
}

/// The subschemas under a keyword; empty if it is absent.
fn branch_schemas(keyword: Option<&Value>) -> Option<&[Value]> {
    match keyword {
        None => Some(&[]),
        Some(value) => value.as_array().map(Vec::as_slice),
    }
}
