//! The words of `mcpipe call` become the JSON arguments object, typed by the tool's own schema (contract §2).
//!
//! Pure: files and standard input come through a [`Reader`]. All mistakes are collected and reported at once,
//! before anything is sent. The rules by which `name=value` is typed stand in [`crate::schema::coerce`].

mod form;
mod lay;
mod place;
mod words;

pub use form::{CallForm, FormArg, call_form};
pub use words::Reader;

use serde_json::{Map, Value};

use crate::near::did_you_mean;
use crate::schema::{self, Document, Doubt, Extent, Kinds, Problem, Property};
use lay::{gap, has_gap, set, within};
use place::{Place, Trouble};
use words::{Content, Given, Inputs, Word};

/// What the command line gives for the arguments. Later parts are laid over earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// `--args`: the whole object as JSON, `@FILE`, or `-` for standard input.
    pub base: Option<&'a str>,
    /// The arguments of a call form.
    pub form: &'a [FormArg],
    /// The words after TOOL.
    pub words: &'a [String],
}

/// The arguments, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The arguments object.
    pub arguments: Map<String, Value>,
    /// What the schema could not judge: worth a warning, no reason not to send.
    pub unchecked: Vec<Doubt>,
}

/// Builds the arguments object. Required members that are not given and have a `default` are filled in with it.
///
/// Without a schema (none is known, or `--no-validate`) nothing is typed, filled in or checked: `name=value` is a string,
/// `name:=JSON` is for the rest, and a repeated name is a mistake.
///
/// # Errors
/// Every mistake that was found: unreadable words and files, unknown, missing and mistyped arguments.
pub fn build(input: &Input<'_>, schema: Option<&Value>, reader: &mut dyn Reader) -> Result<Built, Vec<Problem>> {
    let mut builder = Builder {
        document: schema.map(Document::new),
        inputs: Inputs::new(reader),
        arguments: Map::new(),
        given: Vec::new(),
        base_hidden: false,
        problems: Vec::new(),
    };
    builder.base(input.base);
    builder.form(input.form);
    builder.words(input.words);
    builder.lay_over();
    builder.finish()
}

/// All that was given for one place in the arguments.
struct Group<'a> {
    place: Place<'a>,
    given: Vec<Given>,
}

struct Builder<'a, 'r> {
    document: Option<Document<'a>>,
    inputs: Inputs<'r>,
    arguments: Map<String, Value>,
    given: Vec<Group<'a>>,
    /// Whether the whole object came from a file, so that its values are not repeated in messages.
    base_hidden: bool,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a, '_> {
    fn base(&mut self, base: Option<&str>) {
        let Some(text) = base else { return };
        let (value, hidden) = match self.inputs.object(text) {
            Ok(read) => read,
            Err(problem) => return self.problems.push(problem),
        };
        self.base_hidden = hidden;
        match value {
            Value::Object(members) => self.arguments = members,
            other => {
                self.problems
                    .push(Problem::new(&[], format!("--args: expected a JSON object, got {}", Kinds::of(&other))));
            }
        }
    }

    fn form(&mut self, form: &[FormArg]) {
        let names = self.document.map(|document| document.names(document.root()));
        if let [FormArg { name: None, value: Value::Object(members) }] = form
            && !self.first_takes_an_object()
        {
            // `tool({a: 1})`: the one object holds the arguments.
            for (name, value) in members {
                self.give_at(Place::literal(self.document, name), Given::json(value.clone()));
            }
            return;
        }
        let mut position = 0;
        for argument in form {
            let given = Given::json(argument.value.clone());
            match (&argument.name, &names) {
                (Some(name), _) => self.give(name, given),
                (None, Some(names)) => match names.get(position) {
                    Some(name) => {
                        position += 1;
                        self.give_at(Place::literal(self.document, name), given);
                    }
                    None => {
                        let message =
                            format!("the call form has more arguments than the tool has parameters ({})", names.len());
                        return self.problems.push(Problem::new(&[], message));
                    }
                },
                (None, None) => {
                    let message = "an argument without a name needs the tool's schema; write name: value";
                    return self.problems.push(Problem::new(&[], message));
                }
            }
        }
    }

    fn first_takes_an_object(&self) -> bool {
        let Some(document) = self.document else { return false };
        let first = document.names(document.root()).first().map(|name| document.property(document.root(), name));
        match first {
            Some(Property::Declared(parts)) => document.kinds_of_any(&parts).holds(Kinds::OBJECT),
            _ => false,
        }
    }

    fn words(&mut self, words: &[String]) {
        for word in words {
            match Word::parse(word) {
                Some(word) => match self.inputs.given(&word) {
                    Ok(given) => self.give(word.name, given),
                    Err(problem) => {
                        // The place is spoken for: nothing shall be called missing that was given, if badly.
                        let place = Place::find(self.document, word.name);
                        let path = place.map_or_else(|_| vec![word.name.to_owned()], |place| place.path);
                        self.problems.push(Problem { path, ..problem });
                    }
                },
                None => {
                    let problem = self.stray(word);
                    self.problems.push(problem);
                }
            }
        }
    }

    /// A word that is no `name=value`.
    fn stray(&self, word: &str) -> Problem {
        let problem = Problem::new(&[], format!("'{word}' is not an argument"));
        if word.contains('=') {
            return problem.suggest(Some("a name must stand before the =".to_owned()));
        }
        if word.trim_start().starts_with('{') {
            return problem.suggest(Some("the whole object goes after --args".to_owned()));
        }
        let names = self.document.map(|document| document.names(document.root())).unwrap_or_default();
        let (head, tail) = word.split_once(':').unwrap_or((word, ""));
        if !tail.is_empty() && names.contains(&head) {
            return problem.suggest(Some(format!("did you mean {head}={}?", tail.trim_start())));
        }
        let near = crate::near::near(head, names.iter().copied());
        let meant = if names.contains(&head) { Some(head) } else { near.first().copied() };
        if let Some(name) = meant {
            return problem.suggest(Some(format!("did you mean {name}=…?")));
        }
        let required = self.document.map(|document| schema::needed(document, document.root())).unwrap_or_default();
        let free = |name: &&&str| {
            !self.given.iter().any(|group| group.place.path.first().is_some_and(|first| first == **name))
        };
        problem.suggest(Some(match required.iter().find(free) {
            Some(name) => format!("did you mean {name}={}?", crate::shell::quoted(word)),
            None => "write NAME=VALUE".to_owned(),
        }))
    }

    fn give(&mut self, name: &str, given: Given) {
        match Place::find(self.document, name) {
            Ok(place) => self.give_at(place, given),
            Err(Trouble(problem)) => {
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
            }
        }
    }

    fn give_at(&mut self, place: Place<'a>, given: Given) {
        match self.given.iter_mut().find(|group| group.place.path == place.path) {
            Some(group) => group.given.push(given),
            None => self.given.push(Group { place, given: vec![given] }),
        }
    }

    /// Lays what was given one by one over the whole object.
    fn lay_over(&mut self) {
        let mut groups = std::mem::take(&mut self.given);
        let nested = |group: &Group<'_>, other: &Group<'_>| {
            other.place.path.len() > group.place.path.len() && other.place.path.starts_with(&group.place.path)
        };
        if groups.iter().any(|group| groups.iter().any(|other| nested(group, other))) {
            self.problems.extend(self.overlaid(&groups));
            // An object and its members: the object first.
            groups.sort_by_key(|group| group.place.path.len());
        }
        self.narrow(&mut groups);
        // Items of arrays are laid in order, whatever order they were typed in.
        let mut waiting: Vec<&Group<'_>> = groups.iter().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|group| !self.lay(group));
            if waiting.len() == before {
                self.problems.extend(waiting.iter().map(|group| gap(&group.place)));
                break;
            }
        }
        self.given = groups;
    }

    /// The members that were given before a whole that has them too: neither is meant to be lost.
    fn overlaid(&self, groups: &[Group<'a>]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let path = &group.place.path;
            let later = groups[at + 1..].iter().filter(|whole| {
                let above = &whole.place.path;
                path.len() > above.len()
                    && path.starts_with(above)
                    && whole.place.value(self.document, &whole.given).is_ok_and(|value| {
                        path[above.len()..].iter().try_fold(&value, |here, step| within(here, step)).is_some()
                    })
            });
            problems.extend(later.map(|whole| {
                let whole = whole.place.path.join(".");
                Problem::new(path, format!("given twice, by itself and as part of {whole}"))
            }));
        }
        problems
    }

    /// Lays one value; `false` where items before it are not there yet.
    fn lay(&mut self, group: &Group<'_>) -> bool {
        if has_gap(&self.arguments, &group.place) {
            return false;
        }
        match group.place.value(self.document, &group.given) {
            Ok(value) => {
                let mut all = Value::Object(std::mem::take(&mut self.arguments));
                if let Err(problem) = set(&mut all, true, &group.place, 0, value) {
                    self.problems.push(problem);
                }
                if let Value::Object(members) = all {
                    self.arguments = members;
                }
            }
            Err(problem) => {
                self.problems.push(problem);
                // The items after it are none the worse for that.
                if group.place.positions.contains(&true) {
                    let mut all = Value::Object(std::mem::take(&mut self.arguments));
                    let _ = set(&mut all, true, &group.place, 0, Value::Null);
                    if let Value::Object(members) = all {
                        self.arguments = members;
                    }
                }
            }
        }
        true
    }

    /// Where a schema has several forms, what was given for some members chooses the form for the others.
    fn narrow(&self, groups: &mut [Group<'a>]) {
        let Some(document) = self.document else { return };
        if !groups.iter().any(|group| group.place.is_of_several_forms()) {
            return;
        }
        let mut typed = Value::Object(self.arguments.clone());
        for group in groups.iter() {
            let value = match group.given.as_slice() {
                [Given { content: Content::Word(text), .. }] => Value::String(text.clone()),
                [Given { content: Content::Json(value), .. }] => value.clone(),
                _ => continue,
            };
            // What cannot be laid is found out later.
            let _ = set(&mut typed, true, &group.place, 0, value);
        }
        for group in groups.iter_mut().filter(|group| group.place.is_of_several_forms()) {
            group.place.narrow(document, &typed);
        }
    }

    fn finish(mut self) -> Result<Built, Vec<Problem>> {
        let mut unchecked = Vec::new();
        if let Some(document) = self.document {
            for name in self.arguments.keys() {
                let given = self.given.iter().any(|group| group.place.path.first() == Some(name));
                if !given && document.property(document.root(), name) == Property::Unknown {
                    self.problems.push(Problem::unknown(std::slice::from_ref(name), document.names(document.root())));
                }
            }
            if !(self.arguments.is_empty() && schema::accepts_nothing(document.root())) {
                self.arguments = schema::completed(document, std::mem::take(&mut self.arguments));
                let (found, doubts) = schema::judge(document.root(), &Value::Object(self.judged(document)));
                self.add(found);
                unchecked = doubts.into_iter().filter_map(|doubt| self.of_concern(doubt)).collect();
            }
        }
        if self.problems.is_empty() {
            return Ok(Built { arguments: self.arguments, unchecked });
        }
        Err(self.problems)
    }

    /// A doubt about parameters concerns only those that are sent.
    fn of_concern(&self, mut doubt: Doubt) -> Option<Doubt> {
        if let Extent::Parameters(names) = &mut doubt.extent {
            names.retain(|name| self.arguments.contains_key(name));
            if names.is_empty() {
                return None;
            }
        }
        Some(doubt)
    }

    /// What is validated: all but the explicit nulls of parameters that may be left out. Servers take such a
    /// null for absent (`HTM-04` says so of headers), and it can only have been typed on purpose.
    fn judged(&self, document: Document<'_>) -> Map<String, Value> {
        let required = document.required(document.root());
        let kept = |(name, value): &(&String, &Value)| !value.is_null() || required.contains(&name.as_str());
        self.arguments.iter().filter(kept).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Adds what validation found, less what only follows from mistakes that are already known.
    fn add(&mut self, found: Vec<Problem>) {
        let known = self.problems.len();
        for mut problem in found {
            let follows = self.problems[..known].iter().any(|earlier| {
                earlier.path.starts_with(&problem.path)
                    || (!earlier.path.is_empty() && problem.path.starts_with(&earlier.path))
            });
            if follows {
                continue;
            }
            if self.hidden(&problem.path) {
                problem.got = None;
            }
            self.problems.push(problem);
        }
    }

    /// Whether the value there came from a file: it may be a secret, and nobody typed it.
    fn hidden(&self, path: &[String]) -> bool {
        match self
            .given
            .iter()
            .filter(|group| path.starts_with(&group.place.path))
            .max_by_key(|group| group.place.path.len())
        {
            Some(group) => group.given.iter().any(|given| given.hidden),
            None => self.base_hidden,
        }
    }
}

/// The suggestion for a name that the schema does not know.
fn nearest(document: Option<Document<'_>>, name: &str) -> Option<String> {
    did_you_mean(name, document?.names(document?.root()))
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
