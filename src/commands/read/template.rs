//! URI templates (RFC 6570) and the arguments that expand them.

use std::collections::BTreeMap;

use iri_string::template::UriTemplateStr;
use iri_string::template::context::{Context as TemplateContext, ListVisitor as _, Visitor};

use crate::error::{ErrorKind, Failure, Result};
use crate::util::suggest::nearest_names;

/// The names of a template's arguments.
pub fn template_variables(template: &str) -> Result<Vec<String>> {
    let parsed = parse_template(template)?;
    Ok(parsed.variables().map(|name| name.as_str().to_owned()).collect())
}

fn parse_template(template: &str) -> Result<&UriTemplateStr> {
    UriTemplateStr::new(template)
        .map_err(|error| Failure::new(ErrorKind::Usage, format!("invalid URI template '{template}'")).caused_by(&error))
}

pub fn split_argument<'a>(argument: &'a str, template: &str) -> Result<(&'a str, &'a str)> {
    argument.split_once('=').ok_or_else(|| {
        Failure::new(ErrorKind::Usage, format!("invalid template argument '{argument}'"))
            .hint(format!("write it as name=value; only one template can be read at a time: {template}"))
    })
}

/// The URIs to read: the words as they are, or one template expanded with its arguments (RFC 6570).
pub fn expand_template(words: &[String]) -> Result<Vec<String>> {
    let Some((template, arguments)) = words.split_first().filter(|(first, _)| first.contains('{')) else {
        return Ok(words.to_vec());
    };
    let usage = |message: String| Failure::new(ErrorKind::Usage, message);
    let parsed = parse_template(template)?;
    let mut given = TemplateArguments::default();
    for argument in arguments {
        let (name, value) = split_argument(argument, template)?;
        given.0.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    let names = template_variables(template)?;
    let needed = required_variables(template);
    let missing = names.iter().filter(|name| !given.0.contains_key(*name) && needed.contains(&name.as_str()));
    let unknown = given.0.keys().filter(|name| !names.contains(name));
    let mut problems: Vec<String> = unknown
        .map(|name| match nearest_names(name, names.iter().map(String::as_str)).first() {
            Some(nearest) => format!("{name}: not in the template; did you mean {nearest}?"),
            None => format!("{name}: not in the template"),
        })
        .collect();
    problems.extend(missing.map(|name| format!("{name}: missing")));
    if !problems.is_empty() {
        let failure = usage(format!("invalid arguments for the template {template}"));
        return Err(problems.into_iter().fold(failure, Failure::cause));
    }
    let uri = parsed
        .expand::<iri_string::spec::UriSpec, _>(&given)
        .map_err(|error| usage(format!("cannot expand '{template}'")).caused_by(&error))?;
    Ok(vec![uri.to_string()])
}

/// The required variables: all but those of queries, fragments and path parameters (`{?q}`, `{&q}`, `{#f}`, `{;p}`),
/// which expand to nothing if they are omitted.
fn required_variables(template: &str) -> Vec<&str> {
    let expressions = template.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let paths = expressions.filter(|inner| !inner.starts_with(['?', '&', '#', ';']));
    let names = paths.flat_map(|inner| inner.trim_start_matches(['+', '/', '.']).split(','));
    names.map(|name| name.split([':', '*']).next().unwrap_or(name)).collect()
}

/// The arguments of a template; a repeated one is a list.
#[derive(Default)]
struct TemplateArguments(BTreeMap<String, Vec<String>>);

impl TemplateContext for TemplateArguments {
    fn visit<V: Visitor>(&self, visitor: V) -> V::Result {
        match self.0.get(visitor.var_name().as_str()).map(Vec::as_slice) {
            None => visitor.visit_undefined(),
            Some([only]) => visitor.visit_string(only),
            Some(several) => visitor.visit_list().visit_items_and_finish(several),
        }
    }
}
