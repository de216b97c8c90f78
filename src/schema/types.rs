//! Sets of JSON types.

use std::fmt;

use serde_json::Value;

use crate::schema::number;

/// A set of JSON Schema types. [`TypeSet::NUMBER`] includes the integers, as in the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeSet(u8);

impl TypeSet {
    /// Strings.
    pub const STRING: TypeSet = TypeSet(1);
    /// Integers.
    pub const INTEGER: TypeSet = TypeSet(2);
    /// Numbers that are not integers.
    const NON_INTEGER: TypeSet = TypeSet(4);
    /// All numbers.
    pub const NUMBER: TypeSet = TypeSet(2 | 4);
    /// `true` and `false`.
    pub const BOOLEAN: TypeSet = TypeSet(8);
    /// `null`.
    pub const NULL: TypeSet = TypeSet(16);
    /// Arrays.
    pub const ARRAY: TypeSet = TypeSet(32);
    /// Objects.
    pub const OBJECT: TypeSet = TypeSet(64);
    /// Every type, because none is declared: more than the seven types together.
    pub const ALL: TypeSet = TypeSet(255);
    /// No type.
    pub const NONE: TypeSet = TypeSet(0);

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<TypeSet> {
        Some(match name {
            "string" => TypeSet::STRING,
            "integer" => TypeSet::INTEGER,
            "number" => TypeSet::NUMBER,
            "boolean" => TypeSet::BOOLEAN,
            "null" => TypeSet::NULL,
            "array" => TypeSet::ARRAY,
            "object" => TypeSet::OBJECT,
            _ => return None,
        })
    }

    /// The types in the value of a `type` keyword; `None` if it is invalid.
    #[must_use]
    pub fn from_keyword(value: &Value) -> Option<TypeSet> {
        match value {
            Value::String(name) => TypeSet::from_name(name),
            Value::Array(names) if !names.is_empty() => {
                names.iter().try_fold(TypeSet::NONE, |all, name| Some(all.union(TypeSet::from_name(name.as_str()?)?)))
            }
            _ => None,
        }
    }

    /// The narrowest type of a value.
    #[must_use]
    pub fn of_value(value: &Value) -> TypeSet {
        match value {
            Value::String(_) => TypeSet::STRING,
            Value::Number(number) if number::is_integer(number) => TypeSet::INTEGER,
            Value::Number(_) => TypeSet::NON_INTEGER,
            Value::Bool(_) => TypeSet::BOOLEAN,
            Value::Null => TypeSet::NULL,
            Value::Array(_) => TypeSet::ARRAY,
            Value::Object(_) => TypeSet::OBJECT,
        }
    }

    /// The types that are in either set.
    #[must_use]
    pub fn union(self, other: TypeSet) -> TypeSet {
        TypeSet(self.0 | other.0)
    }

    /// The types that are in both sets.
    #[must_use]
    pub fn intersection(self, other: TypeSet) -> TypeSet {
        TypeSet(self.0 & other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub fn contains(self, other: TypeSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the types; `integer` is omitted if `number` is included.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [
            (TypeSet::STRING, "string"),
            (TypeSet::NON_INTEGER, "number"),
            (TypeSet::INTEGER, if self.contains(TypeSet::NON_INTEGER) { "" } else { "integer" }),
            (TypeSet::BOOLEAN, "boolean"),
            (TypeSet::ARRAY, "array"),
            (TypeSet::OBJECT, "object"),
            (TypeSet::NULL, "null"),
        ]
        .into_iter()
        .filter(|(kind, name)| self.contains(*kind) && !name.is_empty())
        .map(|(_, name)| name)
        .collect()
    }
}

impl fmt::Display for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names().as_slice() {
            [] => f.write_str("nothing"),
            names => f.write_str(&names.join(" or ")),
        }
    }
}
