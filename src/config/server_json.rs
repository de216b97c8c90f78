//! `server.json` of the MCP registry: how a server is reached, or started from a package.
//!
//! The schema is <https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json>.

use serde_json::Value;
use url::{Position, Url};

use crate::config::import::variables::{TranslatedPart, escape, push_part, render_parts, to_variable_name};
use crate::config::value::expand::is_variable_name;

/// How to use a described server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedServer {
    /// Its name and version.
    pub title: String,
    /// The URL of a remote server.
    pub url: Option<String>,
    /// Whether the URL is one of the transport HTTP+SSE.
    pub is_sse: bool,
    /// The command line that starts a package.
    pub command: Vec<String>,
    /// Names and values, with references to variables.
    pub headers: Vec<(String, String)>,
    /// The same.
    pub env: Vec<(String, String)>,
    /// The variables that the user has to set, or may set.
    pub inputs: Vec<DescribedInput>,
}

/// A variable that the settings refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedInput {
    /// The name of the variable.
    pub variable: String,
    /// What it is for.
    pub description: String,
    /// Whether the server cannot be used without it.
    pub is_required: bool,
}

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerJsonError {
    /// It has no name.
    NotServerJson,
    /// It describes no way that mcpipe supports; these are its packages and remotes.
    Unsupported(Vec<String>),
}

/// Reads a description, or the response of a registry that contains one. A remote server is preferred, since nothing
/// has to be installed for it. `prefix` begins the names of variables that the description does not name itself.
///
/// # Errors
/// If it describes no way to use the server.
pub fn read_server_json(document: &Value, prefix: &str) -> Result<DescribedServer, ServerJsonError> {
    let server = document.get("server").filter(|server| server.is_object()).unwrap_or(document);
    let name = text(server, "name").ok_or(ServerJsonError::NotServerJson)?;
    let version = text(server, "version").map_or(String::new(), |version| format!(" {version}"));
    let mut reading = ServerJsonReader { server: DescribedServer::default(), prefix };
    reading.server.title = format!("{name}{version}");
    let remotes = entries(server, "remotes");
    let of_type = |wanted: &str| {
        let mut wanted = remotes.iter().filter(|remote| text(remote, "type") == Some(wanted));
        wanted.find_map(|remote| Some((*remote, http_url(remote)?)))
    };
    if let Some((remote, url)) = of_type("streamable-http").or_else(|| of_type("sse")) {
        reading.read_remote(remote, url);
        return Ok(reading.server);
    }
    let packages = entries(server, "packages");
    let is_stdio = |package: &&&Value| text(&package["transport"], "type").is_none_or(|transport| transport == "stdio");
    for package in packages.iter().filter(is_stdio) {
        if reading.read_package(package).is_some() {
            return Ok(reading.server);
        }
    }
    let kind = |entry: &&Value, key: &str| text(entry, key).unwrap_or("unknown").to_owned();
    let found = packages.iter().map(|package| match other_registry(package) {
        Some(host) => format!("{} of {host}", kind(package, "registryType")),
        None => kind(package, "registryType"),
    });
    Err(ServerJsonError::Unsupported(found.chain(remotes.iter().map(|remote| kind(remote, "type"))).collect()))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// The host of the registry that a package is in, if its program would take it from another one.
fn other_registry(package: &Value) -> Option<String> {
    let usual: &[&str] = match text(package, "registryType")? {
        "npm" => &["registry.npmjs.org", "registry.npmjs.com"],
        "pypi" => &["pypi.org"],
        "nuget" => &["api.nuget.org", "www.nuget.org"],
        "oci" => &["docker.io", "index.docker.io", "registry-1.docker.io"],
        _ => return None,
    };
    let url = text(package, "registryBaseUrl").map(str::trim).filter(|url| !url.is_empty())?;
    let host = Url::parse(url).map_or(url.to_owned(), |url| url[Position::BeforeHost..Position::AfterPort].to_owned());
    (!usual.contains(&host.as_str())).then_some(host)
}

fn entries<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().collect()
}

/// The URL of a remote server. Without a scheme, it would be a path or a command line for `config add`.
fn http_url(remote: &Value) -> Option<&str> {
    let url = text(remote, "url")?.trim();
    let (scheme, _) = url.split_once("://")?;
    ["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some(url)
}

/// Text in our form, in which what the description says literally never refers to variables of the user.
fn render(parts: Vec<TranslatedPart>) -> String {
    render_parts(parts, &mut Vec::new())
}

struct ServerJsonReader<'a> {
    server: DescribedServer,
    prefix: &'a str,
}

impl ServerJsonReader<'_> {
    fn read_remote(&mut self, remote: &Value, url: &str) {
        self.server.url = Some(render(self.template(url, &remote["variables"])));
        self.server.is_sse = text(remote, "type") == Some("sse");
        for header in entries(remote, "headers") {
            let is_name = |name: &&str| name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
            let Some(name) = text(header, "name").filter(is_name) else { continue };
            if let Some(value) = self.value(header, &self.variable(name)) {
                self.server.headers.push((name.to_owned(), value));
            }
        }
    }

    /// The name of the variable for an input: `api-key` of `demo` is `DEMO_API_KEY`.
    fn variable(&self, name: &str) -> String {
        to_variable_name(&format!("{}_{name}", self.prefix))
    }

    /// The command line of a package; `None` if its registry is not supported.
    fn read_package(&mut self, package: &Value) -> Option<()> {
        let mut identifier = escape(text(package, "identifier")?);
        if let Some(host) = other_registry(package).map(|host| escape(&format!("{host}/"))) {
            match text(package, "registryType")? {
                "oci" if identifier.starts_with(&host) => {}
                // Docker takes any other first word for a user of Docker Hub.
                "oci" if host.contains(['.', ':']) || host == "localhost/" => identifier.insert_str(0, &host),
                _ => return None,
            }
        }
        let version = text(package, "version").map(escape);
        let at = |separator: &str| match &version {
            Some(version) => format!("{identifier}{separator}{version}"),
            None => identifier.clone(),
        };
        let runtime = self.arguments(package, "runtimeArguments");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut env = Vec::new();
        for entry in entries(package, "environmentVariables") {
            let Some(name) = text(entry, "name").filter(|name| is_variable_name(name)) else { continue };
            env.extend(self.value(entry, name).map(|value| (name.to_owned(), value)));
        }
        let mut command = match text(package, "registryType")? {
            "npm" => [words(&["npx", "-y"]), runtime, vec![at("@")]].concat(),
            "pypi" => [words(&["uvx"]), runtime, vec![at("@")]].concat(),
            "nuget" => [words(&["dnx"]), runtime, vec![at("@")], words(&["--yes", "--"])].concat(),
            "oci" => {
                // A container has the variables that are named.
                let passed = env.iter().flat_map(|(name, _)| ["-e".to_owned(), name.clone()]);
                let tagged = identifier.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
                let image = if tagged { identifier.clone() } else { at(":") };
                [words(&["docker", "run", "-i", "--rm"]), passed.collect(), runtime, vec![image]].concat()
            }
            _ => return None,
        };
        command.extend(self.arguments(package, "packageArguments"));
        self.server.command = command;
        self.server.env = env;
        Some(())
    }

    fn arguments(&mut self, package: &Value, key: &str) -> Vec<String> {
        let mut words = Vec::new();
        for argument in entries(package, key) {
            let name = text(argument, "name");
            let label = name.or_else(|| text(argument, "valueHint")).unwrap_or("argument");
            if let Some(value) = self.value(argument, &self.variable(label)) {
                words.extend(name.map(escape).into_iter().chain([value]));
            }
        }
        words
    }

    /// The value of an input: fixed, or a reference to a variable. `None` if it can be omitted.
    fn value(&mut self, input: &Value, variable: &str) -> Option<String> {
        let parts = match text(input, "value") {
            Some(value) => self.template(value, &input["variables"]),
            None => vec![self.reference(input, variable)?],
        };
        Some(render(parts))
    }

    /// Text in which the names of `variables` stand in braces. The variables have none of their own.
    fn template(&mut self, template: &str, variables: &Value) -> Vec<TranslatedPart> {
        let mut parts = Vec::new();
        let mut push = |part| push_part(&mut parts, part);
        let mut rest = template;
        while let Some((before, from)) = rest.split_once('{') {
            let input = from.split_once('}').and_then(|(name, after)| Some((name, variables.get(name)?, after)));
            let Some((name, input, after)) = input else {
                push(TranslatedPart::Text(format!("{before}{{")));
                rest = from;
                continue;
            };
            // Some descriptions have `${name}`.
            push(TranslatedPart::Text(before.strip_suffix('$').unwrap_or(before).to_owned()));
            match text(input, "value") {
                Some(value) => push(TranslatedPart::Text(value.to_owned())),
                None => self.reference(input, &self.variable(name)).into_iter().for_each(&mut push),
            }
            rest = after;
        }
        push(TranslatedPart::Text(rest.to_owned()));
        parts
    }

    fn reference(&mut self, input: &Value, variable: &str) -> Option<TranslatedPart> {
        let default = match input.get("default") {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            _ => None,
        };
        let is_required = input["isRequired"] == Value::Bool(true) && default.is_none();
        if default.is_none() && !is_required {
            return None;
        }
        let description = text(input, "description").unwrap_or_default().to_owned();
        self.server.inputs.push(DescribedInput { variable: variable.to_owned(), description, is_required });
        Some(match default {
            Some(default) if default.contains(['{', '}', '$']) => TranslatedPart::Text(default),
            default => {
                TranslatedPart::Variable(variable.to_owned(), default.map(|text| vec![TranslatedPart::Text(text)]))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::value::expand::{VariableScope, expand};
    use crate::env::Environment;

    fn described(server: Value) -> DescribedServer {
        let mut document = server;
        document["name"] = json!("io.example/demo");
        document["version"] = json!("1.2.0");
        read_server_json(&json!({"server": document, "_meta": {}}), "my-demo").unwrap()
    }

    fn input(variable: &str, is_required: bool) -> DescribedInput {
        DescribedInput { variable: variable.into(), description: String::new(), is_required }
    }

    #[test]
    fn a_remote_server_is_preferred_and_its_inputs_are_variables() {
        let server = described(json!({
            "remotes": [
                {"type": "sse", "url": "https://example.com/sse"},
                {"type": "streamable-http", "url": "https://{tenant}.example.com/mcp",
                    "variables": {"tenant": {"default": "eu"}},
                    "headers": [
                        {"name": "Authorization", "value": "Bearer {token}", "variables": {"token": {"isRequired": true}}},
                        {"name": "X-Region", "description": "Where", "isRequired": true},
                        {"name": "X-Optional"}, {"name": "bad\nname", "value": "x"}]}],
            "packages": [{"registryType": "npm", "identifier": "demo", "transport": {"type": "stdio"}}],
        }));
        assert_eq!(server.title, "io.example/demo 1.2.0");
        assert_eq!(server.url.as_deref(), Some("https://${MY_DEMO_TENANT:-eu}.example.com/mcp"));
        assert!(!server.is_sse && server.command.is_empty());
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            server.headers,
            [header("Authorization", "Bearer ${MY_DEMO_TOKEN}"), header("X-Region", "${MY_DEMO_X_REGION}")]
        );
        let region = DescribedInput { description: "Where".into(), ..input("MY_DEMO_X_REGION", true) };
        assert_eq!(server.inputs, [input("MY_DEMO_TENANT", false), input("MY_DEMO_TOKEN", true), region]);
    }

    #[test]
    fn each_kind_of_package_has_its_command() {
        let package = |kind: &str, identifier: &str| {
            let server = described(json!({"packages": [
                {"registryType": "unheard-of", "identifier": "x"},
                {"registryType": kind, "identifier": identifier, "version": "1.2.0", "transport": {"type": "stdio"},
                    "runtimeArguments": [{"type": "named", "name": "--quiet"}, {"type": "named", "name": "-v", "value": "a"}],
                    "packageArguments": [{"type": "positional", "valueHint": "dir", "isRequired": true},
                        {"type": "positional", "value": "serve"}, {"type": "named", "name": "--port", "default": 80},
                        {"type": "named", "name": "--fast", "isRequired": false}],
                    "environmentVariables": [{"name": "API_KEY", "isRequired": true, "isSecret": true},
                        {"name": "LEVEL", "default": "info"}, {"name": "UNUSED"}]}]}));
            assert_eq!(
                server.env,
                [("API_KEY".into(), "${API_KEY}".into()), ("LEVEL".into(), "${LEVEL:-info}".into())]
            );
            server.command.join(" ")
        };
        let end = "${MY_DEMO_DIR} serve --port ${MY_DEMO_PORT:-80}";
        assert_eq!(package("npm", "@a/b"), format!("npx -y -v a @a/b@1.2.0 {end}"));
        assert_eq!(package("pypi", "b"), format!("uvx -v a b@1.2.0 {end}"));
        assert_eq!(package("nuget", "B"), format!("dnx -v a B@1.2.0 --yes -- {end}"));
        assert_eq!(
            package("oci", "ghcr.io/a/b:2"),
            format!("docker run -i --rm -e API_KEY -e LEVEL -v a ghcr.io/a/b:2 {end}")
        );
        assert_eq!(package("oci", "a/b"), format!("docker run -i --rm -e API_KEY -e LEVEL -v a a/b:1.2.0 {end}"));
    }

    #[test]
    fn a_package_of_another_registry_is_never_taken_from_the_usual_one() {
        let package = |kind: &str, registry: &str, identifier: &str| {
            read_server_json(
                &json!({"name": "x", "packages": [{"registryType": kind, "registryBaseUrl": registry,
                    "identifier": identifier, "version": "1"}]}),
                "x",
            )
        };
        let image = |registry: &str, identifier: &str| package("oci", registry, identifier).unwrap().command.pop();
        assert_eq!(image("https://ghcr.io", "a/b").unwrap(), "ghcr.io/a/b:1");
        assert_eq!(image("https://ghcr.io/", "ghcr.io/a/b").unwrap(), "ghcr.io/a/b:1");
        assert_eq!(image("https://docker.io", "a/b").unwrap(), "a/b:1");
        assert_eq!(image("http://localhost:5000", "a/b:2").unwrap(), "localhost:5000/a/b:2");
        for (kind, usual) in
            [("npm", "https://registry.npmjs.org"), ("pypi", "https://pypi.org"), ("nuget", "https://api.nuget.org/v3")]
        {
            assert!(package(kind, usual, "a").is_ok(), "{kind}");
            let foreign = ServerJsonError::Unsupported(vec![format!("{kind} of npm.corp.example")]);
            assert_eq!(package(kind, "https://npm.corp.example", "a"), Err(foreign));
        }
    }

    #[test]
    fn text_of_a_description_never_refers_to_variables_of_the_user() {
        let environment = Environment::new([("MY_DEMO_X", "<x>")], Path::new("/"));
        let variables = json!({"d": {"default": "$"}, "e": {"default": "{command:id}"}, "f": {"default": "$${A}"},
            "x": {"isRequired": true}, "y": {"value": "${command:id}"}, "z": {"value": "{x}", "variables": {"x": {"default": "$"}}}});
        // Each piece, and the text that it stands for.
        let atoms = [
            ("$", "$"),
            ("${command:id}", "${command:id}"),
            ("{command:id}", "{command:id}"),
            ("{d}", "$"),
            ("{e}", "{command:id}"),
            ("{f}", "$${A}"),
            ("{x}", "<x>"),
            ("{y}", "${command:id}"),
            ("{z}", "{x}"),
            ("}", "}"),
        ];
        for (one, first) in atoms {
            for (two, second) in atoms {
                for (three, third) in atoms {
                    let value = format!("{one} {two}{three}");
                    // `${name}` is `{name}`.
                    let second = if two == "$" && third != three { "" } else { second };
                    let server = described(json!({"remotes": [{"type": "streamable-http", "url": "https://a.example/",
                        "headers": [{"name": "X-A", "value": value, "variables": variables}]}]}));
                    let scope = VariableScope::environment_only(&environment);
                    let expanded = expand(&server.headers[0].1, scope, &mut |secret| panic!("{value}: {secret:?}"));
                    assert_eq!(expanded, Ok(format!("{first} {second}{third}")), "{value}");
                }
            }
        }
    }

    #[test]
    fn variables_have_no_variables() {
        let nested =
            (0..60).fold(json!({"value": "x"}), |inner, _| json!({"value": "{a}{a}", "variables": {"a": inner}}));
        let header = json!({"name": "X-A", "value": "{a} {b}", "variables": {"a": nested, "b": {"value": "{b}"}}});
        let server = described(json!({"remotes": [{"type": "sse", "url": "https://a.example/", "headers": [header]}]}));
        assert_eq!(server.headers, [("X-A".into(), "{a}{a} {b}".into())]);
    }

    #[test]
    fn the_name_of_every_variable_can_be_referred_to() {
        let document = json!({"name": "x", "remotes": [{"type": "sse", "url": " HTTPS://{2fa}.example ",
            "variables": {"2fa": {"isRequired": true}},
            "headers": [{"name": "X-Key", "isRequired": true}]}]});
        let server = read_server_json(&document, "1password").unwrap();
        assert_eq!(server.url.as_deref(), Some("HTTPS://${INPUT_1PASSWORD_2FA}.example"));
        assert_eq!(server.headers, [("X-Key".into(), "${INPUT_1PASSWORD_X_KEY}".into())]);
        let document = json!({"name": "x", "packages": [{"registryType": "npm", "identifier": "p",
            "environmentVariables": [{"name": "1KEY", "isRequired": true}, {"name": "KEY", "value": "1"}]}]});
        assert_eq!(read_server_json(&document, "x").unwrap().env, [("KEY".into(), "1".into())]);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let unsupported = json!({"name": "x", "packages": [{"registryType": "cargo", "identifier": "y"},
            {"registryType": "npm", "identifier": "z", "transport": {"type": "streamable-http", "url": "http://x"}}]});
        let kinds = vec!["cargo".to_owned(), "npm".to_owned()];
        assert_eq!(read_server_json(&unsupported, "x"), Err(ServerJsonError::Unsupported(kinds)));
        assert_eq!(read_server_json(&json!({"packages": []}), "x"), Err(ServerJsonError::NotServerJson));
        assert_eq!(read_server_json(&json!([1]), "x"), Err(ServerJsonError::NotServerJson));
    }
}
