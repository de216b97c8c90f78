//! The place in the arguments that a name refers to, and the value for it.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::args::name_value::{ArgContent, ArgValue, encode_base64, source_name};
use crate::schema::{
    CoercionError, PathStep, Property, SchemaDocument, TypeSet, ValueProblem, coerce, coerce_text, has_secret_name,
    path_text,
};
use crate::util::suggest::did_you_mean;

/// What happens to arguments that the schema does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// They are refused.
    Required,
    /// They are sent (`--no-validate`): the schema only decides which name means what, and the types of values.
    Skipped,
}

/// The most members in one name; a longer name is taken literally.
const MAX_DEPTH: usize = 64;
/// The largest position in an array: an argument for each item before it would be needed.
const MAX_INDEX: usize = 99_999;

/// The most schemas of one place that are considered.
const MAX_SCHEMAS: usize = 64;

/// A place in the arguments.
#[derive(Clone, Debug)]
pub(super) struct ArgPath<'a> {
    /// The steps that lead to it.
    pub steps: Vec<PathStep>,
    /// The schemas of it; empty if nothing is known.
    schemas: Vec<&'a Value>,
}

/// A name that does not refer to a place.
#[derive(Clone, Debug)]
pub(super) struct ArgPathError(pub ValueProblem);

impl<'a> ArgPath<'a> {
    /// The top-level parameter with exactly this name.
    pub fn top_level(document: Option<SchemaDocument<'a>>, name: &str) -> ArgPath<'a> {
        let schemas = match document.map(|document| document.property(document.root(), name)) {
            Some(Property::Declared(parts) | Property::Allowed(parts)) => parts,
            Some(Property::Undeclared) | None => Vec::new(),
        };
        ArgPath { steps: vec![PathStep::member(name)], schemas }
    }

    /// The place of a word that is invalid.
    pub fn invalid(steps: &[PathStep]) -> ArgPath<'a> {
        ArgPath { steps: steps.to_vec(), schemas: Vec::new() }
    }

    /// What a name refers to: a property with exactly this name, else a member of a member or an item of an array.
    pub fn resolve(document: Option<SchemaDocument<'a>>, name: &str) -> Result<ArgPath<'a>, ArgPathError> {
        ArgPath::resolve_exact(document, name).map_err(|ArgPathError(problem)| {
            // Tables of parameters show `a[].b`, and `a.b` omits that there are items.
            let brackets = name.contains("[]").then(|| name.replace("[]", "[0]"));
            let inserted = name.match_indices('.').map(|(at, _)| format!("{}[0]{}", &name[..at], &name[at..]));
            let mut meant = brackets.into_iter().chain(inserted).take(MAX_DEPTH);
            match meant.find(|meant| ArgPath::resolve_exact(document, meant).is_ok()) {
                Some(meant) => ArgPathError(problem.with_suggestion(Some(format!("write {meant}=…")))),
                None => ArgPathError(problem),
            }
        })
    }

    fn resolve_exact(document: Option<SchemaDocument<'a>>, name: &str) -> Result<ArgPath<'a>, ArgPathError> {
        let mut place = ArgPath { steps: Vec::new(), schemas: Vec::new() };
        place.schemas.extend(document.map(|document| document.root()));
        let dotted = match document.map(|document| place.property(document, name)) {
            Some(Property::Declared(_)) => None,
            _ => brackets_to_dots(name),
        };
        let name = dotted.as_deref().unwrap_or(name);
        match document {
            Some(document) => place.descend(document, name, can_split_at_dots(name))?,
            None => place.descend_without_schema(name, can_split_at_dots(name))?,
        }
        Ok(place)
    }

    /// The position that a name begins with, and the rest of the name, if there may be an array here. `[0]` is a
    /// position unless the schema rules out an array, a bare `0` only if the schema requires one.
    fn leading_index<'n>(&self, document: SchemaDocument<'a>, name: &'n str) -> Option<(usize, Option<&'n str>)> {
        let (digits, tail) = self.leading_digits(document, name)?;
        Some((parse_index(digits)?, tail))
    }

    /// As [`ArgPath::leading_index`], also digits that are no position.
    fn leading_digits<'n>(&self, document: SchemaDocument<'a>, name: &'n str) -> Option<(&'n str, Option<&'n str>)> {
        let (head, tail) = split_first_step(name);
        let kinds = document.types_of_any(&self.schemas);
        let open = self.schemas.is_empty() || kinds == TypeSet::ALL;
        let digits = match bracketed_index(head) {
            Some(digits) if open || kinds.contains(TypeSet::ARRAY) => digits,
            None if !open && kinds.contains(TypeSet::ARRAY) && is_digits(head) => head,
            _ => return None,
        };
        (!self.steps.is_empty()).then_some((digits, tail))
    }

    /// Why digits at a place for a position are none.
    fn invalid_index(&self, digits: &str) -> ArgPathError {
        let why = match digits.starts_with('0') {
            true => "it begins with 0".to_owned(),
            false => format!("the largest one is {MAX_INDEX}"),
        };
        ArgPathError(ValueProblem::new(&self.steps, format!("{digits} is not a position in an array: {why}")))
    }

    /// Adds all steps of a name that no schema describes.
    fn descend_without_schema(&mut self, name: &str, splits: bool) -> Result<(), ArgPathError> {
        if !splits {
            self.push_step(PathStep::member(name), Vec::new());
            return Ok(());
        }
        for step in name.split('.') {
            let step = match bracketed_index(step).filter(|_| !self.steps.is_empty()) {
                Some(digits) => PathStep::Item(parse_index(digits).ok_or_else(|| self.invalid_index(digits))?),
                None => PathStep::member(step),
            };
            self.push_step(step, Vec::new());
        }
        Ok(())
    }

    fn descend(&mut self, document: SchemaDocument<'a>, name: &str, splits: bool) -> Result<(), ArgPathError> {
        if let Property::Declared(parts) = self.property(document, name) {
            self.push_step(PathStep::member(name), parts);
            return Ok(());
        }
        if let Some((position, tail)) = self.leading_index(document, name) {
            let items =
                self.schemas.iter().flat_map(|schema| document.item_schemas(schema, position)).take(MAX_SCHEMAS);
            let items = items.collect();
            self.push_step(PathStep::Item(position), items);
            return match tail {
                Some(tail) => self.descend(document, tail, splits),
                None => Ok(()),
            };
        }
        let digits = self.leading_digits(document, name).map(|(digits, _)| digits);
        let may_be_name = document.types_of_any(&self.schemas).contains(TypeSet::OBJECT) && !name.starts_with('[');
        if let Some(digits) = digits.filter(|_| splits && !may_be_name) {
            return Err(self.invalid_index(digits));
        }
        if let Some(digits) = bracketed_index(split_first_step(name).0).filter(|_| splits && !self.steps.is_empty()) {
            return Err(ArgPathError(self.no_such_child(document, "item", digits)));
        }
        // The longest declared name wins: with a property "x.y", the word x.y.z=1 means its member z.
        let dots = || name.rmatch_indices('.').map(|(at, _)| at).filter(|_| splits);
        for at in dots() {
            let (head, tail) = (&name[..at], &name[at + 1..]);
            let Property::Declared(parts) = self.property(document, head) else { continue };
            let objects = parts.iter().any(|part| document.types(part).contains(TypeSet::OBJECT));
            self.push_step(PathStep::member(head), parts);
            if !objects
                && self.leading_digits(document, tail).is_none()
                && bracketed_index(split_first_step(tail).0).is_none()
            {
                return Err(ArgPathError(self.no_such_child(document, "member", tail)));
            }
            return self.descend(document, tail, splits);
        }
        let (head, tail) = if splits { split_first_step(name) } else { (name, None) };
        match self.property(document, head) {
            Property::Declared(parts) | Property::Allowed(parts) => {
                self.push_step(PathStep::member(head), parts);
                match tail {
                    Some(tail) if self.schemas.is_empty() => self.descend_without_schema(tail, splits),
                    Some(tail) => self.descend(document, tail, splits),
                    None => Ok(()),
                }
            }
            Property::Undeclared => {
                let known: Vec<&str> = self.schemas.iter().flat_map(|schema| document.property_names(schema)).collect();
                let nested = !self.steps.is_empty();
                self.steps.push(PathStep::member(head));
                let mut problem = ValueProblem::unknown_parameter(&self.steps, known);
                if !nested && problem.suggestion.is_none() && tail.is_some() {
                    problem.suggestion = did_you_mean(name, document.property_names(document.root()));
                }
                Err(ArgPathError(problem))
            }
        }
    }

    /// The problem of a member or item of a value that has none.
    fn no_such_child(&self, document: SchemaDocument<'a>, what: &str, name: &str) -> ValueProblem {
        let kinds = document.types_of_any(&self.schemas);
        ValueProblem::new(&self.steps, format!("expected {kinds}, which has no {what} {name}"))
    }

    fn push_step(&mut self, step: PathStep, schemas: Vec<&'a Value>) {
        self.steps.push(step);
        self.schemas = schemas;
    }

    /// Whether this place has several schemas.
    pub fn has_several_schemas(&self) -> bool {
        self.schemas.len() > 1
    }

    /// Drops the schemas of branches that other arguments exclude: in `o.kind=b o.v=5`, `kind` selects the branch.
    pub fn narrow_schemas(&mut self, document: SchemaDocument<'a>, arguments: &Value) {
        let nothing = Map::new();
        let (mut schemas, mut here) = (vec![document.root()], Some(arguments));
        for step in &self.steps {
            schemas = match step {
                PathStep::Item(position) => schemas
                    .iter()
                    .flat_map(|schema| document.item_schemas(schema, *position))
                    .take(MAX_SCHEMAS)
                    .collect(),
                PathStep::Member(name) => {
                    let siblings = here.and_then(Value::as_object).unwrap_or(&nothing);
                    match property_of_any(document, &schemas, name, siblings) {
                        Property::Declared(parts) | Property::Allowed(parts) => parts,
                        Property::Undeclared => return,
                    }
                }
            };
            here = here.and_then(|here| step.get_from(here));
        }
        if !schemas.is_empty() {
            self.schemas = schemas;
        }
    }

    /// What the schemas of this place say about a member.
    fn property(&self, document: SchemaDocument<'a>, name: &str) -> Property<'a> {
        property_of_any(document, &self.schemas, name, &Map::new())
    }

    /// The value of this place from all values that were given for it.
    pub fn build_value(
        &self,
        document: Option<SchemaDocument<'a>>,
        validation: Validation,
        given: &[ArgValue],
    ) -> Result<Value, ValueProblem> {
        if let [only] = given {
            return match document.filter(|document| self.is_only_item(*document, &only.content)) {
                None => self.coerce_value(document, validation, &self.schemas, only),
                Some(array) => {
                    let item = self.coerce_value(document, validation, &self.item_schemas(array, 0), only)?;
                    Ok(Value::Array(vec![item]))
                }
            };
        }
        // Repeated: an array, but only if the schema allows one.
        let listed = document.filter(|document| {
            let kinds = document.types_of_any(&self.schemas);
            kinds != TypeSet::ALL && kinds.contains(TypeSet::ARRAY)
        });
        let Some(document) = listed else {
            let times = if given.len() == 2 { "twice".to_owned() } else { format!("{} times", given.len()) };
            return Err(ValueProblem::new(&self.steps, format!("given {times}, but only one value is allowed")));
        };
        let item = |(position, given): (usize, &ArgValue)| {
            self.coerce_value(Some(document), validation, &self.item_schemas(document, position), given)
        };
        given.iter().enumerate().map(item).collect::<Result<Vec<Value>, ValueProblem>>().map(Value::Array)
    }

    fn item_schemas(&self, document: SchemaDocument<'a>, position: usize) -> Vec<&'a Value> {
        self.schemas.iter().flat_map(|schema| document.item_schemas(schema, position)).collect()
    }

    /// Whether bytes that are sent as base64 are the only item of an array, which the schema requires.
    fn is_only_item(&self, document: SchemaDocument<'a>, content: &ArgContent) -> bool {
        let kinds = document.types_of_any(&self.schemas);
        kinds.contains(TypeSet::ARRAY)
            && !kinds.contains(TypeSet::STRING)
            && match content {
                ArgContent::Base64(_) => true,
                ArgContent::File(_, bytes) => {
                    self.item_schemas(document, 0).iter().any(|item| document.is_base64(item))
                        && serde_json::from_slice::<Vec<String>>(bytes).is_err()
                }
                ArgContent::Inline(_) | ArgContent::Json(_) => false,
            }
    }

    /// Whether one of the values is a JSON object or array that becomes a string because no type is declared for it.
    pub fn is_json_sent_as_text(&self, document: Option<SchemaDocument<'a>>, given: &[ArgValue]) -> bool {
        let is_untyped = |schemas: &[&'a Value]| {
            let kinds = document.map(|document| document.types_of_any(schemas));
            schemas.is_empty() || kinds.is_none_or(|kinds| kinds == TypeSet::ALL)
        };
        let becomes_item = |text: &str| {
            given.len() > 1
                || document.is_some_and(|document| document.types_of_any(&self.schemas) == TypeSet::ARRAY)
                    && !text.trim_start().starts_with('[')
        };
        let is_json_as_text = |position: usize, text: &str| {
            let is_untyped = match document.filter(|_| !self.schemas.is_empty() && becomes_item(text)) {
                Some(document) => is_untyped(&self.item_schemas(document, position)),
                None => is_untyped(&self.schemas),
            };
            is_untyped && is_json_container(text)
        };
        given.iter().enumerate().any(|(position, given)| match &given.content {
            ArgContent::Json(_) | ArgContent::Base64(_) => false,
            ArgContent::Inline(text) => is_json_as_text(position, text),
            ArgContent::File(_, bytes) => std::str::from_utf8(bytes).is_ok_and(|text| is_json_as_text(position, text)),
        })
    }

    fn coerce_value(
        &self,
        document: Option<SchemaDocument<'a>>,
        validation: Validation,
        schemas: &[&'a Value],
        given: &ArgValue,
    ) -> Result<Value, ValueProblem> {
        let is_encoded = || document.is_some_and(|document| schemas.iter().any(|schema| document.is_base64(schema)));
        let (text, read) = match (&given.content, document) {
            (ArgContent::Json(value), _) => return Ok(value.clone()),
            (ArgContent::Base64(bytes), _) => return Ok(Value::String(encode_base64(bytes))),
            (ArgContent::Inline(text), None) => return Ok(Value::String(text.clone())),
            (ArgContent::Inline(text), Some(document)) => (text.as_str(), coerce(document, schemas, text)),
            (ArgContent::File(_, bytes), _) if is_encoded() => return Ok(Value::String(encode_base64(bytes))),
            (ArgContent::File(source, bytes), _) => match (std::str::from_utf8(bytes), document) {
                (Ok(text), Some(document)) => (text, coerce_text(document, schemas, text)),
                (Ok(text), None) => return Ok(Value::String(text.to_owned())),
                (Err(_), _) => {
                    let name = path_text(&self.steps);
                    let problem = ValueProblem::new(&self.steps, format!("{} is not UTF-8 text", source_name(source)));
                    return Err(problem.with_suggestion(Some(format!("to send it as base64: {name}=@b64:{source}"))));
                }
            },
        };
        if read.is_err() && validation == Validation::Skipped {
            return Ok(Value::String(text.to_owned()));
        }
        read.map_err(|CoercionError { expected, detail: why }| {
            let members = || document.and_then(|document| members_hint(document, schemas, &expected, &self.steps));
            let why = why.or_else(members);
            let problem = ValueProblem::new(&self.steps, format!("expected {expected}")).with_suggestion(why);
            let secret = given.is_hidden
                || has_secret_name(&self.steps)
                || document.is_some_and(|document| schemas.iter().any(|schema| document.is_secret(schema)));
            if secret { problem } else { problem.with_text(text) }
        })
    }
}

/// How to write an object, or an array of objects, by its members.
fn members_hint(
    document: SchemaDocument<'_>,
    schemas: &[&Value],
    expected: &str,
    steps: &[PathStep],
) -> Option<String> {
    let (objects, position): (Vec<&Value>, &str) = match expected {
        "object" => (schemas.to_vec(), ""),
        "object[]" => (schemas.iter().flat_map(|schema| document.item_schemas(schema, 0)).collect(), "[0]"),
        _ => return None,
    };
    let first = |schema: &&Value| {
        let required = schema.get("required").and_then(|names| names.get(0)).and_then(Value::as_str);
        let declared = || schema.get("properties")?.as_object()?.keys().next().map(String::as_str);
        required.or_else(declared).map(str::to_owned)
    };
    let member = objects.iter().find_map(first).unwrap_or_else(|| "MEMBER".to_owned());
    Some(format!("write its members: {}{position}.{member}=…", path_text(steps)))
}

/// What these schemas say about a member of an object with these other members.
fn property_of_any<'a>(
    document: SchemaDocument<'a>,
    schemas: &[&'a Value],
    name: &str,
    siblings: &Map<String, Value>,
) -> Property<'a> {
    let (mut declared, mut allowed, mut open) = (Vec::new(), Vec::new(), schemas.is_empty());
    for schema in schemas {
        match document.property_with_siblings(schema, name, siblings) {
            Property::Declared(parts) => declared.extend(parts),
            Property::Allowed(parts) => {
                open = true;
                allowed.extend(parts);
            }
            Property::Undeclared => {}
        }
    }
    declared.truncate(MAX_SCHEMAS);
    allowed.truncate(MAX_SCHEMAS);
    match (declared.is_empty(), open) {
        (false, _) => Property::Declared(declared),
        (true, true) => Property::Allowed(allowed),
        (true, false) => Property::Undeclared,
    }
}

/// `a[0].b` with its positions as steps, `a.[0].b`; `None` if there are none.
fn brackets_to_dots(name: &str) -> Option<String> {
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
    (rest.is_empty() && can_split_at_dots(&dotted)).then_some(dotted)
}

/// Whether a text is a JSON object or array. A number, `true` or `null` is as likely meant as text.
fn is_json_container(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The first step of a name, and the others.
fn split_first_step(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(head, tail)| (head, Some(tail)))
}

/// The digits of a step in brackets (`[0]`).
fn bracketed_index(step: &str) -> Option<&str> {
    let digits = step.strip_prefix('[')?.strip_suffix(']')?;
    is_digits(digits).then_some(digits)
}

/// Whether dots in a name may lead to members.
fn can_split_at_dots(name: &str) -> bool {
    name.split('.').count() <= MAX_DEPTH && name.split('.').all(|segment| !segment.is_empty())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A position in an array.
fn parse_index(digits: &str) -> Option<usize> {
    let is_canonical = digits == "0" || (is_digits(digits) && !digits.starts_with('0'));
    digits.parse().ok().filter(|index| is_canonical && *index <= MAX_INDEX)
}
