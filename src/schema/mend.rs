//! A schema with bad spots, made one that judges all the rest.
//!
//! What cannot be judged (a reference to elsewhere, an expression that is none) is taken for fulfilled, and so
//! is whatever would turn that into a refusal: a `not` around it, a `oneOf` that may fit twice because of it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use super::dialect::{Below, Dialect, SchemaError, below};
use super::document::Document;

/// Part of the arguments that a schema could not judge, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// How far it reaches.
    pub extent: Extent,
    /// What is wrong with the schema.
    pub why: SchemaError,
}

/// How much of the arguments is in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Nothing was judged at all.
    All,
    /// More than single parameters.
    Some,
    /// These parameters, or parts of them.
    Parameters(Vec<String>),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.extent {
            Extent::All => f.write_str("the arguments are sent unchecked")?,
            Extent::Some => f.write_str("not all of the arguments are checked")?,
            Extent::Parameters(names) => match names.as_slice() {
                [name] => write!(f, "'{name}' is sent without a full check")?,
                names => write!(f, "'{}' are sent without a full check", names.join("', '"))?,
            },
        }
        write!(f, ": {}", self.why)
    }
}

/// A spot that cannot be judged: where its keyword stands in the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Names and positions down from the schema's root.
    pub path: Vec<String>,
    /// What is wrong there.
    pub why: SchemaError,
}

/// The schema without these spots, and how far each reached; `None` where one of them is not to be found.
pub(super) fn mend(schema: &Value, dialect: Dialect, spots: &[Spot]) -> Option<(Value, Vec<Doubt>)> {
    let mut graph = Graph { document: Document::with_dialect(schema, dialect), users: HashMap::new() };
    graph.walk(schema);
    let mut mender = Mender { dialect, removed: HashMap::new(), shaky: HashSet::new() };
    let mut doubts: Vec<Doubt> = Vec::new();
    for spot in spots {
        let (owner, keyword) = owner(schema, &spot.path)?;
        mender.removed.entry(address(owner)).or_default().push(keyword);
        let reached = graph.reached(owner);
        let doubt = Doubt { extent: extent(schema, &reached, address(owner)), why: spot.why.clone() };
        mender.shaky.extend(reached);
        if !doubts.contains(&doubt) && doubt.extent != Extent::Parameters(Vec::new()) {
            doubts.push(doubt);
        }
    }
    Some((mender.schema(schema), doubts))
}

/// Where in the schema a value stands that was met on a walk through it.
pub(super) fn path_to(schema: &Value, sought: *const Value) -> Option<Vec<String>> {
    search(schema, &|value, _| std::ptr::eq(value, sought)).into_iter().next()
}

/// The references that an error speaks of; the full validator does not say where they stand.
pub(super) fn references(schema: &Value, error: &SchemaError) -> Vec<Spot> {
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
    let paths = search(schema, &spoken_of);
    paths.into_iter().map(|path| Spot { path, why: error.clone() }).collect()
}

/// The ways to all values that are sought, by value and the name it stands under.
fn search(schema: &Value, sought: &dyn Fn(&Value, &str) -> bool) -> Vec<Vec<String>> {
    fn within(
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
            within(value, path, sought, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    within(schema, &mut Vec::new(), sought, &mut found);
    found
}

fn address(value: &Value) -> *const Value {
    std::ptr::from_ref(value)
}

/// The innermost subschema that a path leads through, and its keyword there; no keyword: the subschema itself.
fn owner<'a>(schema: &'a Value, path: &[String]) -> Option<(&'a Value, Option<String>)> {
    let (mut owner, mut at) = (schema, 0);
    while let Some(keyword) = path.get(at) {
        let value = owner.get(keyword)?;
        let deeper = match below(keyword, value) {
            Below::Nothing => None,
            Below::One(schema) => Some((schema, 1)),
            Below::List(schemas) => path
                .get(at + 1)
                .and_then(|step| step.parse::<usize>().ok())
                .and_then(|step| schemas.get(step))
                .map(|schema| (schema, 2)),
            Below::Named(schemas) => path.get(at + 1).and_then(|step| schemas.get(step)).map(|schema| (schema, 2)),
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
fn extent(root: &Value, reached: &HashSet<*const Value>, owner: *const Value) -> Extent {
    if !reached.contains(&address(root)) {
        // Nothing that applies uses it.
        return Extent::Parameters(Vec::new());
    }
    let mut names = Vec::new();
    for (keyword, value) in root.as_object().into_iter().flatten() {
        let uses = || below(keyword, value).schemas().any(|schema| reached.contains(&address(schema)));
        match keyword.as_str() {
            "properties" => {
                let members = value.as_object().into_iter().flatten();
                names.extend(
                    members.filter(|(_, schema)| reached.contains(&address(schema))).map(|(name, _)| name.clone()),
                );
            }
            "$defs" | "definitions" => {}
            "$ref" => return Extent::Some,
            _ if uses() => return Extent::Some,
            _ => {}
        }
    }
    if std::ptr::eq(root, owner) { Extent::Some } else { Extent::Parameters(names) }
}

/// Which subschemas apply others.
struct Graph<'a> {
    document: Document<'a>,
    /// By address: those that apply it.
    users: HashMap<*const Value, Vec<*const Value>>,
}

impl<'a> Graph<'a> {
    /// The survey has bounded the schema's size and depth.
    fn walk(&mut self, schema: &'a Value) {
        if let Some(target) = self.document.target(schema) {
            self.users.entry(address(target)).or_default().push(address(schema));
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            for inner in below(keyword, value).schemas() {
                if !matches!(keyword.as_str(), "$defs" | "definitions") {
                    self.users.entry(address(inner)).or_default().push(address(schema));
                }
                self.walk(inner);
            }
        }
    }

    /// The subschema and all that depend on it.
    fn reached(&self, from: &Value) -> HashSet<*const Value> {
        let mut reached = HashSet::from([address(from)]);
        let mut waiting = vec![address(from)];
        while let Some(schema) = waiting.pop() {
            for user in self.users.get(&schema).into_iter().flatten() {
                if reached.insert(*user) {
                    waiting.push(*user);
                }
            }
        }
        reached
    }
}

struct Mender {
    dialect: Dialect,
    /// By the address of a subschema: the keywords that go; `None` is all of it.
    removed: HashMap<*const Value, Vec<Option<String>>>,
    /// All subschemas that are weaker than they were.
    shaky: HashSet<*const Value>,
}

impl Mender {
    fn schema(&self, schema: &Value) -> Value {
        let removed = self.removed.get(&address(schema)).map(Vec::as_slice).unwrap_or_default();
        if removed.contains(&None) {
            return Value::Bool(true);
        }
        let Some(members) = schema.as_object() else { return schema.clone() };
        let gone = |keyword: &str| removed.iter().flatten().any(|removed| removed == keyword);
        // Where a reference stands alone, what it hid must not come to light.
        let bare = gone("$ref") && self.dialect.ref_stands_alone();
        let open = gone("properties") || gone("patternProperties");
        let mut kept = Map::new();
        for (keyword, value) in members {
            let weaker = || below(keyword, value).schemas().any(|schema| self.shaky.contains(&address(schema)));
            let keeps = match keyword.as_str() {
                keyword if gone(keyword) => false,
                "$schema" | "$id" | "id" | "$defs" | "definitions" => true,
                _ if bare => false,
                "not" | "if" | "contains" => !weaker(),
                "unevaluatedProperties" | "unevaluatedItems" => !self.shaky.contains(&address(schema)),
                "additionalProperties" => !open,
                "oneOf" if weaker() => {
                    if !members.contains_key("anyOf") {
                        kept.insert("anyOf".to_owned(), self.value(keyword, value));
                    }
                    false
                }
                _ => true,
            };
            if keeps {
                kept.insert(keyword.clone(), self.value(keyword, value));
            }
        }
        Value::Object(kept)
    }

    fn value(&self, keyword: &str, value: &Value) -> Value {
        match below(keyword, value) {
            Below::Nothing => value.clone(),
            Below::One(schema) => self.schema(schema),
            Below::List(schemas) => schemas.iter().map(|schema| self.schema(schema)).collect(),
            Below::Named(schemas) => {
                schemas.iter().map(|(name, schema)| (name.clone(), self.schema(schema))).collect::<Map<_, _>>().into()
            }
        }
    }
}
