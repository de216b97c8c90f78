//! Plans an import: which entries are added and under which names, which are not, and why.

use std::path::{Path, PathBuf};

use super::client_file::sanitized_server_name;
use super::render::{ORIGIN_COMMENT, toml_block};
use super::secrets::FoundSecret;
use super::{
    ClientFile, ImportClient, ImportedServer, discover_client_files, discover_files, read_client_file, recognize_file,
    searched_paths,
};
use crate::config::Config;
use crate::config::file::rewrite::{self, RewriteError};
use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::origin::ConfigDiagnostic;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::suggest::nearest_name;

/// What to import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImportSource {
    /// Every client whose files exist.
    #[default]
    AllClients,
    /// One client.
    Client(ImportClient),
    /// One file.
    File(PathBuf),
}

impl ImportSource {
    /// Parses the word of the command line: a client, or a file.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is neither, with the most similar client.
    pub fn parse(environment: &Environment, word: &str) -> Result<Self> {
        let path = Path::new(word);
        let is_file = || word != "-" && crate::config::paths::absolute_path(environment, path).is_file();
        match ImportClient::parse(word) {
            Some(client) => Ok(ImportSource::Client(client)),
            None if word.contains(['/', '\\']) || word.starts_with('~') || path.extension().is_some() || is_file() => {
                Ok(ImportSource::File(path.to_owned()))
            }
            None => {
                let all: Vec<&str> = ImportClient::all().map(ImportClient::id).collect();
                let hint = match ImportClient::suggest(word) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("use one of {}, or a file", all.join(", ")),
                };
                let message = format!("'{word}' is neither a known client nor a file");
                Err(Failure::new(ErrorKind::Usage, message).hint(hint))
            }
        }
    }
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The source.
    pub source: ImportSource,
    /// Also the servers of other projects.
    pub all_projects: bool,
    /// Entries replace configured servers with the same name.
    pub replace_existing: bool,
    /// Secrets are replaced by references.
    pub moves_secrets: bool,
    /// The file that is written.
    pub target_file: PathBuf,
    /// The directory of the project whose file that is, unless it is the user's.
    pub project: Option<PathBuf>,
}

/// Where the secrets in imported entries are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretDestination {
    /// In variables, which the user sets.
    Variables,
    /// In the credential store.
    Keychain,
}

/// The maximum length of a secret's name, not counting an appended number.
const MAX_SECRET_NAME_CHARS: usize = 80;

/// The plan of an import.
#[derive(Debug, Default)]
pub struct ImportPlan {
    /// The files that were read, and the number of servers in each.
    pub files: Vec<(ClientFile, String, usize)>,
    /// The planned action for every entry, in the order of the files.
    pub steps: Vec<ImportStep>,
    /// What could not be read or imported.
    pub diagnostics: Vec<ConfigDiagnostic>,
    /// Files that could not be read at all.
    pub read_failures: Vec<Failure>,
}

/// One entry of a plan.
#[derive(Clone, Debug)]
pub struct ImportStep {
    /// The entry, with its new name.
    pub server: ImportedServer,
    /// The client and the file that it comes from, for display.
    pub origin: String,
    /// The planned action.
    pub action: ImportAction,
}

/// The planned action for an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportAction {
    /// It is added.
    Add,
    /// It replaces the server with its name, which is defined here.
    Replace(String),
    /// A server with its name has the same settings.
    Identical(String),
    /// Another server has its name and is defined here; it is not changed.
    Conflict(String),
    /// It is skipped for this reason.
    Skip(String),
}

impl ImportAction {
    /// Whether the configuration changes.
    #[must_use]
    fn changes_config(&self) -> bool {
        matches!(self, ImportAction::Add | ImportAction::Replace(_))
    }

    /// Its name in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            ImportAction::Add => "add",
            ImportAction::Replace(_) => "replace",
            ImportAction::Identical(_) => "unchanged",
            ImportAction::Conflict(_) => "conflict",
            ImportAction::Skip(_) => "skip",
        }
    }
}

/// Plans an import; nothing is written.
///
/// # Errors
/// [`ErrorKind::Config`] if a given file cannot be read, or a given source has nothing to import. Of the files of
/// clients, those that cannot be read are in `read_failures`.
pub fn plan_import(environment: &Environment, config: &Config, wish: &ImportOptions) -> Result<ImportPlan> {
    let (found, named) = match &wish.source {
        ImportSource::AllClients => (discover_files(environment), false),
        ImportSource::Client(client) => (discover_client_files(environment, *client), false),
        ImportSource::File(path) => (vec![recognize_file(environment, path)?], true),
    };
    let mut plan = ImportPlan::default();
    for found in found {
        match read_client_file(environment, &found) {
            Err(failure) if named => return Err(failure),
            Err(failure) => plan.read_failures.push(failure),
            Ok(imported) if imported.servers.is_empty() && imported.rejected > 0 => {
                let failure =
                    Failure::new(ErrorKind::Config, format!("no server of {} can be imported", imported.display_path));
                let failure = imported.diagnostics.iter().map(ToString::to_string).fold(failure, Failure::cause);
                if named {
                    return Err(failure);
                }
                plan.read_failures.push(failure);
                plan.files.push((found, imported.display_path, imported.rejected));
            }
            Ok(imported) => {
                let count = imported.servers.len() + imported.rejected;
                plan.diagnostics.extend(imported.diagnostics);
                for entry in imported.servers {
                    let from = describe_origin(&found, &imported.display_path, &entry, environment);
                    plan.add_entry(environment, config, wish, &found, entry, from);
                }
                plan.files.push((found, imported.display_path, count));
            }
        }
    }
    if plan.steps.is_empty() && plan.diagnostics.is_empty() && plan.read_failures.is_empty() {
        return Err(nothing_to_import(environment, &wish.source));
    }
    Ok(plan)
}

/// The client, the file and, for an entry of one project, that project.
fn describe_origin(found: &ClientFile, shown: &str, entry: &ImportedServer, environment: &Environment) -> String {
    let file = match found.client {
        ImportClient::Other => shown.to_owned(),
        client => format!("{}, {shown}", client.title()),
    };
    match &entry.project {
        Some(project) if found.project.is_none() && !found.path.starts_with(project) => {
            format!("{file}, for {}", environment.abbreviate_home(project))
        }
        _ => file,
    }
}

fn nothing_to_import(environment: &Environment, what: &ImportSource) -> Failure {
    match what {
        ImportSource::AllClients => Failure::new(ErrorKind::Config, "found no other client's MCP configuration")
            .hint("name a file: mcpipe config import FILE"),
        ImportSource::Client(client) => {
            let failure = Failure::new(ErrorKind::Config, format!("{} has no MCP configuration here", client.title()));
            let looked = searched_paths(environment, *client);
            let failure = looked.iter().fold(failure, |failure, path| {
                failure.cause(format!("looked at {}", environment.abbreviate_home(path)))
            });
            failure.hint("name its file: mcpipe config import FILE")
        }
        ImportSource::File(path) => Failure::new(ErrorKind::Config, format!("no MCP servers in {}", path.display())),
    }
}

impl ImportPlan {
    fn add_entry(
        &mut self,
        environment: &Environment,
        config: &Config,
        wish: &ImportOptions,
        found: &ClientFile,
        mut entry: ImportedServer,
        from: String,
    ) {
        if let Some(project) = &wish.project {
            remove_redundant_cwd(project, &mut entry.config);
        }
        let action = match self.other_project_reason(environment, wish, found, &entry) {
            Some(reason) => ImportAction::Skip(reason),
            None => match self.find_duplicate(&entry) {
                Some(other) => ImportAction::Skip(format!("the same as '{}' from {}", other.server.name, other.origin)),
                None => {
                    self.make_name_unique(found, &mut entry);
                    decide_action(config, wish, found, &entry)
                }
            },
        };
        self.steps.push(ImportStep { server: entry, origin: from, action });
    }

    /// Why an entry is not imported here: it belongs to another project.
    fn other_project_reason(
        &self,
        environment: &Environment,
        wish: &ImportOptions,
        found: &ClientFile,
        entry: &ImportedServer,
    ) -> Option<String> {
        let project =
            entry.project.as_ref().filter(|_| found.client == ImportClient::ClaudeCode && found.project.is_none())?;
        let here = environment.cwd().is_some_and(|cwd| cwd.starts_with(project));
        (!wish.all_projects && !here)
            .then(|| format!("it is only for {}; use --all to import it", environment.abbreviate_home(project)))
    }

    /// An identical entry with the same name that is imported already.
    fn find_duplicate(&self, entry: &ImportedServer) -> Option<&ImportStep> {
        self.steps.iter().find(|step| {
            let kept = !matches!(step.action, ImportAction::Skip(_));
            kept && step.server.original_name == entry.original_name && step.server.config.is_equivalent(&entry.config)
        })
    }

    /// Finds a name that no other entry of this import has.
    fn make_name_unique(&self, found: &ClientFile, entry: &mut ImportedServer) {
        let free = |name: &str| {
            !self.steps.iter().any(|step| !matches!(step.action, ImportAction::Skip(_)) && step.server.name == name)
        };
        if free(&entry.name) {
            return;
        }
        let folder = entry.project.as_ref().and_then(|project| project.file_name()).map(|name| name.to_string_lossy());
        let folder = folder.map(|folder| sanitized_server_name(&folder));
        let suffixes =
            folder.into_iter().chain([found.client.id().to_owned()]).chain((2..).map(|n: u32| n.to_string()));
        let name = suffixes.map(|suffix| format!("{}-{suffix}", entry.name)).find(|name| free(name));
        if let Some(name) = name {
            entry.notes.insert(0, format!("renamed to '{name}': another entry has the name '{}'", entry.name));
            entry.name = name;
        }
    }

    /// Gives each secret a variable of its own, since two servers may both have an `API_KEY`.
    pub fn assign_variable_names(&mut self) {
        let mut known: Vec<(String, Secret)> = Vec::new();
        for step in self.steps.iter_mut().filter(|step| step.action.changes_config()) {
            for finding in &mut step.server.secrets {
                let secret = finding.secret();
                let used = |name: &str| known.iter().any(|(other, held)| other == name && *held != secret);
                if used(&finding.variable) {
                    let long =
                        super::variables::to_variable_name(&format!("{}_{}", step.server.name, finding.variable));
                    let numbered = (2..).map(|n: u32| format!("{long}_{n}"));
                    let name = [long.clone()].into_iter().chain(numbered).find(|name| !used(name));
                    finding.variable = name.unwrap_or(long);
                }
                known.push((finding.variable.clone(), secret));
            }
        }
    }

    /// The entries that would be written.
    pub fn written_steps(&self) -> impl Iterator<Item = &ImportStep> {
        self.steps.iter().filter(|step| step.action.changes_config())
    }

    /// Keeps only the entries with these names, in mcpipe or in their file.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] naming the first that does not exist.
    pub fn retain_named(&mut self, names: &[String]) -> Result<()> {
        let is = |step: &ImportStep, name: &String| step.server.name == *name || step.server.original_name == *name;
        if let Some(missing) = names.iter().find(|name| !self.steps.iter().any(|step| is(step, name))) {
            let known = self.steps.iter().flat_map(|step| [&step.server.name, &step.server.original_name]);
            let near = nearest_name(missing, known.map(String::as_str));
            let failure = Failure::new(ErrorKind::Usage, format!("there is no server '{missing}' to import"));
            let hint = near.map(|near| format!("did you mean '{near}'?"));
            return Err(hint.into_iter().fold(failure, Failure::hint));
        }
        self.steps.retain(|step| names.iter().any(|name| is(step, name)));
        Ok(())
    }

    /// Replaces every movable secret in the entries to be written by a reference, and returns the names and values.
    /// `taken` reports whether a name is used for another secret.
    ///
    /// # Errors
    /// Those of `taken`.
    pub fn move_secrets(
        &mut self,
        refuge: SecretDestination,
        taken: &mut dyn FnMut(&str, &Secret) -> Result<bool>,
    ) -> Result<Vec<(String, Secret)>> {
        let mut moved: Vec<(String, Secret)> = Vec::new();
        for step in self.steps.iter_mut().filter(|step| step.action.changes_config()) {
            for finding in step.server.secrets.iter_mut().filter(|finding| finding.is_movable()) {
                let secret = finding.secret();
                let base: String = finding.variable.chars().take(MAX_SECRET_NAME_CHARS).collect();
                let mut name = base.clone();
                let mut number = 2;
                while moved.iter().any(|(other, held)| *other == name && *held != secret) || taken(&name, &secret)? {
                    name = format!("{base}_{number}");
                    number += 1;
                }
                let reference = match refuge {
                    SecretDestination::Variables => format!("${{{name}}}"),
                    SecretDestination::Keychain => format!("${{keychain:{name}}}"),
                };
                finding.replace(&mut step.server.config, &reference);
                finding.variable.clone_from(&name);
                if !moved.iter().any(|(other, _)| *other == name) {
                    moved.push((name, secret));
                }
            }
        }
        Ok(moved)
    }

    /// The text of the configuration file with the entries written into it.
    ///
    /// # Errors
    /// The problem, and the entry that has it.
    pub fn apply(&self, text: &str) -> Result<String, (RewriteError, &str)> {
        let mut text = text.to_owned();
        for step in self.written_steps().filter(|step| matches!(step.action, ImportAction::Replace(_))) {
            let name = step.server.name.as_str();
            // A comment at the start of a file is kept as that of the file: here it may be that of the entry.
            let above = if text.starts_with(ORIGIN_COMMENT) { "\n" } else { "" };
            match rewrite::remove(&format!("{above}{text}"), name) {
                Ok(without) => text = without.strip_prefix(above).unwrap_or(&without).to_owned(),
                Err(RewriteError::ServerNotFound) => {}
                Err(problem) => return Err((problem, name)),
            }
        }
        let block = |step: &'_ ImportStep| toml_block(&step.server, &step.origin);
        let blocks: Vec<_> = self.written_steps().map(|step| (step.server.name.as_str(), block(step))).collect();
        rewrite::add_all(&text, &blocks)
    }
}

/// What to do with an entry, by the configured server with its name.
fn decide_action(config: &Config, wish: &ImportOptions, found: &ClientFile, entry: &ImportedServer) -> ImportAction {
    let Some(server) = config.server(&entry.name) else { return ImportAction::Add };
    let at = server.origin().to_string();
    if server.source.path == found.path {
        return ImportAction::Skip("mcpipe reads this file directly, after 'mcpipe config trust'".to_owned());
    }
    let is_same = server.entry.is_equivalent(&entry.config);
    let has_secrets_to_move = wish.moves_secrets && entry.secrets.iter().any(FoundSecret::is_movable);
    if is_same && !has_secrets_to_move {
        return ImportAction::Identical(at);
    }
    if is_same && !wish.replace_existing {
        let why = format!("it is configured at {at} with its secrets as plain text; --force replaces them");
        return ImportAction::Skip(why);
    }
    // A definition in another file would stay there and override this one, or be overridden.
    if wish.replace_existing && server.source.path == wish.target_file {
        ImportAction::Replace(at)
    } else {
        ImportAction::Conflict(at)
    }
}

/// An entry in a project's own file starts in that project by default.
fn remove_redundant_cwd(project: &Path, server: &mut ConfigNode) {
    let here = super::finish::escaped_path(project);
    if let ConfigValue::Table(members) = &mut server.value {
        members.retain(|member| !(member.key == "cwd" && member.value.as_str() == Some(here.as_str())));
    }
}
