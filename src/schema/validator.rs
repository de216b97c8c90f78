//! Validation by one schema.
//!
//! Everyday schemas are checked at once by the fast validator. For all others the full validator works on a thread of
//! its own, so that other calls, the deadlines and Ctrl-C are not held up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use crate::schema::document::{Property, SchemaDocument};
use crate::schema::error::{SchemaError, UnusableKeyword, UnusableSchema};
use crate::schema::fast_validator::validate_fast;
use crate::schema::full_validator::{FullValidator, TimeBudget, TimedOut};
use crate::schema::problem::ValueProblem;
use crate::schema::relax::{UncheckedArguments, UncheckedExtent, relax};
use crate::schema::survey::{SchemaSurvey, survey_schema};
use crate::schema::value_path::{PathStep, has_secret_name};

/// The most times that a schema is relaxed.
const MAX_RELAXATIONS: usize = 16;
/// The most subschemas for one value that are searched for whether it is secret.
const MAX_REDACTION_SCHEMAS: usize = 64;

/// Validates values by one schema. What is learned about the schema is kept: its compiled form, its relaxed forms, and
/// that it is too costly.
///
/// The dialect is that of `$schema`, else 2020-12 (TOL-06). `format` is an annotation. A schema of everyday keywords is
/// checked by the fast validator; any other one by the `jsonschema` crate (`docs/dependencies.md` has the
/// measurements behind this).
#[derive(Debug)]
pub struct SchemaValidator {
    original: Arc<SchemaForm>,
    has_defaults: OnceLock<bool>,
    /// The forms that come of it, each without the unusable keywords of the one before.
    relaxed: Mutex<Vec<Arc<SchemaForm>>>,
    /// The full validator works on one value at a time, so that a costly schema occupies one thread only.
    turn: tokio::sync::Mutex<()>,
    /// Whether a validation has taken too long: the full validator is not used again.
    has_timed_out: AtomicBool,
}

/// The schema as it is, or without the keywords that cannot be used.
#[derive(Debug)]
struct SchemaForm {
    schema: Arc<Value>,
    survey: OnceLock<Result<SchemaSurvey, UnusableSchema>>,
    full: FullValidator,
    /// The keywords that the form before it has in addition.
    removed: Vec<UnusableKeyword>,
    /// What goes unchecked because of all keywords that were removed.
    unchecked: Vec<UncheckedArguments>,
}

impl SchemaForm {
    fn new(schema: Value, removed: Vec<UnusableKeyword>, unchecked: Vec<UncheckedArguments>) -> Arc<Self> {
        Arc::new(SchemaForm {
            schema: Arc::new(schema),
            survey: OnceLock::new(),
            full: FullValidator::default(),
            removed,
            unchecked,
        })
    }
}

impl SchemaValidator {
    /// A validator for this schema. Nothing is compiled before it is needed.
    #[must_use]
    pub fn new(schema: &Value) -> Self {
        SchemaValidator {
            original: SchemaForm::new(schema.clone(), Vec::new(), Vec::new()),
            has_defaults: OnceLock::new(),
            relaxed: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            has_timed_out: AtomicBool::new(false),
        }
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.original.schema
    }

    /// Whether a default occurs in the schema.
    #[must_use]
    pub fn has_defaults(&self) -> bool {
        *self.has_defaults.get_or_init(|| has_key(&self.original.schema, "default"))
    }

    /// Compiles the whole schema, also what no value has reached yet; the name of its dialect.
    ///
    /// # Errors
    /// As [`SchemaValidator::validate`].
    pub async fn check(&self) -> Result<&'static str, SchemaError> {
        let form = &self.original;
        let survey = survey_schema(&form.schema).map_err(|unusable| unusable.error)?;
        let checked = form.full.validate(&form.schema, survey.dialect, &Value::Null, &mut TimeBudget::default()).await;
        match checked {
            Ok(Ok(_)) => Ok(survey.dialect.name()),
            Ok(Err(unusable)) => Err(unusable.error),
            Err(TimedOut) => Err(SchemaError::TooCostly("it took more than two seconds")),
        }
    }

    /// Validates a value; an empty list means that it is valid.
    ///
    /// # Errors
    /// The schema cannot be used: an unknown dialect, an external or dangling `$ref` (never fetched, TOL-07), an
    /// invalid schema, or one beyond the limits of size and time.
    pub async fn validate(&self, value: &Value) -> Result<Vec<ValueProblem>, SchemaError> {
        self.validate_by(&self.original, value, &mut TimeBudget::default()).await.map_err(|unusable| unusable.error)
    }

    /// Whether the value is valid, if that can be decided at once: else `false`.
    #[must_use]
    pub fn accepts_at_once(&self, value: &Value) -> bool {
        let form = &self.original;
        let Ok(survey) = form.survey.get_or_init(|| survey_schema(&form.schema)) else { return false };
        let document = SchemaDocument::with_dialect(&form.schema, survey.dialect);
        survey.fits_fast_validator
            && form.unchecked.is_empty()
            && validate_fast(document, &form.schema, value).is_some_and(|problems| problems.is_empty())
    }

    /// Validates a value as far as the schema can be used: an unusable keyword does not prevent all other checks.
    ///
    /// Returns the problems, and what was not checked.
    pub async fn validate_leniently(&self, value: &Value) -> (Vec<ValueProblem>, Vec<UncheckedArguments>) {
        let mut budget = TimeBudget::default();
        let mut form = self.original.clone();
        let mut reason = SchemaError::Invalid("too many of its keywords are unusable".to_owned());
        for depth in 0..MAX_RELAXATIONS {
            let unusable = match self.validate_by(&form, value, &mut budget).await {
                Ok(problems) => return (problems, form.unchecked.clone()),
                Err(unusable) => unusable,
            };
            match self.relaxed_form(depth, &form, unusable.keywords) {
                Some(relaxed) => form = relaxed,
                None => {
                    reason = unusable.error;
                    break;
                }
            }
        }
        (Vec::new(), vec![UncheckedArguments { extent: UncheckedExtent::All, reason }])
    }

    /// `form` without these keywords; `None` if that does not make it another schema.
    fn relaxed_form(&self, depth: usize, form: &SchemaForm, keywords: Vec<UnusableKeyword>) -> Option<Arc<SchemaForm>> {
        let mut forms = self.relaxed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = forms.get(depth)
            && known.removed == keywords
        {
            return Some(known.clone());
        }
        let (schema, more) = relax(&form.schema, &keywords).filter(|(schema, _)| *schema != *form.schema)?;
        let relaxed = SchemaForm::new(schema, keywords, [form.unchecked.clone(), more].concat());
        // Other keywords were unusable for another value: the forms that follow from those are forgotten.
        forms.truncate(depth);
        forms.push(relaxed.clone());
        Some(relaxed)
    }

    async fn validate_by(
        &self,
        form: &SchemaForm,
        value: &Value,
        budget: &mut TimeBudget,
    ) -> Result<Vec<ValueProblem>, UnusableSchema> {
        let survey = form.survey.get_or_init(|| survey_schema(&form.schema)).clone()?;
        let document = SchemaDocument::with_dialect(&form.schema, survey.dialect);
        if survey.fits_fast_validator
            && let Some(problems) = validate_fast(document, &form.schema, value)
        {
            return Ok(redact_secrets(document, problems));
        }
        let _turn = self.turn.lock().await;
        if !self.has_timed_out.load(Ordering::Relaxed) {
            match form.full.validate(&form.schema, survey.dialect, value, budget).await {
                Ok(validated) => return validated.map(|problems| redact_secrets(document, problems)),
                Err(TimedOut) => self.has_timed_out.store(true, Ordering::Relaxed),
            }
        }
        Err(SchemaError::TooCostly("it took more than two seconds").into())
    }
}

/// Whether an object in the value has this key, at any depth. Values are not nested deeper than the parser allows.
fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| name == key || has_key(value, key)),
        Value::Array(items) => items.iter().any(|item| has_key(item, key)),
        _ => false,
    }
}

/// Removes the values of secret parameters from the problems.
fn redact_secrets(document: SchemaDocument<'_>, mut problems: Vec<ValueProblem>) -> Vec<ValueProblem> {
    for problem in problems.iter_mut().filter(|problem| problem.got.is_some()) {
        if has_secret_name(&problem.path) {
            problem.got = None;
            continue;
        }
        let mut schemas = vec![document.root()];
        for step in &problem.path {
            schemas = schemas
                .iter()
                .flat_map(|schema| match step {
                    PathStep::Item(position) => document.item_schemas(schema, *position),
                    PathStep::Member(name) => match document.property(schema, name) {
                        Property::Declared(parts) | Property::Allowed(parts) => parts,
                        Property::Undeclared => Vec::new(),
                    },
                })
                .take(MAX_REDACTION_SCHEMAS)
                .collect();
            if schemas.iter().any(|schema| document.is_secret(schema)) {
                problem.got = None;
                break;
            }
        }
    }
    problems
}
