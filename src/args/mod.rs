//! Builds the JSON arguments object from the words of `mcpipe call`, typed by the tool's own schema.
//!
//! Pure: files and standard input are read through an [`ArgumentReader`]. All problems are collected and reported at
//! once, before anything is sent. [`crate::schema::coerce`] has the rules by which `name=value` is typed.

mod assign;
mod call_form;
mod name_value;
mod path;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;

pub use crate::args::call_form::{CallForm, CallFormArgument, parse_call_form};
pub use crate::args::name_value::{ArgumentReader, parse_json};
pub use crate::args::path::Validation;

use serde_json::{Map, Value};

use crate::args::assign::{assign, missing_items_problem, step_after_gap};
use crate::args::name_value::{ArgContent, ArgSources, ArgValue, NameValue};
use crate::args::path::{ArgPath, ArgPathError};
use crate::schema::{
    self, PathStep, Property, SchemaDocument, SchemaValidator, TypeSet, UncheckedArguments, UncheckedExtent,
    ValueProblem, path_text,
};
use crate::util::quoting::quote_without_secrets;
use crate::util::suggest::nearest_names;

/// What the command line says about the arguments. Later parts override earlier ones.
#[derive(Clone, Debug, Default)]
pub struct ArgumentInput {
    /// `--args`: the whole object as JSON, `@FILE`, or `-` for standard input.
    pub base_json: Option<String>,
    /// The whole object, already parsed.
    pub base_object: Option<Value>,
    /// The arguments of a call form.
    pub call_form: Vec<CallFormArgument>,
    /// The words after TOOL.
    pub words: Vec<String>,
}

/// The arguments, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltArguments {
    /// The arguments object.
    pub arguments: Map<String, Value>,
    /// What could not be checked because of the schema: reported as a warning, the call is sent.
    pub unchecked_parts: Vec<UncheckedArguments>,
    /// The names of arguments without a declared type whose text is a JSON object or array: it is sent as a string.
    pub json_sent_as_text: Vec<String>,
}

/// The whole object, if nothing else is given and the schema accepts it as it is; it need not be assembled then.
pub async fn accepted_object<'a>(
    input: &'a ArgumentInput,
    validator: Option<&SchemaValidator>,
) -> Option<&'a Map<String, Value>> {
    let (object, members) = usual_object(input, validator)?;
    let Some(validator) = validator else { return Some(members) };
    let (problems, unchecked_parts) = validator.validate_leniently(object).await;
    (problems.is_empty() && unchecked_parts.is_empty()).then_some(members)
}

/// As [`accepted_object`], if that can be decided at once.
#[must_use]
pub fn object_accepted_at_once<'a>(
    input: &'a ArgumentInput,
    validator: Option<&SchemaValidator>,
) -> Option<&'a Map<String, Value>> {
    let (object, members) = usual_object(input, validator)?;
    validator.is_none_or(|validator| validator.accepts_at_once(object)).then_some(members)
}

/// The whole object, if nothing else is given and nothing has to be added to it or removed; it may be invalid.
fn usual_object<'a>(
    input: &'a ArgumentInput,
    validator: Option<&SchemaValidator>,
) -> Option<(&'a Value, &'a Map<String, Value>)> {
    let object = input.base_object.as_ref()?;
    let members = object.as_object().filter(|_| input.words.is_empty() && input.call_form.is_empty())?;
    let Some(validator) = validator else { return Some((object, members)) };
    let properties = validator.schema().get("properties").and_then(Value::as_object)?;
    let is_usual =
        |(name, value): (&String, &Value)| !value.is_null() && properties.get(name).is_some_and(Value::is_object);
    (!validator.has_defaults() && members.iter().all(is_usual)).then_some((object, members))
}

/// Assembles the arguments object: reads and types every part. [`AssembledArguments::validate`] completes it.
///
/// Without a schema (the tool has none, or is not known) nothing is typed, filled in or checked: `name=value` is a
/// string, `name:=JSON` any other value, and a repeated name is a mistake.
pub fn assemble_arguments<'a>(
    input: &ArgumentInput,
    validator: Option<&'a SchemaValidator>,
    validation: Validation,
    reader: &mut dyn ArgumentReader,
) -> AssembledArguments<'a> {
    let mut sources = ArgSources::new(reader);
    let mut arguments = AssembledArguments {
        validator,
        validation,
        document: validator.map(|validator| SchemaDocument::new(validator.schema())),
        arguments: input.base_object.as_ref().and_then(Value::as_object).cloned().unwrap_or_default(),
        groups: Vec::new(),
        base_is_hidden: false,
        base_is_unknown: false,
        json_sent_as_text: Vec::new(),
        problems: Vec::new(),
        suggested: Vec::new(),
    };
    arguments.add_base(input.base_json.as_deref(), &mut sources);
    arguments.add_call_form(&input.call_form);
    arguments.add_words(&input.words, &mut sources);
    arguments.merge();
    arguments
}

/// All values for one place in the arguments.
struct ArgGroup<'a> {
    path: ArgPath<'a>,
    /// Empty if only invalid words were given for this place.
    values: Vec<ArgValue>,
}

/// The arguments as they were given, not yet validated.
pub struct AssembledArguments<'a> {
    validator: Option<&'a SchemaValidator>,
    validation: Validation,
    document: Option<SchemaDocument<'a>>,
    arguments: Map<String, Value>,
    groups: Vec<ArgGroup<'a>>,
    /// Whether the whole object came from a file, so that messages do not show its values.
    base_is_hidden: bool,
    /// Whether the whole object could not be read, so that nothing can be called missing.
    base_is_unknown: bool,
    json_sent_as_text: Vec<String>,
    problems: Vec<ValueProblem>,
    /// The parameters that were suggested for words without a name: they are not reported as missing.
    suggested: Vec<String>,
}

impl<'a> AssembledArguments<'a> {
    fn add_base(&mut self, base: Option<&str>, sources: &mut ArgSources<'_>) {
        let Some(text) = base else { return };
        let (value, hidden) = match sources.read_base_object(text) {
            Ok(read) => read,
            Err(problem) => {
                self.base_is_unknown = true;
                return self.problems.push(problem);
            }
        };
        self.base_is_hidden = hidden;
        match value {
            Value::Object(members) => self.arguments = members,
            other => {
                self.base_is_unknown = true;
                self.problems.push(ValueProblem::new(
                    &[],
                    format!("--args: expected a JSON object, got {}", TypeSet::of_value(&other)),
                ));
            }
        }
    }

    fn add_call_form(&mut self, form: &[CallFormArgument]) {
        if form.is_empty() {
            return;
        }
        let names = self.document.map(|document| document.property_names(document.root()));
        if let [CallFormArgument { name: None, value: Value::Object(members) }] = form
            && !self.first_parameter_takes_object()
        {
            // `tool({a: 1})`: the one object holds the arguments.
            for (name, value) in members {
                let document = self.document.filter(|_| self.validation == Validation::Required);
                match document.and_then(|document| undeclared_problem(document, name)) {
                    Some(problem) => self.add_unknown_name(problem),
                    None => self.add_at(ArgPath::top_level(self.document, name), ArgValue::from_json(value.clone())),
                }
            }
            return;
        }
        let mut position = 0;
        for argument in form {
            let given = ArgValue::from_json(argument.value.clone());
            match (&argument.name, &names) {
                (Some(name), _) => self.add_named(name, given),
                (None, Some(names)) => match names.get(position) {
                    Some(name) => {
                        position += 1;
                        self.add_at(ArgPath::top_level(self.document, name), given);
                    }
                    None => {
                        let message =
                            format!("the call form has more arguments than the tool has parameters ({})", names.len());
                        return self.problems.push(ValueProblem::new(&[], message));
                    }
                },
                (None, None) => {
                    let message = "positional arguments need the tool's schema; write name: value";
                    return self.problems.push(ValueProblem::new(&[], message));
                }
            }
        }
    }

    fn first_parameter_takes_object(&self) -> bool {
        let Some(document) = self.document else { return false };
        let first =
            document.property_names(document.root()).first().map(|name| document.property(document.root(), name));
        match first {
            Some(Property::Declared(parts)) => document.types_of_any(&parts).contains(TypeSet::OBJECT),
            _ => false,
        }
    }

    fn add_words(&mut self, words: &[String], sources: &mut ArgSources<'_>) {
        for word in words {
            match NameValue::parse(word) {
                Some(word) => match sources.read_value(&word) {
                    Ok(given) => self.add_named(word.name, given),
                    Err(mut problem) => match self.resolve_name(word.name) {
                        Ok(place) => {
                            problem.path.clone_from(&place.steps);
                            self.problems.push(problem);
                            self.group_at(place);
                        }
                        Err(ArgPathError(unknown)) => {
                            self.problems.push(problem);
                            self.add_unknown_name(unknown);
                        }
                    },
                },
                None => {
                    let problem = self.stray_word_problem(word, words);
                    self.problems.push(problem);
                }
            }
        }
    }

    /// The problem of a word that is not `name=value`; `words` are all words.
    fn stray_word_problem(&mut self, word: &str, words: &[String]) -> ValueProblem {
        let problem = ValueProblem::stray_word(word, None);
        if word.contains('=') {
            return problem.with_suggestion(Some("the name before the = is missing".to_owned()));
        }
        if word.trim_start().starts_with('{') {
            return problem.with_suggestion(Some(format!(
                "to pass the whole object: --args {}",
                quote_without_secrets(&[word]).join(" ")
            )));
        }
        let names = self.document.map(|document| document.property_names(document.root())).unwrap_or_default();
        let (head, tail) = word.split_once(':').unwrap_or((word, ""));
        if !tail.is_empty() && names.contains(&head) {
            return problem.with_suggestion(Some(format!("did you mean {}?", shown_argument(head, tail.trim_start()))));
        }
        let near = nearest_names(head, names.iter().copied());
        let meant = if names.contains(&head) { Some(head) } else { near.first().copied() };
        if let Some(name) = meant {
            return problem.with_suggestion(Some(format!("did you mean {name}=…?")));
        }
        let required = self
            .document
            .map(|document| schema::required_without_default(document, document.root()))
            .unwrap_or_default();
        let is_given = |name: &str| {
            let named = |word: &String| NameValue::parse(word).is_some_and(|word| word.name == name);
            self.groups.iter().any(|group| group.path.steps.first().is_some_and(|first| first.is_member(name)))
                || self.arguments.contains_key(name)
                || self.suggested.iter().any(|suggested| suggested == name)
                || words.iter().any(named)
        };
        let free = required.into_iter().find(|name| !is_given(name));
        self.suggested.extend(free.map(ToOwned::to_owned));
        ValueProblem::stray_word(word, free).with_suggestion(Some(match (free, word) {
            (Some(name), "-") => {
                format!("for the text on standard input: {name}=@-; for all arguments as JSON: --args -")
            }
            (None, "-") => "for all arguments as JSON on standard input: --args -".to_owned(),
            (Some(name), _) => format!("did you mean {}?", shown_argument(name, word)),
            (None, _) => "write NAME=VALUE".to_owned(),
        }))
    }

    fn resolve_name(&self, name: &str) -> Result<ArgPath<'a>, ArgPathError> {
        ArgPath::resolve(self.document, name).or_else(|error| match self.validation {
            Validation::Required => Err(error),
            Validation::Skipped => ArgPath::resolve(None, name),
        })
    }

    fn add_named(&mut self, name: &str, given: ArgValue) {
        match self.resolve_name(name) {
            Ok(place) => self.add_at(place, given),
            Err(ArgPathError(problem)) => self.add_unknown_name(problem),
        }
    }

    fn add_unknown_name(&mut self, problem: ValueProblem) {
        if !self.problems.contains(&problem) {
            self.group_at(ArgPath::invalid(&problem.path));
            self.problems.push(problem);
        }
    }

    fn add_at(&mut self, place: ArgPath<'a>, given: ArgValue) {
        self.group_at(place).values.push(given);
    }

    /// The group of this place.
    fn group_at(&mut self, place: ArgPath<'a>) -> &mut ArgGroup<'a> {
        let found = self.groups.iter().position(|group| group.path.steps == place.steps);
        let at = found.unwrap_or_else(|| {
            self.groups.push(ArgGroup { path: place, values: Vec::new() });
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    /// Assigns the named values within the whole object.
    fn merge(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        let is_within = |inner: &[PathStep], outer: &[PathStep]| inner.len() > outer.len() && inner.starts_with(outer);
        // If a part of a value is given, the whole needs no placeholder.
        let paths: Vec<Vec<PathStep>> = groups.iter().map(|group| group.path.steps.clone()).collect();
        groups
            .retain(|group| !group.values.is_empty() || !paths.iter().any(|inner| is_within(inner, &group.path.steps)));
        if groups.iter().any(|outer| groups.iter().any(|inner| is_within(&inner.path.steps, &outer.path.steps))) {
            self.problems.extend(self.overlap_problems(&groups));
            // An object and its members: the object first.
            groups.sort_by_key(|group| group.path.steps.len());
        }
        self.narrow_schemas(&mut groups);
        // Items of arrays are assigned in order of their positions, however they were typed.
        let mut waiting: Vec<&ArgGroup<'_>> = groups.iter().collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|group| !self.assign_group(group));
            if waiting.len() == before {
                for group in waiting {
                    let gap = step_after_gap(&self.arguments, &group.path);
                    let problem = gap.map(|at| missing_items_problem(&group.path, at));
                    // Several members of one item have one problem.
                    self.problems.extend(problem.filter(|problem| !self.problems.contains(problem)));
                }
                break;
            }
        }
        self.groups = groups;
    }

    /// The problems of members that were given before an object that contains them too.
    fn overlap_problems(&self, groups: &[ArgGroup<'a>]) -> Vec<ValueProblem> {
        let mut problems = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let path = &group.path.steps;
            let later = groups[at + 1..].iter().filter(|whole| {
                let above = &whole.path.steps;
                path.len() > above.len()
                    && path.starts_with(above)
                    && whole.path.build_value(self.document, self.validation, &whole.values).is_ok_and(|value| {
                        path[above.len()..].iter().try_fold(&value, |here, step| step.get_from(here)).is_some()
                    })
            });
            problems.extend(later.map(|whole| {
                let whole = path_text(&whole.path.steps);
                ValueProblem::new(path, format!("given twice, separately and as part of {whole}"))
            }));
        }
        problems
    }

    /// Assigns one value; `false` if items before it have not been assigned yet.
    fn assign_group(&mut self, group: &ArgGroup<'_>) -> bool {
        if step_after_gap(&self.arguments, &group.path).is_some() {
            return false;
        }
        // A placeholder for an invalid value: the items after it can be assigned, and the members missing beside it
        // are reported together with it.
        let value = match group.values.as_slice() {
            [] => Value::Null,
            values => match group.path.build_value(self.document, self.validation, values) {
                Ok(value) => {
                    if group.path.is_json_sent_as_text(self.document, values) {
                        self.json_sent_as_text.push(path_text(&group.path.steps));
                    }
                    value
                }
                Err(problem) => {
                    self.problems.push(problem);
                    Value::Null
                }
            },
        };
        let mut all = Value::Object(std::mem::take(&mut self.arguments));
        if let Err(problem) = assign(&mut all, true, &group.path, 0, value) {
            self.problems.push(problem);
        }
        if let Value::Object(members) = all {
            self.arguments = members;
        }
        true
    }

    /// If there are several schemas for a place, the values of other members select the one that applies.
    fn narrow_schemas(&self, groups: &mut [ArgGroup<'a>]) {
        let Some(document) = self.document else { return };
        if !groups.iter().any(|group| group.path.has_several_schemas()) {
            return;
        }
        let mut typed = Value::Object(self.arguments.clone());
        for group in groups.iter() {
            let value = match group.values.as_slice() {
                [ArgValue { content: ArgContent::Inline(text), .. }] => Value::String(text.clone()),
                [ArgValue { content: ArgContent::Json(value), .. }] => value.clone(),
                _ => continue,
            };
            // Problems are reported when the value is assigned.
            let _ = assign(&mut typed, true, &group.path, 0, value);
        }
        for group in groups.iter_mut().filter(|group| group.path.has_several_schemas()) {
            group.path.narrow_schemas(document, &typed);
        }
    }

    /// Fills in the defaults of required members that are missing, and validates everything, unless this is skipped.
    ///
    /// # Errors
    /// All problems that were found: unreadable words and files, unknown, missing and mistyped arguments.
    pub async fn validate(mut self) -> Result<BuiltArguments, Vec<ValueProblem>> {
        let mut unchecked_parts = Vec::new();
        if let Some((validator, document)) = self.validator.zip(self.document)
            && self.validation == Validation::Required
        {
            self.report_undeclared_names(document);
            if !(self.arguments.is_empty() && schema::accepts_empty_object(document.root())) {
                if validator.has_defaults() {
                    self.arguments = schema::with_defaults(document, std::mem::take(&mut self.arguments));
                }
                let has_null = self.arguments.values().any(Value::is_null);
                let value = match has_null {
                    true => Value::Object(self.without_optional_nulls(document)),
                    false => Value::Object(std::mem::take(&mut self.arguments)),
                };
                let (found, unchecked) = validator.validate_leniently(&value).await;
                if let (false, Value::Object(arguments)) = (has_null, value) {
                    self.arguments = arguments;
                }
                self.add_validation_problems(found);
                unchecked_parts = unchecked.into_iter().filter_map(|part| self.restrict_to_sent(part)).collect();
            }
        }
        if self.problems.is_empty() {
            let AssembledArguments { arguments, json_sent_as_text, .. } = self;
            Ok(BuiltArguments { arguments, unchecked_parts, json_sent_as_text })
        } else {
            Err(self.problems)
        }
    }

    /// Reports the members of `--args` that the schema does not declare; other names were checked as they were added.
    fn report_undeclared_names(&mut self, document: SchemaDocument<'_>) {
        let listed = document.root().get("properties").and_then(Value::as_object);
        for name in self.arguments.keys() {
            // The usual case first.
            if listed.is_some_and(|listed| listed.get(name).is_some_and(Value::is_object)) {
                continue;
            }
            let is_checked =
                self.groups.iter().any(|group| group.path.steps.first().is_some_and(|step| step.is_member(name)));
            if !is_checked {
                self.problems.extend(undeclared_problem(document, name));
            }
        }
    }

    /// Restricts what was not checked to the parameters that are sent.
    fn restrict_to_sent(&self, mut part: UncheckedArguments) -> Option<UncheckedArguments> {
        if let UncheckedExtent::Parameters(names) = &mut part.extent {
            names.retain(|name| self.arguments.contains_key(name));
            if names.is_empty() {
                return None;
            }
        }
        Some(part)
    }

    /// What is validated if there are nulls: everything except explicit nulls for optional parameters. Servers treat
    /// such a null like a missing value (as `HTM-04` does for headers), and it was typed on purpose.
    fn without_optional_nulls(&self, document: SchemaDocument<'_>) -> Map<String, Value> {
        let required = document.required(document.root());
        let kept = |(name, value): &(&String, &Value)| !value.is_null() || required.contains(&name.as_str());
        self.arguments.iter().filter(kept).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Adds the problems that validation found, except those that follow from a problem that is already known.
    fn add_validation_problems(&mut self, found: Vec<ValueProblem>) {
        let known = self.problems.len();
        for mut problem in found {
            let is_suggested =
                matches!(&problem.path[..], [step] if self.suggested.iter().any(|name| step.is_member(name)));
            if problem.is_missing_value() && (self.base_is_unknown || is_suggested) {
                continue;
            }
            let follows = self.problems[..known].iter().any(|earlier| {
                earlier.path.starts_with(&problem.path)
                    || (!earlier.path.is_empty() && problem.path.starts_with(&earlier.path))
            });
            if follows {
                continue;
            }
            if self.is_hidden(&problem.path) {
                problem.got = None;
            }
            self.problems.push(problem);
        }
    }

    /// Whether the value came from a file, so that it may be a secret.
    fn is_hidden(&self, path: &[PathStep]) -> bool {
        match self
            .groups
            .iter()
            .filter(|group| path.starts_with(&group.path.steps))
            .max_by_key(|group| group.path.steps.len())
        {
            Some(group) => group.values.iter().any(|given| given.is_hidden),
            None => self.base_is_hidden,
        }
    }
}

/// The problem of a top-level parameter that is neither declared nor allowed.
fn undeclared_problem(document: SchemaDocument<'_>, name: &str) -> Option<ValueProblem> {
    let names = || document.property_names(document.root());
    (document.property(document.root(), name) == Property::Undeclared)
        .then(|| ValueProblem::unknown_parameter(&[PathStep::member(name)], names()))
}

/// `name=value` as it is typed, without the value of what may be a secret.
fn shown_argument(name: &str, value: &str) -> String {
    quote_without_secrets(&[&format!("{name}={value}")]).concat()
}
