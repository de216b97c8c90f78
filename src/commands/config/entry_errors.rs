//! What prevents an entry from being used, as far as it is known without connecting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::bearer::BearerSource;
use crate::config::file::client_forms::split_command;
use crate::config::file::tree::ConfigValue;
use crate::config::origin::ConfigDiagnostic;
use crate::config::settings::ServerSettings;
use crate::config::value::expand;
use crate::config::value::read::InheritEnv;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, ConfiguredServer};
use crate::env::missing_program::missing_program_hint;
use crate::env::programs::{is_path, is_program};
use crate::env::{self, Environment, is_same_variable};
use crate::target::{self, bundle};
use crate::util::quoting::without_secret;

/// What prevents an entry from being used whose file is trusted and has no errors: missing variables, programs and
/// files, and what a connection would report before it connects.
pub(super) fn entry_errors(
    config: &Config,
    server: &ConfiguredServer,
    environment: &Environment,
    secrets: &Secrets<'_>,
) -> Vec<ConfigDiagnostic> {
    match server.read_settings(environment, &config.defaults, secrets) {
        Err(faults) => faults,
        Ok(settings) => match missing_files_and_programs(server, &settings, environment) {
            found if found.is_empty() => {
                target::entry_diagnostic(config, server, settings, environment).into_iter().collect()
            }
            found => found,
        },
    }
}

/// External things that an entry needs: programs, directories, files.
pub(super) fn missing_files_and_programs(
    server: &ConfiguredServer,
    settings: &ServerSettings,
    environment: &Environment,
) -> Vec<ConfigDiagnostic> {
    let mut faults = Vec::new();
    if let Some(program) = settings.command.as_ref().filter(|_| !key_position(server, "command").1) {
        let fault = |why: String| ConfigDiagnostic::at(&server.source, program.offset, why);
        if is_path(&program.value) {
            let path = Path::new(&program.value);
            // A bundle is not executed itself; whether it can be used is checked with the target.
            if !is_program(path) && !bundle::is_bundle(path) {
                let not_executable = fault(format!("'{}' is not executable", without_secret(None, &program.value)));
                faults.push(match split_command(&program.value, Path::new("")) {
                    Some(_) => not_executable.hint(missing_program_hint(&program.value, &settings.args)),
                    None => not_executable,
                });
            }
        } else if child_environment(settings, environment).find_program(&program.value).is_none() {
            let message = format!("program '{}' not found in PATH", without_secret(None, &program.value));
            faults.push(fault(message).hint(missing_program_hint(&program.value, &settings.args)));
        }
    }
    for (key, path) in referenced_files(settings) {
        let (at, secret) = key_position(server, key);
        if secret {
            // Its location is known only when it is used.
            continue;
        }
        if let Err(error) = std::fs::File::open(&path) {
            let message = format!("'{key}' refers to {}, which cannot be read", environment.abbreviate_home(&path));
            faults.push(ConfigDiagnostic::at(&server.source, at, message).cause(error.to_string()));
        }
    }
    faults
}

/// The position of a key (of the server's name if the key does not exist), and whether its value refers to a secret.
fn key_position(server: &ConfiguredServer, key: &str) -> (usize, bool) {
    let auth = server.entry.get("auth").and_then(|auth| auth.value.get(key));
    let Some(member) = server.entry.get(key).or(auth) else { return (server.offset, false) };
    let at = if matches!(member.value.value, ConfigValue::Table(_)) { member.offset } else { member.value.offset };
    (at, member.value.as_str().is_some_and(|text| !expand::secret_references(text).is_empty()))
}

/// The environment in which the child process finds its program.
fn child_environment(settings: &ServerSettings, environment: &Environment) -> Environment {
    let own = settings.env.iter().find(|(name, _)| is_same_variable(name, env::PATH)).map(|(_, path)| path.reveal());
    let inherited = match &settings.inherit_env {
        InheritEnv::All => environment.get_raw(env::PATH),
        InheritEnv::Nothing => None,
        InheritEnv::Only(names) => {
            environment.get_raw(env::PATH).filter(|_| names.iter().any(|name| is_same_variable(name, env::PATH)))
        }
    };
    let path: BTreeMap<&str, &str> = own.or(inherited).map(|path| (env::PATH, path)).into_iter().collect();
    Environment::new(path, Path::new("/"))
}

fn referenced_files(settings: &ServerSettings) -> Vec<(&'static str, PathBuf)> {
    let auth = &settings.auth;
    let all = [
        ("cacert", &settings.cacert),
        ("cert", &settings.cert),
        ("key", &settings.key),
        ("private_key_file", &auth.private_key_file),
        ("assertion_file", &auth.assertion_file),
        ("id_token_file", &auth.id_token_file),
    ];
    let bearer = settings.bearer.iter().filter_map(|source| match source {
        BearerSource::File(path) => Some(("bearer", path.clone())),
        _ => None,
    });
    all.into_iter().filter_map(|(key, path)| Some((key, path.clone()?))).chain(bearer).collect()
}
