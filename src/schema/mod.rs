//! JSON Schema as a tool's parameters need it: validation, coercion of typed words, descriptions for people,
//! example arguments, elicitation forms, and the parameters that HTTP headers mirror.
//!
//! Schemas come from servers and are never trusted: nothing is fetched, size and time are bounded, and text from them
//! must be escaped by `output` before it is written to a terminal.

mod coerce;
mod defaults;
mod describe;
mod dialect;
mod document;
mod elicitation;
mod error;
mod example;
mod fast_validator;
mod full_validator;
mod header_params;
mod number;
mod problem;
mod relax;
mod sample;
mod subschemas;
mod survey;
mod types;
mod validator;
mod value_path;

pub use coerce::{CoercionError, coerce, coerce_text};
pub use defaults::{has_default, required_without_default, with_defaults};
pub use describe::{Parameter, output_shape, parameters, signature, type_text};
pub use document::{Property, SchemaDocument, accepts_empty_object, is_schema};
pub use elicitation::{check_form_content, form_defaults};
pub use error::SchemaError;
pub use example::{ExampleArguments, example_arguments, example_values, literal_value};
pub use header_params::{HeaderParam, InvalidAnnotation, collect_header_params, header_value};
pub use number::{compare as compare_numbers, parse_json_number};
pub use problem::{ValueProblem, invalid_arguments_failure};
pub use relax::{UncheckedArguments, UncheckedExtent};
pub use subschemas::{SCHEMA_LIST_KEYWORDS, SINGLE_SCHEMA_KEYWORDS, has_named_schemas};
pub use types::TypeSet;
pub use validator::SchemaValidator;
pub use value_path::{PathStep, has_secret_name, path_text};

#[cfg(test)]
pub(crate) mod tests;
