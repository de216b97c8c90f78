//! `server.json` of the MCP registry: how a server is reached, or started from a package.
//!
//! The schema is <https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json>.

use serde_json::Value;

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
pub fn describe(document: &Value, prefix: &str) -> Result<DescribedServer, ServerJsonError> {
    let server = document.get("server").filter(|server| server.is_object()).unwrap_or(document);
    let name = text(server, "name").ok_or(ServerJsonError::NotServerJson)?;
    let version = text(server, "version").map_or(String::new(), |version| format!(" {version}"));
    let mut reading = ServerJsonReader { server: DescribedServer::default(), prefix: variable_name(prefix) };
    reading.server.title = format!("{name}{version}");
    let remotes = entries(server, "remotes");
    let of_type = |wanted: &str| remotes.iter().find(|remote| text(remote, "type") == Some(wanted)).copied();
    let remote = of_type("streamable-http").or_else(|| of_type("sse")).filter(|remote| text(remote, "url").is_some());
    if let Some(remote) = remote {
        reading.read_remote(remote);
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
    let found = packages.iter().map(|package| kind(package, "registryType"));
    Err(ServerJsonError::Unsupported(found.chain(remotes.iter().map(|remote| kind(remote, "type"))).collect()))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn entries<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten().collect()
}

/// The name of a variable of the environment: `api-key` is `API_KEY`.
fn variable_name(name: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).chars().map(upper).collect()
}

/// Text of a description, which must not refer to variables of the user.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

struct ServerJsonReader {
    server: DescribedServer,
    prefix: String,
}

impl ServerJsonReader {
    fn read_remote(&mut self, remote: &Value) {
        let variables = &remote["variables"];
        self.server.url = text(remote, "url").map(|url| self.template(url, variables));
        self.server.is_sse = text(remote, "type") == Some("sse");
        for header in entries(remote, "headers") {
            let is_name = |name: &&str| name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
            let Some(name) = text(header, "name").filter(is_name) else { continue };
            let variable = format!("{}_{}", self.prefix, variable_name(name));
            if let Some(value) = self.value(header, &variable) {
                self.server.headers.push((name.to_owned(), value));
            }
        }
    }

    /// The command line of a package; `None` if its registry is not supported.
    fn read_package(&mut self, package: &Value) -> Option<()> {
        let identifier = literal(text(package, "identifier")?);
        let version = text(package, "version").map(literal);
        let at = |separator: &str| match &version {
            Some(version) => format!("{identifier}{separator}{version}"),
            None => identifier.clone(),
        };
        let runtime = self.arguments(package, "runtimeArguments");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut env = Vec::new();
        for entry in entries(package, "environmentVariables") {
            let is_name =
                |name: &&str| name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') && !name.is_empty();
            let Some(name) = text(entry, "name").filter(is_name) else { continue };
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
            let variable = format!("{}_{}", self.prefix, variable_name(label));
            let value = self.value(argument, &variable);
            if let Some(value) = value {
                words.extend(name.map(literal).into_iter().chain([value]));
            }
        }
        words
    }

    /// The value of an input: fixed, or a reference to a variable. `None` if it can be omitted.
    fn value(&mut self, input: &Value, variable: &str) -> Option<String> {
        match text(input, "value") {
            Some(value) => Some(self.template(value, &input["variables"])),
            None => self.reference(input, variable),
        }
    }

    /// Text in which the names of `variables` stand in braces.
    fn template(&mut self, template: &str, variables: &Value) -> String {
        let (mut out, mut plain) = (String::new(), String::new());
        let mut rest = template;
        while let Some((before, from)) = rest.split_once('{') {
            plain += before;
            let input = from.split_once('}').and_then(|(name, after)| Some((name, variables.get(name)?, after)));
            let Some((name, input, after)) = input else {
                plain.push('{');
                rest = from;
                continue;
            };
            // Some descriptions have `${name}`.
            out += &literal(plain.strip_suffix('$').unwrap_or(&plain));
            plain.clear();
            let variable = format!("{}_{}", self.prefix, variable_name(name));
            out += &self.value(input, &variable).unwrap_or_default();
            rest = after;
        }
        plain += rest;
        out + &literal(&plain)
    }

    fn reference(&mut self, input: &Value, variable: &str) -> Option<String> {
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
            None => format!("${{{variable}}}"),
            Some(default) if default.contains(['{', '}', '$']) => literal(&default),
            Some(default) => format!("${{{variable}:-{default}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::config::value::expand::variable_references;

    fn described(server: Value) -> DescribedServer {
        let mut document = server;
        document["name"] = json!("io.example/demo");
        document["version"] = json!("1.2.0");
        describe(&json!({"server": document, "_meta": {}}), "my-demo").unwrap()
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
    fn text_of_a_description_never_refers_to_variables_of_the_user() {
        let server = described(json!({"remotes": [{"type": "streamable-http", "url": "https://a.example/${HOME}",
            "headers": [{"name": "X-A", "value": "${AWS_SECRET} $${B} $$${C} {d}"},
                {"name": "X-B", "value": "${e}", "variables": {"e": {"default": "${F}"}}},
                {"name": "X-C", "default": "${command:id}"}]}]}));
        let values = server.headers.iter().map(|(_, value)| value.as_str()).chain(server.url.as_deref());
        for value in values {
            assert!(
                variable_references(value).is_empty() && !value.contains("${command") || value.contains("$${"),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let unsupported = json!({"name": "x", "packages": [{"registryType": "cargo", "identifier": "y"},
            {"registryType": "npm", "identifier": "z", "transport": {"type": "streamable-http", "url": "http://x"}}]});
        let kinds = vec!["cargo".to_owned(), "npm".to_owned()];
        assert_eq!(describe(&unsupported, "x"), Err(ServerJsonError::Unsupported(kinds)));
        assert_eq!(describe(&json!({"packages": []}), "x"), Err(ServerJsonError::NotServerJson));
        assert_eq!(describe(&json!([1]), "x"), Err(ServerJsonError::NotServerJson));
    }
}
