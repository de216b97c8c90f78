//! What an import would do: which entries are added, under which names, and which are not, and why.

use std::path::{Path, PathBuf};

use super::render::insert;
use super::{Client, Entry, Found, discover, looked_at, name_here, of, read, recognize};
use crate::config::Config;
use crate::config::origins::Fault;
use crate::config::rewrite::Problem;
use crate::config::tree::{Node, Value};
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;

/// What to import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// Every client that is found.
    #[default]
    Everything,
    /// One client.
    Client(Client),
    /// One file.
    File(PathBuf),
}

impl What {
    /// Reads the word of the command line: a client, or a file.
    ///
    /// # Errors
    /// [`Class::Usage`] where it is neither, with the nearest client.
    pub fn parse(environment: &Environment, word: &str) -> Result<Self> {
        let path = Path::new(word);
        let is_file = || crate::config::paths::absolute(environment, path).is_file();
        match Client::parse(word) {
            Some(client) => Ok(What::Client(client)),
            None if word.contains(['/', '\\']) || word.starts_with('~') || path.extension().is_some() || is_file() => {
                Ok(What::File(path.to_owned()))
            }
            None => {
                let all: Vec<&str> = Client::all().map(Client::id).collect();
                let hint = match Client::nearest(word) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => format!("the clients are {}; or name a file", all.join(", ")),
                };
                let message = format!("'{word}' is neither a client mcpipe can import from nor a file");
                Err(Failure::new(Class::Usage, message).hint(hint))
            }
        }
    }
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// From where.
    pub what: What,
    /// Also the servers of other projects than this one.
    pub all: bool,
    /// Entries take the place of configured servers of the same name.
    pub replace: bool,
    /// The file that is written.
    pub file: PathBuf,
    /// The folder of the project whose own file that is, where it is not the user's.
    pub project: Option<PathBuf>,
}

/// Where secrets go that stand as text in what is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuge {
    /// Into variables, which the user sets.
    Variables,
    /// Into the credential store.
    Keychain,
}

/// The longest name that a secret gets, a number after it not counted.
const LONGEST_NAME: usize = 80;

/// What an import would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The files that were read, and how many servers were in each.
    pub files: Vec<(Found, String, usize)>,
    /// What happens to every entry, in the order of the files.
    pub steps: Vec<Step>,
    /// What could not be read or taken over.
    pub problems: Vec<Fault>,
    /// Files that could not be read at all.
    pub failures: Vec<Failure>,
}

/// What happens to one entry.
#[derive(Clone, Debug)]
pub struct Step {
    /// The entry, under the name that it gets.
    pub entry: Entry,
    /// The client and the file it comes from, for people.
    pub from: String,
    /// What happens.
    pub action: Action,
}

/// What happens to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is added.
    Add,
    /// It takes the place of the server of its name, which stands here.
    Replace(String),
    /// A server of its name says the same here.
    Same(String),
    /// Another server has its name, and stands here; it is left alone.
    Conflict(String),
    /// It is left out, for this reason.
    Skip(String),
}

impl Action {
    /// Whether the configuration changes.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self, Action::Add | Action::Replace(_))
    }

    /// The word for JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Action::Add => "add",
            Action::Replace(_) => "replace",
            Action::Same(_) => "same",
            Action::Conflict(_) => "conflict",
            Action::Skip(_) => "skip",
        }
    }
}

/// Says what an import would do; nothing is written.
///
/// # Errors
/// [`Class::Config`] where a file that was named cannot be read, or there is nothing to import from where it was
/// asked for. Of everything that is found, what cannot be read is among the failures.
pub fn plan(environment: &Environment, config: &Config, wish: &Wish) -> Result<Plan> {
    let (found, named) = match &wish.what {
        What::Everything => (discover(environment), false),
        What::Client(client) => (of(environment, *client), false),
        What::File(path) => (vec![recognize(environment, path)?], true),
    };
    let mut plan = Plan::default();
    for found in found {
        match read(environment, &found) {
            Err(failure) if named => return Err(failure),
            Err(failure) => plan.failures.push(failure),
            Ok(imported) => {
                let count = imported.entries.len() + imported.problems.len();
                plan.problems.extend(imported.problems);
                for entry in imported.entries {
                    let from = from(&found, &imported.shown, &entry, environment);
                    plan.add(environment, config, wish, &found, entry, from);
                }
                plan.files.push((found, imported.shown, count));
            }
        }
    }
    if plan.steps.is_empty() && plan.problems.is_empty() && plan.failures.is_empty() {
        return Err(nothing(environment, &wish.what));
    }
    plan.name_variables();
    Ok(plan)
}

/// The client, the file and, where an entry is for one project, that project.
fn from(found: &Found, shown: &str, entry: &Entry, environment: &Environment) -> String {
    let file = match found.client {
        Client::Other => shown.to_owned(),
        client => format!("{}, {shown}", client.title()),
    };
    match &entry.project {
        Some(project) if found.project.is_none() && !found.path.starts_with(project) => {
            format!("{file}, for {}", environment.shorten(project))
        }
        _ => file,
    }
}

fn nothing(environment: &Environment, what: &What) -> Failure {
    match what {
        What::Everything => Failure::new(Class::Config, "no other client has MCP servers set up here")
            .hint("name a file: mcpipe config import FILE"),
        What::Client(client) => {
            let failure = Failure::new(Class::Config, format!("{} has no MCP servers set up here", client.title()));
            let looked = looked_at(environment, *client);
            let failure = looked
                .iter()
                .fold(failure, |failure, path| failure.cause(format!("looked at {}", environment.shorten(path))));
            failure.hint("name its file: mcpipe config import FILE")
        }
        What::File(path) => Failure::new(Class::Config, format!("there are no MCP servers in {}", path.display())),
    }
}

impl Plan {
    fn add(
        &mut self,
        environment: &Environment,
        config: &Config,
        wish: &Wish,
        found: &Found,
        mut entry: Entry,
        from: String,
    ) {
        if let Some(project) = &wish.project {
            at_home_in(project, &mut entry.server);
        }
        let action = match self.elsewhere(environment, wish, found, &entry) {
            Some(reason) => Action::Skip(reason),
            None => match self.taken(&entry) {
                Some(other) => Action::Skip(format!("the same as '{}' from {}", other.entry.name, other.from)),
                None => {
                    self.rename(found, &mut entry);
                    judge(config, wish, found, &entry)
                }
            },
        };
        self.steps.push(Step { entry, from, action });
    }

    /// Why an entry is not for here: it belongs to a project that we are not in.
    fn elsewhere(&self, environment: &Environment, wish: &Wish, found: &Found, entry: &Entry) -> Option<String> {
        let project =
            entry.project.as_ref().filter(|_| found.client == Client::ClaudeCode && found.project.is_none())?;
        let here = environment.cwd().is_some_and(|cwd| cwd.starts_with(project));
        (!wish.all && !here).then(|| format!("it is for {} only; --all takes it too", environment.shorten(project)))
    }

    /// An entry that says the same under the same name and is taken already.
    fn taken(&self, entry: &Entry) -> Option<&Step> {
        self.steps.iter().find(|step| {
            let kept = !matches!(step.action, Action::Skip(_));
            kept && step.entry.original_name == entry.original_name && step.entry.server.same(&entry.server)
        })
    }

    /// Finds a name that no other entry of this import has.
    fn rename(&self, found: &Found, entry: &mut Entry) {
        let free = |name: &str| {
            !self.steps.iter().any(|step| !matches!(step.action, Action::Skip(_)) && step.entry.name == name)
        };
        if free(&entry.name) {
            return;
        }
        let folder = entry.project.as_ref().and_then(|project| project.file_name()).map(|name| name.to_string_lossy());
        let folder = folder.map(|folder| name_here(&folder));
        let suffixes =
            folder.into_iter().chain([found.client.id().to_owned()]).chain((2..).map(|n: u32| n.to_string()));
        let name = suffixes.map(|suffix| format!("{}-{suffix}", entry.name)).find(|name| free(name));
        if let Some(name) = name {
            entry.notes.insert(0, format!("called '{name}', since another entry is '{}'", entry.name));
            entry.name = name;
        }
    }

    /// Gives each secret a variable of its own: two servers may both have an `API_KEY`.
    fn name_variables(&mut self) {
        let mut known: Vec<(String, Secret)> = Vec::new();
        for step in &mut self.steps {
            for finding in &mut step.entry.secrets {
                let secret = finding.secret();
                let used = |name: &str| known.iter().any(|(other, held)| other == name && *held != secret);
                if used(&finding.variable) {
                    let long = super::variables::variable_name(&format!("{}_{}", step.entry.name, finding.variable));
                    let numbered = (2..).map(|n: u32| format!("{long}_{n}"));
                    let name = [long.clone()].into_iter().chain(numbered).find(|name| !used(name));
                    finding.variable = name.unwrap_or(long);
                }
                known.push((finding.variable.clone(), secret));
            }
        }
    }

    /// The entries that would be written.
    pub fn written(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.writes())
    }

    /// Keeps only the entries of these names, as they are called here or there; the others are left out.
    ///
    /// # Errors
    /// [`Class::Usage`] naming what is not there.
    pub fn only(&mut self, names: &[String]) -> Result<()> {
        let is = |step: &Step, name: &String| step.entry.name == *name || step.entry.original_name == *name;
        if let Some(missing) = names.iter().find(|name| !self.steps.iter().any(|step| is(step, name))) {
            let near = crate::config::schema::nearest(missing, self.steps.iter().map(|step| step.entry.name.as_str()));
            let failure = Failure::new(Class::Usage, format!("there is no server '{missing}' to import"));
            return Err(match near {
                Some(near) => failure.hint(format!("did you mean '{near}'?")),
                None => failure,
            });
        }
        for step in &mut self.steps {
            if step.action.writes() && !names.iter().any(|name| is(step, name)) {
                step.action = Action::Skip("it was not asked for".to_owned());
            }
        }
        Ok(())
    }

    /// Puts references in the place of every secret of the entries to be written, and hands back the names and what
    /// they have to hold. `taken` tells whether another secret has a name already.
    ///
    /// # Errors
    /// Those of `taken`.
    pub fn move_secrets(
        &mut self,
        refuge: Refuge,
        taken: &mut dyn FnMut(&str, &Secret) -> Result<bool>,
    ) -> Result<Vec<(String, Secret)>> {
        let mut moved: Vec<(String, Secret)> = Vec::new();
        for step in self.steps.iter_mut().filter(|step| step.action.writes()) {
            for finding in &mut step.entry.secrets {
                let secret = finding.secret();
                let base: String = finding.variable.chars().take(LONGEST_NAME).collect();
                let mut name = base.clone();
                let mut number = 2;
                while moved.iter().any(|(other, held)| *other == name && *held != secret) || taken(&name, &secret)? {
                    name = format!("{base}_{number}");
                    number += 1;
                }
                let reference = match refuge {
                    Refuge::Variables => format!("${{{name}}}"),
                    Refuge::Keychain => format!("${{keychain:{name}}}"),
                };
                finding.replace(&mut step.entry.server, &reference);
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
    /// The problem and the entry that has it.
    pub fn apply(&self, text: &str) -> Result<String, (Problem, &str)> {
        self.written().try_fold(text.to_owned(), |text, step| {
            let replace = matches!(step.action, Action::Replace(_));
            insert(&text, &step.entry, &step.from, replace).map_err(|problem| (problem, step.entry.name.as_str()))
        })
    }
}

/// What the configuration says about an entry's name.
fn judge(config: &Config, wish: &Wish, found: &Found, entry: &Entry) -> Action {
    let Some(server) = config.get(&entry.name) else { return Action::Add };
    let at = server.origin().to_string();
    if server.source.path == found.path {
        return Action::Skip("mcpipe reads this file itself; 'mcpipe config trust' allows it".to_owned());
    }
    if server.entry.same(&entry.server) {
        return Action::Same(at);
    }
    // What stands in another file would stay there, over this one or under it.
    if wish.replace && server.source.path == wish.file { Action::Replace(at) } else { Action::Conflict(at) }
}

/// An entry in a project's own file starts in that project without being told to.
fn at_home_in(project: &Path, server: &mut Node) {
    let here = super::finish::path_text(project);
    if let Value::Table(members) = &mut server.value {
        members.retain(|member| !(member.key == "cwd" && member.value.as_text() == Some(here.as_str())));
    }
}
