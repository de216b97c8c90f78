//! A schema with bad spots, made one that judges all the rest.
//!
//! What cannot be judged (a reference to elsewhere, an expression that is none) is taken for fulfilled, and so
//! is whatever would turn that into a refusal: a `not` around it, a `oneOf` that may fit twice because of it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use super::dialect::{Dialect, SchemaError, Subschemas, subschemas};
use super::document::SchemaDocument;

/// Part of the arguments that a schema could not judge, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncheckedArguments {
    /// How far it reaches.
    pub extent: UncheckedExtent,
    /// What is wrong with the schema.
    pub reason: SchemaError,
}

/// How much of the arguments is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UncheckedExtent {
    /// Nothing was judged at all.
    All,
    /// More than single parameters.
    Partial,
    /// These parameters, or parts of them.
    Parameters(Vec<String>),
}

impl fmt::Display for UncheckedArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.extent {
            UncheckedExtent::All => f.write_str("the arguments are sent unchecked")?,
            UncheckedExtent::Partial => f.write_str("not all of the arguments are checked")?,
            UncheckedExtent::Parameters(names) => match names.as_slice() {
                [name] => write!(f, "'{name}' is sent without a full check")?,
                names => write!(f, "'{}' are sent without a full check", names.join("', '"))?,
            },
        }
        write!(f, ": {}", self.reason)
    }
}

/// A spot that cannot be judged: where its keyword stands in the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unjudgeable {
    /// Names and positions down from the schema's root.
    pub path: Vec<String>,
    /// What is wrong there.
    pub reason: SchemaError,
}

/// The schema without these spots, and how far each reached; `None` where one of them is not to be found.
pub(super) fn relax(
    schema: &Value,
    dialect: Dialect,
    spots: &[Unjudgeable],
) -> Option<(Value, Vec<UncheckedArguments>)> {
    let mut graph =
        SubschemaGraph { document: SchemaDocument::with_dialect(schema, dialect), dependents: HashMap::new() };
    graph.add_schema(schema);
    let mut mender = SchemaRelaxer { dialect, removed_keywords: HashMap::new(), weakened: HashSet::new() };
    let mut doubts: Vec<UncheckedArguments> = Vec::new();
    for spot in spots {
        let (owner, keyword) = owning_subschema(schema, &spot.path)?;
        mender.removed_keywords.entry(address(owner)).or_default().push(keyword);
        let reached = graph.dependents_of(owner);
        let doubt = UncheckedArguments {
            extent: unchecked_extent(schema, &reached, address(owner)),
            reason: spot.reason.clone(),
        };
        mender.weakened.extend(reached);
        if !doubts.contains(&doubt) && doubt.extent != UncheckedExtent::Parameters(Vec::new()) {
            doubts.push(doubt);
        }
    }
    Some((mender.relax_schema(schema), doubts))
}

/// Where in the schema a value stands that was met on a walk through it.
pub(super) fn find_path(schema: &Value, sought: *const Value) -> Option<Vec<String>> {
    find_paths(schema, &|value, _| std::ptr::eq(value, sought)).into_iter().next()
}

/// The references that an error speaks of; the full validator does not say where they stand.
pub(super) fn find_references(schema: &Value, error: &SchemaError) -> Vec<Unjudgeable> {
    let spoken_of = |value: &Value, keyword: &str| {
        let Some(reference) = value.as_str().filter(|_| keyword == "$ref" || keyword == "$dynamicRef") else {
            return false;
        };
        match error {
            SchemaError::ExternalRef(_) => !reference.starts_with('#'),
            SchemaError::DanglingRef(sought) => reference.ends_with(sought.trim_start_matches('#')),
            _ => false,
        }
    };
    let paths = find_paths(schema, &spoken_of);
    paths.into_iter().map(|path| Unjudgeable { path, reason: error.clone() }).collect()
}

/// The ways to all values that are sought, by value and the name it stands under.
fn find_paths(schema: &Value, sought: &dyn Fn(&Value, &str) -> bool) -> Vec<Vec<String>> {
    fn visit(
        value: &Value,
        path: &mut Vec<String>,
        sought: &dyn Fn(&Value, &str) -> bool,
        found: &mut Vec<Vec<String>>,
    ) {
        if sought(value, path.last().map_or("", String::as_str)) {
            found.push(path.clone());
        }
        let members = value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value));
        let items = value.as_array().into_iter().flatten().enumerate().map(|(at, value)| (at.to_string(), value));
        for (step, value) in members.chain(items) {
            path.push(step);
            visit(value, path, sought, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    visit(schema, &mut Vec::new(), sought, &mut found);
    found
}

fn address(value: &Value) -> *const Value {
    std::ptr::from_ref(value)
}

/// The innermost subschema that a path leads through, and its keyword there; no keyword: the subschema itself.
fn owning_subschema<'a>(schema: &'a Value, path: &[String]) -> Option<(&'a Value, Option<String>)> {
    let (mut owner, mut at) = (schema, 0);
    while let Some(keyword) = path.get(at) {
        let value = owner.get(keyword)?;
        let deeper = match subschemas(keyword, value) {
            Subschemas::Empty => None,
            Subschemas::Single(schema) => Some((schema, 1)),
            Subschemas::List(schemas) => path
                .get(at + 1)
                .and_then(|step| step.parse::<usize>().ok())
                .and_then(|step| schemas.get(step))
                .map(|schema| (schema, 2)),
            Subschemas::Named(schemas) => path.get(at + 1).and_then(|step| schemas.get(step)).map(|schema| (schema, 2)),
        };
        match deeper {
            // The name of a member there is an expression: what is wrong may be that.
            Some((_, steps)) if keyword == "patternProperties" && path.len() == at + steps => {
                return Some((owner, Some(keyword.clone())));
            }
            Some((schema, steps)) if schema.is_object() || path.len() == at + steps => {
                owner = schema;
                at += steps;
            }
            _ => return Some((owner, Some(keyword.clone()))),
        }
    }
    Some((owner, None))
}

/// How far a spot reaches: the parameters whose schemas use it.
fn unchecked_extent(root: &Value, reached: &HashSet<*const Value>, owner: *const Value) -> UncheckedExtent {
    if !reached.contains(&address(root)) {
        // Nothing that applies uses it.
        return UncheckedExtent::Parameters(Vec::new());
    }
    let mut names = Vec::new();
    for (keyword, value) in root.as_object().into_iter().flatten() {
        let uses = || subschemas(keyword, value).iter().any(|schema| reached.contains(&address(schema)));
        match keyword.as_str() {
            "properties" => {
                let members = value.as_object().into_iter().flatten();
                names.extend(
                    members.filter(|(_, schema)| reached.contains(&address(schema))).map(|(name, _)| name.clone()),
                );
            }
            "$defs" | "definitions" => {}
            "$ref" => return UncheckedExtent::Partial,
            _ if uses() => return UncheckedExtent::Partial,
            _ => {}
        }
    }
    if std::ptr::eq(root, owner) { UncheckedExtent::Partial } else { UncheckedExtent::Parameters(names) }
}

/// Which subschemas apply others.
struct SubschemaGraph<'a> {
    document: SchemaDocument<'a>,
    /// By address: those that apply it.
    dependents: HashMap<*const Value, Vec<*const Value>>,
}

impl<'a> SubschemaGraph<'a> {
    /// The survey has bounded the schema's size and depth.
    fn add_schema(&mut self, schema: &'a Value) {
        if let Some(target) = self.document.ref_target(schema) {
            self.dependents.entry(address(target)).or_default().push(address(schema));
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            for inner in subschemas(keyword, value).iter() {
                if !matches!(keyword.as_str(), "$defs" | "definitions") {
                    self.dependents.entry(address(inner)).or_default().push(address(schema));
                }
                self.add_schema(inner);
            }
        }
    }

    /// The subschema and all that depend on it.
    fn dependents_of(&self, from: &Value) -> HashSet<*const Value> {
        let mut reached = HashSet::from([address(from)]);
        let mut waiting = vec![address(from)];
        while let Some(schema) = waiting.pop() {
            for user in self.dependents.get(&schema).into_iter().flatten() {
                if reached.insert(*user) {
                    waiting.push(*user);
                }
            }
        }
        reached
    }
}

struct SchemaRelaxer {
    dialect: Dialect,
    /// By the address of a subschema: the keywords that go; `None` is all of it.
    removed_keywords: HashMap<*const Value, Vec<Option<String>>>,
    /// All subschemas that are weaker than they were.
    weakened: HashSet<*const Value>,
}

impl SchemaRelaxer {
    fn relax_schema(&self, schema: &Value) -> Value {
        let removed = self.removed_keywords.get(&address(schema)).map(Vec::as_slice).unwrap_or_default();
        if removed.contains(&None) {
            return Value::Bool(true);
        }
        let Some(members) = schema.as_object() else { return schema.clone() };
        let gone = |keyword: &str| removed.iter().flatten().any(|removed| removed == keyword);
        // Where a reference stands alone, what it hid must not come to light.
        let bare = gone("$ref") && self.dialect.ref_ignores_siblings();
        let open = gone("properties") || gone("patternProperties");
        let mut kept = Map::new();
        for (keyword, value) in members {
            let weaker = || subschemas(keyword, value).iter().any(|schema| self.weakened.contains(&address(schema)));
            let keeps = match keyword.as_str() {
                keyword if gone(keyword) => false,
                "$schema" | "$id" | "id" | "$defs" | "definitions" => true,
                _ if bare => false,
                "not" | "if" | "contains" => !weaker(),
                "unevaluatedProperties" | "unevaluatedItems" => !self.weakened.contains(&address(schema)),
                "additionalProperties" => !open,
                "oneOf" if weaker() => {
                    if !members.contains_key("anyOf") {
                        kept.insert("anyOf".to_owned(), self.relax_keyword(keyword, value));
                    }
                    false
                }
                _ => true,
            };
            if keeps {
                kept.insert(keyword.clone(), self.relax_keyword(keyword, value));
            }
        }
        Value::Object(kept)
    }

    fn relax_keyword(&self, keyword: &str, value: &Value) -> Value {
        match subschemas(keyword, value) {
            Subschemas::Empty => value.clone(),
            Subschemas::Single(schema) => self.relax_schema(schema),
            Subschemas::List(schemas) => schemas.iter().map(|schema| self.relax_schema(schema)).collect(),
            Subschemas::Named(schemas) => schemas
                .iter()
                .map(|(name, schema)| (name.clone(), self.relax_schema(schema)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
}
