//! Removes the keywords of a schema that cannot be used, so that everything else is still checked.
//!
//! A keyword that cannot be used (an external reference, an invalid regular expression) accepts every value. Keywords
//! around it that could reject a value because of that are relaxed too: a `not` around it, or a `oneOf` that now
//! matches twice.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::schema::dialect::Dialect;
use crate::schema::document::SchemaDocument;
use crate::schema::error::{SchemaError, UnusableKeyword};
use crate::schema::subschemas::{Subschemas, subschemas};

/// Arguments that were not fully checked, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncheckedArguments {
    /// Which arguments.
    pub extent: UncheckedExtent,
    /// What is wrong with the schema.
    pub reason: SchemaError,
}

/// Which arguments were not fully checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UncheckedExtent {
    /// All of them: nothing was checked.
    All,
    /// Some, but not only those of certain parameters.
    Partial,
    /// These parameters, or parts of them.
    Parameters(Vec<String>),
}

impl fmt::Display for UncheckedArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.extent {
            UncheckedExtent::All => f.write_str("the arguments are not checked")?,
            UncheckedExtent::Partial => f.write_str("the arguments are not fully checked")?,
            UncheckedExtent::Parameters(names) => match names.as_slice() {
                [name] => write!(f, "'{name}' is not fully checked")?,
                names => write!(f, "'{}' are not fully checked", names.join("', '"))?,
            },
        }
        write!(f, ": {}", self.reason)
    }
}

/// The schema without these keywords, and which arguments that leaves unchecked; `None` if a keyword is not found.
pub(super) fn relax(schema: &Value, keywords: &[UnusableKeyword]) -> Option<(Value, Vec<UncheckedArguments>)> {
    let document = SchemaDocument::new(schema);
    let mut graph = SubschemaGraph { document, dependents: HashMap::new() };
    graph.add_edges(schema);
    let mut relaxer =
        SchemaRelaxer { dialect: document.dialect(), removed_keywords: HashMap::new(), weakened: HashSet::new() };
    let mut unchecked: Vec<UncheckedArguments> = Vec::new();
    for unusable in keywords {
        let (owner, keyword) = owning_subschema(schema, &unusable.path)?;
        relaxer.removed_keywords.entry(node_identity(owner)).or_default().push(keyword);
        let dependents = graph.dependents_of(owner);
        let part = UncheckedArguments {
            extent: unchecked_extent(schema, &dependents, node_identity(owner)),
            reason: unusable.reason.clone(),
        };
        relaxer.weakened.extend(dependents);
        if !unchecked.contains(&part) && part.extent != UncheckedExtent::Parameters(Vec::new()) {
            unchecked.push(part);
        }
    }
    Some((relaxer.relax_schema(schema), unchecked))
}

/// Tells a node of the schema from others with the same content.
fn node_identity(value: &Value) -> *const Value {
    std::ptr::from_ref(value)
}

/// The innermost subschema on a path, and the keyword in it; without a keyword, the path is that of the subschema.
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
            // Member names of patternProperties are regular expressions: the name may be what is wrong.
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

/// Which arguments a removed keyword leaves unchecked: the parameters whose schemas depend on its owner.
fn unchecked_extent(root: &Value, dependents: &HashSet<*const Value>, owner: *const Value) -> UncheckedExtent {
    if !dependents.contains(&node_identity(root)) {
        // It is in an unused definition.
        return UncheckedExtent::Parameters(Vec::new());
    }
    let mut names = Vec::new();
    for (keyword, value) in root.as_object().into_iter().flatten() {
        let uses = || subschemas(keyword, value).iter().any(|schema| dependents.contains(&node_identity(schema)));
        match keyword.as_str() {
            "properties" => {
                let members = value.as_object().into_iter().flatten();
                names.extend(
                    members
                        .filter(|(_, schema)| dependents.contains(&node_identity(schema)))
                        .map(|(name, _)| name.clone()),
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

/// Which subschemas apply which others.
struct SubschemaGraph<'a> {
    document: SchemaDocument<'a>,
    /// By identity of a subschema: the subschemas that apply it.
    dependents: HashMap<*const Value, Vec<*const Value>>,
}

impl<'a> SubschemaGraph<'a> {
    /// Adds the users of this schema and of those in it. Recursion is safe: the survey has limited the size and depth.
    fn add_edges(&mut self, schema: &'a Value) {
        if let Some(target) = self.document.ref_target(schema) {
            self.dependents.entry(node_identity(target)).or_default().push(node_identity(schema));
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            for inner in subschemas(keyword, value).iter() {
                if !matches!(keyword.as_str(), "$defs" | "definitions") {
                    self.dependents.entry(node_identity(inner)).or_default().push(node_identity(schema));
                }
                self.add_edges(inner);
            }
        }
    }

    /// The subschema and all that depend on it, by identity.
    fn dependents_of(&self, from: &Value) -> HashSet<*const Value> {
        let mut reached = HashSet::from([node_identity(from)]);
        let mut waiting = vec![node_identity(from)];
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
    /// By identity of a subschema: the keywords to remove; `None` stands for the whole subschema.
    removed_keywords: HashMap<*const Value, Vec<Option<String>>>,
    /// The subschemas that accept more than before.
    weakened: HashSet<*const Value>,
}

impl SchemaRelaxer {
    fn relax_schema(&self, schema: &Value) -> Value {
        let removed = self.removed_keywords.get(&node_identity(schema)).map(Vec::as_slice).unwrap_or_default();
        if removed.contains(&None) {
            return Value::Bool(true);
        }
        let Some(members) = schema.as_object() else { return schema.clone() };
        let gone = |keyword: &str| removed.iter().flatten().any(|removed| removed == keyword);
        // Keywords that the reference made ineffective must not take effect without it.
        let bare = gone("$ref") && self.dialect.ref_ignores_siblings();
        let open = gone("properties") || gone("patternProperties");
        let mut kept = Map::new();
        for (keyword, value) in members {
            let weaker =
                || subschemas(keyword, value).iter().any(|schema| self.weakened.contains(&node_identity(schema)));
            let keeps = match keyword.as_str() {
                keyword if gone(keyword) => false,
                "$schema" | "$id" | "id" | "$defs" | "definitions" => true,
                _ if bare => false,
                "not" | "if" | "contains" => !weaker(),
                "unevaluatedProperties" | "unevaluatedItems" => !self.weakened.contains(&node_identity(schema)),
                "additionalProperties" => !open,
                "oneOf" if weaker() => {
                    if !members.contains_key("anyOf") {
                        kept.insert("anyOf".to_owned(), self.relax_subschemas(keyword, value));
                    }
                    false
                }
                _ => true,
            };
            if keeps {
                kept.insert(keyword.clone(), self.relax_subschemas(keyword, value));
            }
        }
        Value::Object(kept)
    }

    fn relax_subschemas(&self, keyword: &str, value: &Value) -> Value {
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
