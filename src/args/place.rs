//! The place in the arguments that a name means, and the value that goes there.

use serde_json::Value;

use super::nearest;
use super::words::{Content, Given};
use crate::schema::{Document, Kinds, Misfit, Problem, Property, coerce, coerce_text};

/// The most members that one name leads down through; a longer name is taken literally.
const DEEPEST: usize = 64;

/// The most schemas that describe one place and are looked at.
const MOST_SCHEMAS: usize = 64;

/// A place in the arguments.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    /// The member names that lead to it.
    pub path: Vec<String>,
    /// The schemas that describe it; none where nothing is known.
    schemas: Vec<&'a Value>,
}

/// A name that means no place.
#[derive(Clone, Debug)]
pub(super) struct Trouble(pub Problem);

impl<'a> Place<'a> {
    /// A top-level parameter of exactly that name.
    pub fn literal(document: Option<Document<'a>>, name: &str) -> Place<'a> {
        let schemas = match document.map(|document| document.property(document.root(), name)) {
            Some(Property::Declared(parts) | Property::Allowed(parts)) => parts,
            Some(Property::Unknown) | None => Vec::new(),
        };
        Place { path: vec![name.to_owned()], schemas }
    }

    /// What a name means: a property of that very name first, else members of members.
    pub fn find(document: Option<Document<'a>>, name: &str) -> Result<Place<'a>, Trouble> {
        let mut place = Place { path: Vec::new(), schemas: Vec::new() };
        let segments = name.split('.').count();
        let splits = segments <= DEEPEST && name.split('.').all(|segment| !segment.is_empty());
        match document {
            Some(document) => {
                place.schemas.push(document.root());
                place.descend(document, name, splits)?;
            }
            None if splits => place.path = name.split('.').map(ToOwned::to_owned).collect(),
            None => place.path.push(name.to_owned()),
        }
        Ok(place)
    }

    fn descend(&mut self, document: Document<'a>, name: &str, splits: bool) -> Result<(), Trouble> {
        if let Property::Declared(parts) = self.member(document, name) {
            self.step(name, parts);
            return Ok(());
        }
        // The longest declared name wins: with a property "x.y", the word x.y.z=1 means its member z.
        let dots = || name.rmatch_indices('.').map(|(at, _)| at).filter(|_| splits);
        for at in dots() {
            let (head, tail) = (&name[..at], &name[at + 1..]);
            let Property::Declared(parts) = self.member(document, head) else { continue };
            let objects = parts.iter().any(|part| document.kinds(part).holds(Kinds::OBJECT));
            self.step(head, parts);
            if !objects {
                let kinds = document.kinds_of_any(&self.schemas);
                return Err(Trouble(Problem::new(&self.path, format!("takes {kinds}, which has no member {tail}"))));
            }
            return self.descend(document, tail, splits);
        }
        let (head, tail) = match name.split_once('.') {
            Some((head, tail)) if splits => (head, Some(tail)),
            _ => (name, None),
        };
        match self.member(document, head) {
            Property::Declared(parts) | Property::Allowed(parts) => {
                self.step(head, parts);
                match tail {
                    Some(tail) if self.schemas.is_empty() => {
                        self.path.extend(tail.split('.').map(ToOwned::to_owned));
                        Ok(())
                    }
                    Some(tail) => self.descend(document, tail, splits),
                    None => Ok(()),
                }
            }
            Property::Unknown => {
                let known: Vec<&str> = self.schemas.iter().flat_map(|schema| document.names(schema)).collect();
                let nested = !self.path.is_empty();
                self.path.push(head.to_owned());
                let mut problem = Problem::unknown(&self.path, known);
                if !nested && problem.suggestion.is_none() && tail.is_some() {
                    problem.suggestion = nearest(Some(document), name);
                }
                Err(Trouble(problem))
            }
        }
    }

    fn step(&mut self, name: &str, schemas: Vec<&'a Value>) {
        self.path.push(name.to_owned());
        self.schemas = schemas;
    }

    /// What the schemas of this place say of a member.
    fn member(&self, document: Document<'a>, name: &str) -> Property<'a> {
        let (mut declared, mut allowed, mut open) = (Vec::new(), Vec::new(), self.schemas.is_empty());
        for schema in &self.schemas {
            match document.property(schema, name) {
                Property::Declared(parts) => declared.extend(parts),
                Property::Allowed(parts) => {
                    open = true;
                    allowed.extend(parts);
                }
                Property::Unknown => {}
            }
        }
        declared.truncate(MOST_SCHEMAS);
        allowed.truncate(MOST_SCHEMAS);
        match (declared.is_empty(), open) {
            (false, _) => Property::Declared(declared),
            (true, true) => Property::Allowed(allowed),
            (true, false) => Property::Unknown,
        }
    }

    /// The value of this place from all that was given for it.
    pub fn value(&self, document: Option<Document<'a>>, given: &[Given]) -> Result<Value, Problem> {
        if let [only] = given {
            return self.read(document, &self.schemas, only);
        }
        // Repeated: an array, but only where the schema says so.
        let listed = document.filter(|document| {
            let kinds = document.kinds_of_any(&self.schemas);
            kinds != Kinds::ALL && kinds.holds(Kinds::ARRAY)
        });
        let Some(document) = listed else {
            let times = if given.len() == 2 { "twice".to_owned() } else { format!("{} times", given.len()) };
            return Err(Problem::new(&self.path, format!("given {times}, but it takes one value")));
        };
        let item = |(position, given): (usize, &Given)| {
            let schemas: Vec<&Value> =
                self.schemas.iter().flat_map(|schema| document.items(schema, position)).collect();
            self.read(Some(document), &schemas, given)
        };
        given.iter().enumerate().map(item).collect::<Result<Vec<Value>, Problem>>().map(Value::Array)
    }

    fn read(&self, document: Option<Document<'a>>, schemas: &[&'a Value], given: &Given) -> Result<Value, Problem> {
        let (text, read) = match (&given.content, document) {
            (Content::Json(value), _) => return Ok(value.clone()),
            (Content::Word(text) | Content::Text(text), None) => return Ok(Value::String(text.clone())),
            (Content::Word(text), Some(document)) => (text, coerce(document, schemas, text)),
            (Content::Text(text), Some(document)) => (text, coerce_text(document, schemas, text)),
        };
        read.map_err(|Misfit { expected, why }| {
            let problem = Problem::new(&self.path, format!("expected {expected}")).suggest(why);
            let secret = given.hidden
                || document.is_some_and(|document| schemas.iter().any(|schema| document.is_secret(schema)));
            if secret { problem } else { problem.got_text(text) }
        })
    }
}
