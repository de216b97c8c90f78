//! The place in the arguments that a name means, and the value that goes there.

use serde_json::{Map, Value};

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
    /// Which of the steps are positions in arrays.
    pub positions: Vec<bool>,
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
        Place { path: vec![name.to_owned()], positions: vec![false], schemas }
    }

    /// What a name means: a property of that very name first, else members of members and items of arrays.
    pub fn find(document: Option<Document<'a>>, name: &str) -> Result<Place<'a>, Trouble> {
        Place::found(document, name).map_err(|Trouble(problem)| {
            // `a[].b` is how it stands in a table, and `a.b` forgets that there are items.
            let brackets = name.contains("[]").then(|| name.replace("[]", "[0]"));
            let inserted = name.match_indices('.').map(|(at, _)| format!("{}[0]{}", &name[..at], &name[at..]));
            let mut meant = brackets.into_iter().chain(inserted).take(DEEPEST);
            match meant.find(|meant| Place::found(document, meant).is_ok()) {
                Some(meant) => Trouble(problem.suggest(Some(format!("write {meant}=…")))),
                None => Trouble(problem),
            }
        })
    }

    fn found(document: Option<Document<'a>>, name: &str) -> Result<Place<'a>, Trouble> {
        let mut place = Place { path: Vec::new(), positions: Vec::new(), schemas: Vec::new() };
        place.schemas.extend(document.map(|document| document.root()));
        let dotted = match document.map(|document| place.member(document, name)) {
            Some(Property::Declared(_)) => None,
            _ => dotted(name),
        };
        let name = dotted.as_deref().unwrap_or(name);
        match document {
            Some(document) => place.descend(document, name, splits(name))?,
            None => place.unknown(name, splits(name)),
        }
        Ok(place)
    }

    /// The position that a name begins with, and what follows, where an array may stand here. `[0]` means one
    /// wherever that is not ruled out, a bare `0` only where the schema says array.
    fn position<'n>(&self, document: Document<'a>, name: &'n str) -> Option<(usize, Option<&'n str>)> {
        let (head, tail) = split(name);
        let kinds = document.kinds_of_any(&self.schemas);
        let open = self.schemas.is_empty() || kinds == Kinds::ALL;
        let digits = match bracketed(head) {
            Some(digits) if open || kinds.holds(Kinds::ARRAY) => digits,
            None if !open && kinds.holds(Kinds::ARRAY) => head,
            _ => return None,
        };
        if self.path.is_empty() || !is_position(digits) {
            return None;
        }
        Some((digits.parse().ok()?, tail))
    }

    /// Goes down where no schema knows the way.
    fn unknown(&mut self, name: &str, splits: bool) {
        if !splits {
            return self.step(name, false, Vec::new());
        }
        for step in name.split('.') {
            match bracketed(step).filter(|digits| is_position(digits) && !self.path.is_empty()) {
                Some(digits) => self.step(digits, true, Vec::new()),
                None => self.step(step, false, Vec::new()),
            }
        }
    }

    fn descend(&mut self, document: Document<'a>, name: &str, splits: bool) -> Result<(), Trouble> {
        if let Property::Declared(parts) = self.member(document, name) {
            self.step(name, false, parts);
            return Ok(());
        }
        if let Some((position, tail)) = self.position(document, name) {
            let items = self.schemas.iter().flat_map(|schema| document.items(schema, position)).take(MOST_SCHEMAS);
            let items = items.collect();
            self.step(&position.to_string(), true, items);
            return match tail {
                Some(tail) => self.descend(document, tail, splits),
                None => Ok(()),
            };
        }
        if let Some(digits) = bracketed(split(name).0).filter(|_| splits && !self.path.is_empty()) {
            return Err(Trouble(self.has_no(document, "item", digits)));
        }
        // The longest declared name wins: with a property "x.y", the word x.y.z=1 means its member z.
        let dots = || name.rmatch_indices('.').map(|(at, _)| at).filter(|_| splits);
        for at in dots() {
            let (head, tail) = (&name[..at], &name[at + 1..]);
            let Property::Declared(parts) = self.member(document, head) else { continue };
            let objects = parts.iter().any(|part| document.kinds(part).holds(Kinds::OBJECT));
            self.step(head, false, parts);
            if !objects && self.position(document, tail).is_none() && bracketed(split(tail).0).is_none() {
                return Err(Trouble(self.has_no(document, "member", tail)));
            }
            return self.descend(document, tail, splits);
        }
        let (head, tail) = if splits { split(name) } else { (name, None) };
        match self.member(document, head) {
            Property::Declared(parts) | Property::Allowed(parts) => {
                self.step(head, false, parts);
                match tail {
                    Some(tail) if self.schemas.is_empty() => {
                        self.unknown(tail, splits);
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

    /// The problem of a member or an item of what has none.
    fn has_no(&self, document: Document<'a>, what: &str, name: &str) -> Problem {
        let kinds = document.kinds_of_any(&self.schemas);
        Problem::new(&self.path, format!("takes {kinds}, which has no {what} {name}"))
    }

    fn step(&mut self, name: &str, position: bool, schemas: Vec<&'a Value>) {
        self.path.push(name.to_owned());
        self.positions.push(position);
        self.schemas = schemas;
    }

    /// Whether schemas of several forms describe this place.
    pub fn is_of_several_forms(&self) -> bool {
        self.schemas.len() > 1
    }

    /// Leaves out the schemas of forms that other arguments exclude: in `o.kind=b o.v=5`, `kind` chooses the form.
    pub fn narrow(&mut self, document: Document<'a>, arguments: &Value) {
        let nothing = Map::new();
        let (mut schemas, mut here) = (vec![document.root()], Some(arguments));
        for (step, position) in self.path.iter().zip(&self.positions) {
            let at = step.parse().ok().filter(|_| *position);
            schemas = match at {
                Some(at) => schemas.iter().flat_map(|schema| document.items(schema, at)).take(MOST_SCHEMAS).collect(),
                None => {
                    let beside = here.and_then(Value::as_object).unwrap_or(&nothing);
                    match member(document, &schemas, step, beside) {
                        Property::Declared(parts) | Property::Allowed(parts) => parts,
                        Property::Unknown => return,
                    }
                }
            };
            here = here.and_then(|here| at.map_or_else(|| here.get(step), |at| here.get(at)));
        }
        if !schemas.is_empty() {
            self.schemas = schemas;
        }
    }

    /// What the schemas of this place say of a member.
    fn member(&self, document: Document<'a>, name: &str) -> Property<'a> {
        member(document, &self.schemas, name, &Map::new())
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

/// What these schemas say of a member, given others beside it.
fn member<'a>(document: Document<'a>, schemas: &[&'a Value], name: &str, beside: &Map<String, Value>) -> Property<'a> {
    let (mut declared, mut allowed, mut open) = (Vec::new(), Vec::new(), schemas.is_empty());
    for schema in schemas {
        match document.property_beside(schema, name, beside) {
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

/// `a[0].b` with its positions as steps, `a.[0].b`; `None` where it has none.
fn dotted(name: &str) -> Option<String> {
    let (head, _) = name.split_once('[').filter(|(head, _)| !head.is_empty())?;
    let mut dotted = head.to_owned();
    let mut rest = &name[head.len()..];
    while let Some((position, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        if position.is_empty() || !position.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        dotted.push_str(&format!(".[{position}]"));
        let end = after.find('[').unwrap_or(after.len());
        if end > 0 && !after.starts_with('.') {
            return None;
        }
        dotted.push_str(&after[..end]);
        rest = &after[end..];
    }
    (rest.is_empty() && splits(&dotted)).then_some(dotted)
}

/// The first step of a name, and the others.
fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(head, tail)| (head, Some(tail)))
}

/// What stands in the brackets of a step that is a position (`[0]`).
fn bracketed(step: &str) -> Option<&str> {
    let digits = step.strip_prefix('[')?.strip_suffix(']')?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// Whether dots in a name may lead to members.
fn splits(name: &str) -> bool {
    name.split('.').count() <= DEEPEST && name.split('.').all(|segment| !segment.is_empty())
}

/// Whether this is how a position in an array is written.
fn is_position(text: &str) -> bool {
    text == "0" || (!text.starts_with('0') && text.len() < 6 && text.bytes().all(|byte| byte.is_ascii_digit()))
}
