//! The fuzz targets: one function for each kind of input from outside, which checks what must hold for any input.
//!
//! A target panics if something does not hold. The crate in `fuzz/` passes them to libFuzzer; the tests run them on every
//! file of `corpus/`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mcpipe::args::{ArgumentInput, ArgumentReader, Validation, assemble_arguments, parse_call_form};
use mcpipe::config::file::{jsonc, mcp_json, rewrite, tree};
use mcpipe::config::import::{ClientFile, ImportClient, read_client_file, recognize_file, render};
use mcpipe::config::origin::{ConfigFile, ConfigFormat, Layer};
use mcpipe::env::Environment;
use mcpipe::models::reply::parse_reply;
use mcpipe::models::results::{CompletedToolCall, result_messages};
use mcpipe::models::tools::{NamedTool, tool_definitions};
use mcpipe::models::{ModelApi, tool_names, typescript};
use mcpipe::output::document::JsonDocument;
use mcpipe::output::escape;
use mcpipe::protocol::challenge::{parse_challenges, select_oauth_challenge};
use mcpipe::protocol::rpc::{self, MessageText, RpcMessage};
use mcpipe::protocol::views::{self, ListItem, ListKind};
use mcpipe::protocol::{json, result_shape};
use mcpipe::schema::{self, SchemaValidator};
use mcpipe::target::{classify_word, parse, split_command_line};
use mcpipe::transport::malformed;
use mcpipe::transport::sse::{SseDecoder, SseEvent};
use mcpipe::util::quoting;
use mcpipe::util::uri_template::UriTemplate;
use serde_json::Value;
use serde_json::value::RawValue;

/// A target: its name, which is the name of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, sorted by name.
pub const TARGETS: &[Target] = &[
    ("arguments", arguments),
    ("challenge", challenge),
    ("config_file", config_file),
    ("import", import),
    ("rpc_message", rpc_message),
    ("schema", schema),
    ("sse", sse),
    ("target_word", target_word),
    ("template", template),
    ("tool_use", tool_use),
];

const APIS: [ModelApi; 4] = [ModelApi::Anthropic, ModelApi::OpenAiChat, ModelApi::OpenAiResponses, ModelApi::Gemini];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

fn environment() -> Environment {
    Environment::new([("HOME", "/home/user"), ("NAME", "value")], Path::new("/work"))
}

/// Files and standard input with fixed content.
struct FixedReader;

impl ArgumentReader for FixedReader {
    fn read_file(&mut self, path: &str) -> io::Result<Vec<u8>> {
        match path {
            "" | "missing" => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(b"{\"a\": 1}".to_vec()),
        }
    }

    fn read_stdin(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Ok(b"[1, 2]".to_vec())
    }
}

/// The words of `call`: the first line is the tool's schema, the second the value of `--args`, every other line a word.
///
/// The result is a JSON object or at least one problem, and only a word with a parenthesis is a call form.
pub fn arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let schema: Option<Value> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    let base = lines.next().filter(|line| !line.is_empty());
    let words: Vec<String> = lines.map(ToOwned::to_owned).collect();
    let form = words.first().and_then(|word| {
        let form = parse_call_form(word);
        assert!(form.is_none() || word.contains('('), "{word}");
        form?.ok()
    });
    let validator = schema.as_ref().map(SchemaValidator::new);
    let is_call_form = form.is_some();
    let input = ArgumentInput {
        base_json: base.map(ToOwned::to_owned),
        call_form: form.map(|form| form.arguments).unwrap_or_default(),
        words: words.into_iter().skip(usize::from(is_call_form)).collect(),
        ..ArgumentInput::default()
    };
    let built =
        block_on(assemble_arguments(&input, validator.as_ref(), Validation::Required, &mut FixedReader).validate());
    match built {
        Ok(built) => assert!(serde_json::to_string(&built.arguments).is_ok()),
        Err(problems) => assert!(!problems.is_empty()),
    }
}

/// The values of `WWW-Authenticate` fields, one per line.
pub fn challenge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().collect();
    let challenges = parse_challenges(&lines);
    if let Some(chosen) = select_oauth_challenge(&challenges) {
        let _ = chosen.resource_metadata();
        let _ = chosen.error();
        let _ = chosen.scopes();
    }
}

fn source(text: &str, format: ConfigFormat) -> ConfigFile {
    ConfigFile::new(PathBuf::from("/home/user/config"), "~/config".to_owned(), text.to_owned(), Layer::User, format)
}

/// A configuration file, read as TOML and as JSON.
///
/// A file is still valid after a server was added, removed or renamed, and has no server of the old name.
pub fn config_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = jsonc::duplicate_keys(&text);
    if let Ok(root) = jsonc::parse(&text) {
        let _ = mcp_json::translate_file(&source(&text, ConfigFormat::Json), &root);
    }
    let Ok(root) = tree::parse_toml(&text) else { return };
    root.for_each_string(&mut |_, _| {});
    if let Ok(added) = rewrite::add(&text, "added", "[servers.added]\nurl = \"https://mcp.example.com\"\n") {
        tree::parse_toml(&added).expect("a file stays valid when a server is added");
        let removed = rewrite::remove(&added, "added").expect("an added server can be removed");
        let removed = tree::parse_toml(&removed).expect("a file stays valid when a server is removed");
        assert!(removed.get("servers").is_none_or(|servers| servers.value.get("added").is_none()));
    }
    let names = root.get("servers").map(|servers| servers.value.members()).unwrap_or_default();
    for member in names.iter().take(3) {
        if let Ok(renamed) = rewrite::rename(&text, &member.key, "renamed") {
            let renamed = tree::parse_toml(&renamed).expect("a file stays valid when a server is renamed");
            assert!(renamed.get("servers").is_some_and(|servers| servers.value.get("renamed").is_some()));
        }
    }
}

/// A file of another client, read as the file of each client.
pub fn import(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for the file to import");
    let directory = folder.path();
    let environment = Environment::new([("HOME", "/home/user"), ("NAME", "value")], directory);
    for name in ["mcp.json", "config.toml", "config.yaml"] {
        let path = directory.join(name);
        std::fs::write(&path, data).expect("the file to import is written");
        for client in ImportClient::all() {
            let file = ClientFile { client, path: path.clone(), project: None };
            let Ok(imported) = read_client_file(&environment, &file) else { continue };
            for server in &imported.servers {
                let block = render::toml_block(server, "a client");
                tree::parse_toml(&block).expect("an imported server is written as valid TOML");
            }
        }
        let _ = recognize_file(&environment, &path);
        let _ = std::fs::remove_file(&path);
    }
}

/// A line, body or event that a server sent.
///
/// A text that consists of messages is read the same where its result is cut out in place and by the search for messages
/// beside other text, and a printed line of it contains nothing that controls a terminal.
pub fn rpc_message(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parsed = rpc::parse(&text);
    let owned = MessageText::parse(text.clone().into_owned());
    let owned = owned.map(|found| {
        assert_eq!(found.text(), text.trim_start_matches('\u{feff}').trim());
        found.into_messages()
    });
    assert_eq!(format!("{:?}", owned.map_err(|_| ())), format!("{:?}", parsed.as_ref().map_err(|_| ())));
    let recovered = malformed::recover(&text);
    if parsed.is_ok() && text.trim_start().starts_with('{') {
        assert_eq!((recovered.leading.len(), recovered.trailing.len()), (1, 0));
        assert!(recovered.broken.is_none());
    }
    for message in parsed.into_iter().flatten().chain(recovered.leading).chain(recovered.trailing) {
        match message {
            RpcMessage::Response(response) => match response.outcome {
                Ok(result) => read_result(&result),
                Err(error) => {
                    let _ = error.data_value();
                    assert!(!error.to_string().is_empty());
                }
            },
            RpcMessage::Request { id, .. } => {
                let answer = rpc::error_response(&id, -32601, "Method not found");
                assert!(serde_json::from_str::<&RawValue>(&answer).is_ok(), "{answer}");
            }
            RpcMessage::Notification { .. } => {}
        }
    }
    // Joiners are part of some scripts and of emoji.
    let is_unsafe = |c: char| escape::is_harmful(c) && !matches!(c, '\u{200c}' | '\u{200d}');
    let line = escape::one_line(&text);
    assert!(!line.contains(is_unsafe), "{line:?}");
}

fn read_result(result: &RawValue) {
    for kind in [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts] {
        let items = views::parse_page(result, kind.result_member()).map(|page| page.0).unwrap_or_default();
        for item in items {
            let item = ListItem::new(&item);
            let _ = (item.name(), item.title(), item.description(), item.uri(), item.defect(kind));
        }
        let _ = result_shape::shape_error(kind.list_method(), result);
    }
    for method in ["initialize", "tools/call", "resources/read", "prompts/get", "completion/complete"] {
        let _ = result_shape::shape_error(method, result);
    }
    let _ = result_shape::ToolResultShape::read(result);
    let _ = json::members(result);
    if let Some(value) = json::parse_value(result.get()) {
        let _ = views::ServerInfo::from_result(&value);
        // What filters read is the same, except for the sign of an integer zero.
        let read = JsonDocument::from(result).shared_copy().into_text().expect("a document that filters can read");
        assert!(result.get().contains("-0") || json::parse_value(&read) == Some(value), "{result} became {read}");
    }
}

/// A tool's schema: what people are shown of it, and the formats of the model APIs.
///
/// An example that is marked as accepted is accepted when it is typed in a shell.
pub fn schema(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return };
    let _ = schema::parameters(&value);
    let _ = schema::output_shape(&value);
    let _ = schema::form_defaults(&value);
    schema::collect_header_params(&value).ok();
    let validator = SchemaValidator::new(&value);
    let example = block_on(schema::example_arguments(&validator));
    if example.is_accepted {
        let words = quoting::split(&example.words.join(" ")).expect("an example that a shell can read");
        let input = match words.as_slice() {
            [option, json, rest @ ..] if option == "--args" => {
                ArgumentInput { base_json: Some(json.clone()), words: rest.to_vec(), ..ArgumentInput::default() }
            }
            words => ArgumentInput { words: words.to_vec(), ..ArgumentInput::default() },
        };
        let built =
            block_on(assemble_arguments(&input, Some(&validator), Validation::Required, &mut FixedReader).validate());
        assert!(built.is_ok(), "{words:?} is not accepted: {built:?}");
    }
    let tool = serde_json::json!({"name": "tool", "inputSchema": value, "outputSchema": value});
    let _ = schema::signature(&tool);
    let raw = serde_json::value::to_raw_value(&tool).expect("a value is JSON");
    let tool = ListItem::new(&raw);
    for api in APIS {
        let (definitions, _) = tool_definitions(
            api,
            &[NamedTool { name: tool_names::exposed_name(None, tool.name()), tool: &tool }],
            None,
        );
        assert!(serde_json::from_str::<&RawValue>(&definitions).is_ok(), "{definitions}");
    }
    let _ = typescript::interface("server", "Server", &[&tool]);
}

/// An event stream: how its bytes are divided into chunks does not matter.
pub fn sse(data: &[u8]) {
    const LIMIT: usize = 1 << 12;
    let whole = decode(std::iter::once(data), LIMIT);
    let split = decode(data.chunks(1), LIMIT);
    assert_eq!(whole, split);
}

fn decode<'a>(chunks: impl Iterator<Item = &'a [u8]>, limit: usize) -> Option<(Vec<SseEvent>, Option<String>)> {
    let mut decoder = SseDecoder::new(limit);
    let mut events = Vec::new();
    for chunk in chunks {
        events.extend(decoder.push(chunk).ok()?);
    }
    let last_event_id = decoder.last_event_id().map(ToOwned::to_owned);
    events.extend(decoder.finish());
    Some((events, last_event_id))
}

/// TARGET and the values of the target options, one per line.
///
/// Splitting words that were quoted for a shell results in the same words.
pub fn target_word(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let environment = environment();
    for line in text.lines().take(8) {
        let _ = classify_word(line);
        let _ = split_command_line(line, &environment);
        let _ = parse::parse_url(line);
        let _ = parse::parse_header_flag(line, 1);
        let _ = parse::parse_variable(line, 1);
        let _ = parse::parse_proxy(line);
    }
    let words: Vec<&str> = text.lines().take(8).filter(|line| !line.contains('\0')).collect();
    if !words.is_empty() {
        let joined = quoting::join(words.iter().copied());
        assert_eq!(
            quoting::split(&joined).as_deref(),
            Some(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()[..])
        );
    }
}

/// A URI template in the first line, and `name=value` in every other line.
///
/// An expansion consists of characters that a URI may contain.
pub fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let Ok(template) = UriTemplate::parse(lines.next().unwrap_or_default()) else { return };
    let names = template.variables();
    assert!(template.required_variables().iter().all(|name| names.contains(name)));
    let mut values = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in lines.take(8).filter_map(|line| line.split_once('=')) {
        values.entry(name).or_default().push(value.to_owned());
    }
    let uri = template.expand(|name| values.get(name).map_or(&[], Vec::as_slice));
    assert!(uri.chars().all(|c| c.is_ascii_graphic()), "{uri:?}");
}

/// A model's response: the arguments of its tool calls are JSON objects, and their results can be written for each API.
pub fn tool_use(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(reply) = parse_reply(&text) else { return };
    let mut arguments = BTreeMap::new();
    let done: Vec<CompletedToolCall> = reply
        .tool_calls
        .into_iter()
        .map(|call| {
            arguments.insert(call.name.clone(), call.arguments.clone());
            let _ = tool_names::may_belong_to("server", &call.name);
            CompletedToolCall { call, outcome: Err("failed".to_owned()) }
        })
        .collect();
    for arguments in arguments.values().flatten() {
        assert!(serde_json::from_str::<serde_json::Map<String, Value>>(arguments).is_ok(), "{arguments}");
    }
    for api in APIS {
        assert!(result_messages(api, &done).is_array());
    }
}
