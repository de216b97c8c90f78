//! URI templates (RFC 6570, all four levels), and what servers write in their place.
//!
//! Beyond the RFC, the name of a variable may have any characters without a meaning of their own (`{repo-name}`), and
//! text outside of expressions may have any: what a URI cannot have is percent-encoded, as the RFC says for characters
//! that templates may have and URIs may not (§3.1).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What has to be encoded where reserved characters have a meaning: all but the unreserved ones (RFC 3986 §2.3).
pub const EXCEPT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What has to be encoded anywhere: all but the unreserved and the reserved characters (RFC 3986 §2.2).
const EXCEPT_RESERVED: &AsciiSet = {
    let mut set = EXCEPT_UNRESERVED.remove(b':');
    let mut rest: &[u8] = b"/?#[]@!$&'()*+,;=";
    while let [first, others @ ..] = rest {
        (set, rest) = (set.remove(*first), others);
    }
    &{ set }
};

/// A template, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct UriTemplate<'a>(Vec<Part<'a>>);

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Expression(TemplateOperator, Vec<Variable<'a>>),
}

/// A variable of an expression.
#[derive(Debug, PartialEq, Eq)]
struct Variable<'a> {
    name: &'a str,
    /// `*`: each item of a list on its own.
    is_exploded: bool,
    /// `:n`: only the first characters.
    prefix: Option<usize>,
}

/// How an expression expands (RFC 6570, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TemplateOperator {
    first: &'static str,
    separator: &'static str,
    /// Whether names come before values, and what comes between a name and an empty value.
    named: Option<&'static str>,
    /// Whether reserved characters of values stay as they are.
    allows_reserved: bool,
    /// Whether the expression is a part of a path or a host: a URI makes no sense without its values.
    is_required: bool,
}

const fn operator(
    first: &'static str,
    separator: &'static str,
    named: Option<&'static str>,
    allows_reserved: bool,
    is_required: bool,
) -> TemplateOperator {
    TemplateOperator { first, separator, named, allows_reserved, is_required }
}

impl TemplateOperator {
    /// The operator at the start of an expression, and what follows it.
    fn split(expression: &str) -> Result<(Self, &str), String> {
        let found = match expression.chars().next() {
            Some('+') => operator("", ",", None, true, true),
            Some('#') => operator("#", ",", None, true, false),
            Some('.') => operator(".", ".", None, false, true),
            Some('/') => operator("/", "/", None, false, true),
            Some(';') => operator(";", ";", Some(""), false, false),
            Some('?') => operator("?", "&", Some("="), false, false),
            Some('&') => operator("&", "&", Some("="), false, false),
            Some(reserved @ ('=' | ',' | '!' | '@' | '|')) => {
                return Err(format!("the operator '{reserved}' in '{{{expression}}}' has no meaning (RFC 6570 §2.2)"));
            }
            _ => return Ok((operator("", ",", None, false, true), expression)),
        };
        Ok((found, &expression[1..]))
    }
}

impl<'a> UriTemplate<'a> {
    /// Takes a template apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(template: &'a str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, from_brace) = rest.split_at(open);
            let Some(inner) = from_brace.strip_prefix('{') else {
                return Err("a '}' without '{'".to_owned());
            };
            let Some((expression, after)) = inner.split_once('}') else {
                return Err("a '{' without '}'".to_owned());
            };
            parts.push(Part::Literal(literal));
            parts.push(parse_expression(expression)?);
            rest = after;
        }
        parts.push(Part::Literal(rest));
        Ok(UriTemplate(parts))
    }

    /// The names of all variables, each once, in their order.
    #[must_use]
    pub fn variables(&self) -> Vec<&'a str> {
        self.names(|_| true)
    }

    /// The variables that a URI makes no sense without: all but those of queries, fragments and path parameters
    /// (`{?q}`, `{&q}`, `{#f}`, `{;p}`).
    #[must_use]
    pub fn required_variables(&self) -> Vec<&'a str> {
        self.names(|operator| operator.is_required)
    }

    fn names(&self, fits: impl Fn(&TemplateOperator) -> bool) -> Vec<&'a str> {
        let mut names = Vec::new();
        for part in &self.0 {
            if let Part::Expression(operator, variables) = part
                && fits(operator)
            {
                for variable in variables {
                    if !names.contains(&variable.name) {
                        names.push(variable.name);
                    }
                }
            }
        }
        names
    }

    /// The URI. `values` has the values of a variable: several are a list, none means that it is undefined.
    #[must_use]
    pub fn expand<'v>(&self, values: impl Fn(&str) -> &'v [String]) -> String {
        let mut uri = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => push_encoded(&mut uri, literal, true),
                Part::Expression(operator, variables) => {
                    let mut before = operator.first;
                    for variable in variables {
                        let values = values(variable.name);
                        if !values.is_empty() {
                            uri.push_str(before);
                            before = operator.separator;
                            push_variable(&mut uri, *operator, variable, values);
                        }
                    }
                }
            }
        }
        uri
    }
}

fn parse_expression(expression: &str) -> Result<Part<'_>, String> {
    let (operator, list) = TemplateOperator::split(expression)?;
    let mut variables = Vec::new();
    for text in list.split(',') {
        let (text, is_exploded) = match text.strip_suffix('*') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (name, prefix) = match text.split_once(':') {
            Some((name, length)) => {
                let length = length.parse().ok().filter(|length| (1..10_000).contains(length));
                (name, Some(length.ok_or_else(|| format!("'{text}' has no length of 1 to 9999 after ':'"))?))
            }
            None => (text, None),
        };
        if name.is_empty() {
            return Err(format!("a variable without a name in '{{{expression}}}'"));
        }
        variables.push(Variable { name, is_exploded, prefix });
    }
    Ok(Part::Expression(operator, variables))
}

/// One defined variable of an expression (RFC 6570 §3.2.1).
fn push_variable(uri: &mut String, operator: TemplateOperator, variable: &Variable<'_>, values: &[String]) {
    let is_list_of_own = variable.is_exploded && values.len() > 1;
    for (at, value) in values.iter().enumerate() {
        let starts = at == 0 || is_list_of_own;
        if at > 0 {
            uri.push_str(if is_list_of_own { operator.separator } else { "," });
        }
        if starts && let Some(before_empty) = operator.named {
            push_encoded(uri, variable.name, true);
            let is_empty = value.is_empty() && (is_list_of_own || values.len() == 1);
            uri.push_str(if is_empty { before_empty } else { "=" });
        }
        let shown = match variable.prefix.and_then(|length| value.char_indices().nth(length)) {
            Some((end, _)) => &value[..end],
            None => value,
        };
        push_encoded(uri, shown, operator.allows_reserved);
    }
}

/// Percent-encodes what is not unreserved; with `allows_reserved` reserved characters and triplets stay.
fn push_encoded(uri: &mut String, text: &str, allows_reserved: bool) {
    if !allows_reserved {
        return uri.extend(utf8_percent_encode(text, EXCEPT_UNRESERVED));
    }
    for (index, part) in text.split('%').enumerate() {
        let is_triplet = part.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if index > 0 {
            uri.push_str(if is_triplet { "%" } else { "%25" });
        }
        uri.extend(utf8_percent_encode(part, EXCEPT_RESERVED));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The variables of RFC 6570 §3.2 that are strings or lists.
    const VALUES: [(&str, &[&str]); 14] = [
        ("count", &["one", "two", "three"]),
        ("dom", &["example", "com"]),
        ("dub", &["me/too"]),
        ("hello", &["Hello World!"]),
        ("half", &["50%"]),
        ("var", &["value"]),
        ("who", &["fred"]),
        ("base", &["http://example.com/home/"]),
        ("path", &["/foo/bar"]),
        ("list", &["red", "green", "blue"]),
        ("v", &["6"]),
        ("x", &["1024"]),
        ("y", &["768"]),
        ("empty", &[""]),
    ];

    fn expand(template: &str) -> String {
        let values: Vec<(&str, Vec<String>)> =
            VALUES.iter().map(|(name, all)| (*name, all.iter().map(|one| (*one).to_owned()).collect())).collect();
        let extra = [("repo-name", vec!["a b".to_owned()])];
        let find = |name: &str| {
            let all = values.iter().chain(&extra);
            all.into_iter().find(|(given, _)| *given == name).map_or(&[][..], |(_, all)| all.as_slice())
        };
        UriTemplate::parse(template).unwrap().expand(find)
    }

    #[test]
    fn the_examples_of_the_rfc_expand() {
        for (template, uri) in [
            ("{count}", "one,two,three"),
            ("{count*}", "one,two,three"),
            ("{/count}", "/one,two,three"),
            ("{/count*}", "/one/two/three"),
            ("{;count}", ";count=one,two,three"),
            ("{;count*}", ";count=one;count=two;count=three"),
            ("{?count}", "?count=one,two,three"),
            ("{?count*}", "?count=one&count=two&count=three"),
            ("{&count*}", "&count=one&count=two&count=three"),
            ("{var}", "value"),
            ("{hello}", "Hello%20World%21"),
            ("{half}", "50%25"),
            ("O{empty}X", "OX"),
            ("O{undef}X", "OX"),
            ("{x,y}", "1024,768"),
            ("{x,hello,y}", "1024,Hello%20World%21,768"),
            ("?{x,empty}", "?1024,"),
            ("?{x,undef}", "?1024"),
            ("?{undef,y}", "?768"),
            ("{var:3}", "val"),
            ("{var:30}", "value"),
            ("{+hello}", "Hello%20World!"),
            ("{+half}", "50%25"),
            ("{base}index", "http%3A%2F%2Fexample.com%2Fhome%2Findex"),
            ("{+base}index", "http://example.com/home/index"),
            ("up{+path}{var}/here", "up/foo/barvalue/here"),
            ("{+path:6}/here", "/foo/b/here"),
            ("{#path,x}/here", "#/foo/bar,1024/here"),
            ("{#undef}", ""),
            ("X{.empty}", "X."),
            ("www{.dom*}", "www.example.com"),
            ("{/var,empty}", "/value/"),
            ("{/var:1,var}", "/v/value"),
            ("{;v,empty,who}", ";v=6;empty;who=fred"),
            ("{;hello:5}", ";hello=Hello"),
            ("{?x,y,empty}", "?x=1024&y=768&empty="),
            ("{?x,y,undef}", "?x=1024&y=768"),
            ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
            ("{&var:3}", "&var=val"),
        ] {
            assert_eq!(expand(template), uri, "{template}");
        }
    }

    #[test]
    fn text_that_a_uri_cannot_have_is_encoded() {
        assert_eq!(expand("demo://größe/{v}"), "demo://gr%C3%B6%C3%9Fe/6");
        assert_eq!(expand("demo://my docs/{v}|{x}"), "demo://my%20docs/6%7C1024");
        assert_eq!(expand("demo://a%20b/100%/{repo-name}"), "demo://a%20b/100%25/a%20b");
        assert_eq!(expand("demo://x{?repo-name}"), "demo://x?repo-name=a%20b");
    }

    #[test]
    fn variables_are_listed_once() {
        let template = UriTemplate::parse("x://{a}/{b:3}{/a,c*}{?q,a}{#f}").unwrap();
        assert_eq!(template.variables(), ["a", "b", "c", "q", "f"]);
        assert_eq!(template.required_variables(), ["a", "b", "c"]);
    }

    #[test]
    fn broken_templates_are_rejected() {
        for (template, why) in [
            ("x://{a", "a '{' without '}'"),
            ("x://a}", "a '}' without '{'"),
            ("x://{}", "a variable without a name in '{}'"),
            ("x://{a,}", "a variable without a name in '{a,}'"),
            ("x://{!a}", "the operator '!' in '{!a}' has no meaning (RFC 6570 §2.2)"),
            ("x://{a:0}", "'a:0' has no length of 1 to 9999 after ':'"),
        ] {
            assert_eq!(UriTemplate::parse(template).unwrap_err(), why, "{template}");
        }
    }
}
