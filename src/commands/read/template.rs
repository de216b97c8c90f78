//! URI templates (RFC 6570) and the arguments that expand them.

use std::collections::BTreeMap;

use crate::error::{ErrorKind, Failure, Result};
use crate::util::suggest::nearest_names;
use crate::util::uri_template::UriTemplate;

/// The names of a template's arguments.
pub fn template_variables(template: &str) -> Result<Vec<String>> {
    Ok(parse_template(template)?.variables().into_iter().map(str::to_owned).collect())
}

fn parse_template(template: &str) -> Result<UriTemplate<'_>> {
    UriTemplate::parse(template)
        .map_err(|why| Failure::new(ErrorKind::Usage, format!("invalid URI template '{template}'")).cause(why))
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
    // A repeated argument is a list.
    let mut given = BTreeMap::<&str, Vec<String>>::new();
    for argument in arguments {
        let (name, value) = split_argument(argument, template)?;
        given.entry(name).or_default().push(value.to_owned());
    }
    let names = parsed.variables();
    let missing: Vec<&str> = parsed.required_variables().into_iter().filter(|name| !given.contains_key(name)).collect();
    let unknown = given.keys().filter(|name| !names.contains(name));
    let mut problems: Vec<String> = unknown
        .map(|name| match nearest_names(name, names.iter().copied()).first() {
            Some(nearest) => format!("{name}: not in the template; did you mean {nearest}?"),
            None => format!("{name}: not in the template"),
        })
        .collect();
    problems.extend(missing.iter().map(|name| format!("{name}: missing")));
    if !problems.is_empty() {
        let failure = usage(format!("invalid arguments for the template {template}"));
        let failure = problems.into_iter().fold(failure, Failure::cause);
        let values: Vec<String> = missing.iter().map(|name| format!("{name}=VALUE")).collect();
        return Err(if values.is_empty() { failure } else { failure.hint(format!("add {}", values.join(" "))) });
    }
    Ok(vec![parsed.expand(|name| given.get(name).map_or(&[], Vec::as_slice))])
}
