//! Candidates that are known without a connection: configured servers, and their cached lists.

use std::sync::{Arc, OnceLock};

use clap::FromArgMatches;
use serde_json::Value;

use crate::assets;
use crate::auth::store::named_secrets;
use crate::cli::{self, Cli, Command, GlobalOptions, TargetOptions, TaskCommand, TaskWaitArgs};
use crate::commands::Context;
use crate::commands::context::{CredentialStores, SecretCache};
use crate::commands::credentials::LoginOptions as Login;
use crate::commands::task_handles::{TaskHandle, TaskHandles};
use crate::complete::command_line::PartialCommandLine;
use crate::complete::files::{self, Candidate};
use crate::config::Config;
use crate::config::import::ImportClient;
use crate::config::value::expand;
use crate::config::value::secrets::SecretReference;
use crate::env::Environment;
use crate::interrupt::Interrupt;
use crate::output::{Terminal, Ui, UiOptions, escape};
use crate::protocol::method;
use crate::protocol::views::{ListItem, ListKind};
use crate::schema;
use crate::session::cache::ServerCache;
use crate::target::Target;

/// The maximum width of a description, in columns.
const MAX_DESCRIPTION_WIDTH: usize = 60;

/// The command line that is being completed, and its environment.
pub struct CandidateSource {
    context: Context,
    /// TARGET and the words after it.
    words: Vec<String>,
    command: Vec<String>,
    target_options: TargetOptions,
    /// Whether `SERVER.TOOL` is possible.
    accepts_server_tool: bool,
}

impl CandidateSource {
    /// What is known about this command line.
    pub fn new(typed: &PartialCommandLine) -> Self {
        // Words that are still missing are not an error.
        let matches = cli::command().ignore_errors(true).try_get_matches_from(&typed.words_before);
        let mut cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).ok();
        let global = match &mut cli {
            Some(cli) => cli.take_global_options(),
            None => {
                GlobalOptions { config: typed.option_value("--config").map(Into::into), ..GlobalOptions::default() }
            }
        };
        let (words, command, reach, splits) = match cli.map(|cli| cli.command) {
            Some(Command::Call(args)) => {
                let words = args.target.into_iter().chain(args.tool).chain(args.args);
                (words.collect(), args.command, args.target_options, true)
            }
            Some(Command::List(args)) => {
                (args.target.into_iter().chain(args.tool).collect(), args.command, args.target_options, true)
            }
            Some(Command::Read(args)) => {
                (args.target.into_iter().chain(args.uris).collect(), args.command, args.target_options, false)
            }
            Some(Command::Prompt(args)) => {
                let words = args.target.into_iter().chain(args.name).chain(args.args);
                (words.collect(), args.command, args.target_options, false)
            }
            Some(Command::Request(args)) => {
                (args.target.into_iter().chain(args.words).collect(), args.command, args.target_options, false)
            }
            Some(Command::Task(args)) => match args.command {
                TaskCommand::Get(one) | TaskCommand::Cancel(one) => (one.words, one.command, one.target_options, false),
                TaskCommand::Wait(TaskWaitArgs { task, .. }) => (task.words, task.command, task.target_options, false),
                TaskCommand::List(_) => Default::default(),
            },
            _ => (Vec::new(), Vec::new(), TargetOptions::default(), false),
        };
        let options = UiOptions { quiet: true, ..UiOptions::default() };
        let silent =
            Ui::with_writers(options, Terminal::default(), Box::new(std::io::sink()), Box::new(std::io::sink()));
        let context = Context {
            ui: Arc::new(silent),
            env: Arc::new(Environment::from_process()),
            interrupt: Interrupt::default(),
            global,
            credential_stores: CredentialStores::default(),
            trace: OnceLock::new(),
            recording: OnceLock::new(),
            unused_session: std::sync::Once::new(),
            secret_cache: SecretCache::default(),
        };
        CandidateSource { context, words, command, target_options: reach, accepts_server_tool: splits }
    }

    /// The configured servers that are usable, as far as the files can be read.
    pub fn servers(&self) -> Vec<Candidate> {
        let (config, _) = Config::load_lenient(&self.context.env, self.context.global.config.as_deref());
        let usable = config.servers().iter().filter(|server| server.check_usable().is_ok());
        usable.map(|server| (server.name.clone(), description_line(&server.source.display_path))).collect()
    }

    /// The tasks that mcpipe started, at one server once it is typed; before that, the servers too.
    pub fn tasks(&self) -> Vec<Candidate> {
        let mut handles = TaskHandles::open(&self.context.env).all();
        let servers = match self.words.first() {
            Some(server) => {
                handles.retain(|handle| handle.name == *server);
                Vec::new()
            }
            None => self.servers(),
        };
        let about = |handle: &TaskHandle| description_line(&format!("{}, {}", handle.tool, handle.name));
        let ids = handles.into_iter().map(|handle| (handle.id.clone(), about(&handle)));
        ids.chain(servers).collect()
    }

    /// The sessions that are running or have crashed, with their targets.
    pub fn sessions(&self) -> Vec<Candidate> {
        #[cfg(unix)]
        {
            use crate::transport::kept::files::{SessionFiles, session_dir};
            let all = SessionFiles::all(&session_dir(&self.context.env));
            let records = all.iter().filter_map(SessionFiles::record);
            records.map(|record| (record.name, description_line(&record.target))).collect()
        }
        #[cfg(not(unix))]
        Vec::new()
    }

    /// The stored secrets; with `wanted` also those that servers refer to. The keychain is not opened for this.
    pub fn secrets(&self, wanted: bool) -> Vec<Candidate> {
        let (config, _) = Config::load_lenient(&self.context.env, self.context.global.config.as_deref());
        let store = self.context.credential_store(config.defaults.credential_store.as_deref());
        let mut names = store.ok().and_then(|store| named_secrets::secret_names(&*store).ok()).unwrap_or_default();
        let mut referred = Vec::new();
        for server in config.servers().iter().filter(|_| wanted) {
            server.entry.for_each_string(&mut |text, _| referred.extend(expand::secret_references(text)));
        }
        names.extend(referred.into_iter().filter_map(|one| match one {
            SecretReference::Keychain(name) => Some(name),
            SecretReference::Command(_) => None,
        }));
        names.sort();
        names.dedup();
        let users = |name: &String| config.servers_using_secret(name).join(" ");
        names.into_iter().map(|name| (name.clone(), description_line(&users(&name)))).collect()
    }

    /// Clients whose servers can be imported, and files.
    pub fn clients(&self, current: &str) -> Vec<Candidate> {
        let clients = ImportClient::all().map(|client| (client.id().to_owned(), client.title().to_owned()));
        clients.chain(files::path_candidates("", current)).collect()
    }

    /// `SERVER.TOOL`, if the word begins with a server.
    pub fn server_tools(&self, current: &str) -> Vec<Candidate> {
        let mut all = Vec::new();
        for (name, _) in self.servers() {
            if current.strip_prefix(&name).is_some_and(|rest| rest.starts_with('.'))
                && let Some((target, _)) = self.resolve(std::slice::from_ref(&name))
            {
                all.extend(
                    self.tools_of(&target)
                        .iter()
                        .map(|tool| (format!("{name}.{}", tool.name()), entry_description(tool))),
                );
            }
        }
        all
    }

    /// The tools of the target; after `SERVER.TOOL` the tool's arguments.
    pub fn tools(&self, current: &str) -> Vec<Candidate> {
        let Some((target, rest)) = self.resolve_target() else { return Vec::new() };
        if !rest.is_empty() {
            return self.arguments(current);
        }
        self.tools_of(&target).iter().map(|tool| (tool.name().to_owned(), entry_description(tool))).collect()
    }

    /// The arguments of the tool that are still missing, as `name=`; the values of the one that is being typed.
    pub fn arguments(&self, current: &str) -> Vec<Candidate> {
        // `@FILE` does not depend on the tool; `@@` is text.
        if let Some((name, file)) = current.split_once("=@")
            && !file.starts_with('@')
        {
            return files::path_candidates(&format!("{name}=@"), current);
        }
        let Some((target, rest)) = self.resolve_target() else { return Vec::new() };
        let Some((tool, given)) = rest.split_first() else { return Vec::new() };
        let tools = self.tools_of(&target);
        let Some(tool) = tools.iter().find(|one| one.name() == tool) else { return Vec::new() };
        let parameters = tool.input_schema().map(schema::parameters).unwrap_or_default();
        let name_of = |word: &str| word.split_once('=').map(|(name, _)| name.trim_end_matches(':').to_owned());
        if let Some(name) = name_of(current) {
            let row = parameter_row_name(&name);
            let Some(parameter) = parameters.into_iter().find(|one| one.name == row) else { return Vec::new() };
            let mut values: Vec<String> = parameter
                .allowed_values
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.to_string(), schema::literal_value))
                .collect();
            if values.is_empty() && parameter.type_text == "boolean" {
                values = vec!["true".to_owned(), "false".to_owned()];
            }
            return values.into_iter().map(|value| (format!("{name}={value}"), String::new())).collect();
        }
        let given: Vec<String> = given.iter().filter_map(|word| name_of(word)).collect();
        // An array is typed item by item.
        let is_array = |kind: &str| kind.ends_with("[]") || kind.starts_with('[');
        let open = |one: &schema::Parameter| one.type_text.split(" | ").any(is_array) || !given.contains(&one.name);
        let described = |one: schema::Parameter| {
            let words =
                [one.type_text.as_str(), if one.is_required { "required" } else { "" }, one.description.as_str()];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            // The first item, as it is typed.
            (format!("{}=", one.name.replace("[]", "[0]")), description_line(&words.join(", ")))
        };
        // A parameter that allows any other name has no values to offer.
        parameters.into_iter().filter(open).filter(|one| !one.name.ends_with('*')).map(described).collect()
    }

    /// The resources and templates of the target.
    pub fn resources(&self) -> Vec<Candidate> {
        let Some((target, _)) = self.resolve_target() else { return Vec::new() };
        let kinds = [ListKind::Resources, ListKind::Templates];
        let all = kinds.into_iter().flat_map(|kind| self.cached_list(&target, kind));
        all.map(|entry| (entry.uri().to_owned(), entry_description(&entry))).collect()
    }

    /// The prompts of the target.
    pub fn prompts(&self) -> Vec<Candidate> {
        let Some((target, _)) = self.resolve_target() else { return Vec::new() };
        self.cached_list(&target, ListKind::Prompts)
            .iter()
            .map(|prompt| (prompt.name().to_owned(), entry_description(prompt)))
            .collect()
    }

    /// The arguments of the prompt that are still missing, as `name=`.
    pub fn prompt_arguments(&self) -> Vec<Candidate> {
        let Some((target, rest)) = self.resolve_target() else { return Vec::new() };
        let Some((name, given)) = rest.split_first() else { return Vec::new() };
        let prompts = self.cached_list(&target, ListKind::Prompts);
        let arguments = prompts
            .iter()
            .find(|prompt| prompt.name() == name)
            .and_then(|prompt| prompt.value().get("arguments")?.as_array().cloned())
            .unwrap_or_default();
        let text = |argument: &Value, key: &str| argument.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        arguments
            .iter()
            .filter_map(|argument| Some((format!("{}=", text(argument, "name")?), argument)))
            .filter(|(name, _)| !given.iter().any(|word| word.starts_with(name)))
            .map(|(name, argument)| (name, description_line(&text(argument, "description").unwrap_or_default())))
            .collect()
    }

    fn resolve_target(&self) -> Option<(Target, Vec<String>)> {
        self.resolve(&self.words)
    }

    fn resolve(&self, words: &[String]) -> Option<(Target, Vec<String>)> {
        self.context.resolve_with_placeholders(words, &self.command, self.accepts_server_tool, &self.target_options)
    }

    fn tools_of(&self, target: &Target) -> Vec<ListItem> {
        let mut all = self.cached_list(target, ListKind::Tools);
        all.retain(|tool| target.policy.permits(tool.name()));
        all
    }

    /// The server's latest cached list for the current identity.
    fn cached_list(&self, target: &Target, kind: ListKind) -> Vec<ListItem> {
        let identity = match self.context.token_provider(target, Login::default()) {
            Ok(gate) => gate.and_then(|gate| gate.login_id().ok().flatten()),
            Err(_) => return Vec::new(),
        };
        let memory = ServerCache::for_target(target, self.context.env.cache_dir().as_deref(), identity.as_deref());
        memory.latest_list(kind).unwrap_or_default().iter().map(|item| ListItem::new(item)).collect()
    }
}

/// The name of a parameter in the description, `a[].b`, for the typed `a[0].b`.
fn parameter_row_name(name: &str) -> String {
    let mut parts = name.split('[');
    let mut row = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        row.push('[');
        row.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    row
}

/// The requests of the protocol.
pub fn methods() -> Vec<Candidate> {
    method::REQUESTS.iter().map(|name| ((*name).to_owned(), String::new())).collect()
}

/// The commands with a manual page: subcommands of those that are typed, or names of pages once one is begun.
pub fn man_pages(typed: &PartialCommandLine, current: &str) -> Vec<Candidate> {
    if current.contains('-') {
        return assets::MAN_PAGES.iter().map(|(name, _)| ((*name).to_owned(), String::new())).collect();
    }
    let mut command = cli::command();
    command.build();
    let words = typed.words_before.iter().skip_while(|word| *word != "man").skip(1);
    let mut at = &command;
    for word in words.filter(|word| !word.starts_with('-')) {
        let Some(inner) = at.find_subcommand(word) else { return Vec::new() };
        at = inner;
    }
    let inner = at.get_subcommands().filter(|inner| inner.get_name() != "help");
    let about = |inner: &clap::Command| inner.get_about().map(ToString::to_string).unwrap_or_default();
    inner.map(|inner| (inner.get_name().to_owned(), description_line(&about(inner)))).collect()
}

/// The first line of a server's description.
fn entry_description(entry: &ListItem) -> String {
    let text = if entry.description().is_empty() { entry.title().unwrap_or_default() } else { entry.description() };
    description_line(text)
}

/// A server's text in a form that is safe in a shell.
fn description_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    escape::truncate(&escape::one_line(line), MAX_DESCRIPTION_WIDTH).into_owned()
}
