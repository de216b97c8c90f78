//! Resolves the target of a command line, with the secrets that the configuration refers to.

use std::ffi::OsString;
use std::sync::Arc;

use crate::cli;
use crate::commands::context::Context;
use crate::commands::usage_errors::{joined_tool_hint, resource_or_prompt_hint, unknown_target_hint};
use crate::config::value::secrets::Secrets;
use crate::config::{Config, LazyConfig};
use crate::error::{Failure, Result};
use crate::interrupt;
use crate::target::{self, Target, TargetFlags, TargetName, TargetOptions, TargetReference};
use crate::transport::Endpoint;

impl Context {
    /// The target of a command line and the words that follow it; see [`TargetName::split_off`].
    ///
    /// # Errors
    /// When there is no target, or it cannot be resolved.
    pub async fn resolve_target(
        &self,
        words: impl IntoIterator<Item = &String>,
        command: &[String],
        takes_tool: bool,
        options: &TargetOptions,
    ) -> Result<(Target, Vec<String>)> {
        let lookup = LazyConfig::new(&self.env, self.global.config.as_deref());
        let (name, words) = TargetName::split_off(words, command, takes_tool, &lookup)?;
        let resolve = |secrets: &Secrets<'_>| name.resolve(options, &lookup, secrets);
        // Secrets are needed only if the configuration was read.
        let defaults = || lookup.config().map(|config| config.defaults.clone()).unwrap_or_default();
        let mut target = match self.with_secrets(defaults, resolve).await {
            Ok(target) => target,
            Err(failure) => {
                let failure = explain_unknown_target(failure, &name, &words, &lookup);
                return Err(self.with_target_hint(&name, &lookup, failure));
            }
        };
        unpack_bundle(&target)?;
        self.redact_credentials(&target);
        target.flags = self.target_flags(options);
        target.reference = Some(Arc::new(TargetReference { name, options: options.clone() }));
        let unchecked = skips_certificate_check(&target);
        for warning in &target.warnings {
            if unchecked { self.ui.warn_always(warning) } else { self.ui.warn(warning) }
        }
        Ok((target, words))
    }

    /// A failure to resolve a target, with a better hint if it is the name of a session.
    fn with_target_hint(&self, name: &TargetName, lookup: &LazyConfig<'_>, failure: Failure) -> Failure {
        #[cfg(unix)]
        if let TargetName::Configured(word) = name
            && lookup.config().is_ok_and(|config| config.server(word).is_none())
        {
            return self.with_session_hint(word, failure);
        }
        #[cfg(not(unix))]
        let _ = (name, lookup);
        failure
    }

    /// The target options, for command lines to paste.
    fn target_flags(&self, options: &TargetOptions) -> TargetFlags {
        TargetFlags::new(self.global.config.as_deref(), options)
    }

    /// The same with placeholders for secrets: the target can be shown, but not connected to.
    #[must_use]
    pub fn resolve_with_placeholders(
        &self,
        words: &[String],
        command: &[String],
        takes_tool: bool,
        options: &TargetOptions,
    ) -> Option<(Target, Vec<String>)> {
        let lookup = LazyConfig::new(&self.env, self.global.config.as_deref());
        let (name, words) = TargetName::split_off(words, command, takes_tool, &lookup).ok()?;
        Some((name.resolve(options, &lookup, &Secrets::placeholders()).ok()?, words))
    }

    /// A configured server, for a command that goes through all of them. With `placeholders` secrets are placeholders:
    /// the target can be shown, but not connected to.
    ///
    /// # Errors
    /// When it cannot be resolved.
    pub async fn resolve_configured(
        &self,
        config: &Config,
        name: &str,
        options: &TargetOptions,
        placeholders: bool,
    ) -> Result<Target> {
        let resolve = |secrets: &Secrets<'_>| target::resolve_configured(config, name, options, &self.env, secrets);
        if placeholders {
            return resolve(&Secrets::placeholders());
        }
        let mut target = self.with_secrets(|| config.defaults.clone(), resolve).await?;
        unpack_bundle(&target)?;
        self.redact_credentials(&target);
        target.flags = self.target_flags(options);
        let reference = TargetReference { name: TargetName::Configured(name.to_owned()), options: options.clone() };
        target.reference = Some(Arc::new(reference));
        // Warnings about the files do not concern this server.
        for warning in target.warnings.iter().skip(config.skipped_files.len() + config.warnings.len()) {
            let warning = format!("{name}: {warning}");
            if skips_certificate_check(&target) { self.ui.warn_always(&warning) } else { self.ui.warn(&warning) }
        }
        Ok(target)
    }
}

/// Adds what the command line may have meant to the failure for a server that is not configured.
#[cold]
fn explain_unknown_target(failure: Failure, name: &TargetName, words: &[String], lookup: &LazyConfig<'_>) -> Failure {
    let TargetName::Configured(name) = name else { return failure };
    let Some(config) = lookup.config().ok().filter(|config| config.server(name).is_none()) else { return failure };
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(server) = words.first().filter(|next| config.server(next).is_some())
        && let Some(line) = swapped_words(&arguments, name, server)
    {
        return failure.hint(format!("use {line}"));
    }
    if let Some(line) = joined_tool_hint(name, config, &arguments).or_else(|| resource_or_prompt_hint(name, &arguments))
    {
        return failure.hint(format!("use {line}"));
    }
    match unknown_target_hint(name, !config.suggest(name).is_empty(), &arguments) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The command line with these two words, which follow each other, in the other order.
fn swapped_words(arguments: &[OsString], first: &str, second: &str) -> Option<String> {
    let at = arguments.windows(2).position(|pair| pair[0] == first && pair[1] == second)?;
    let mut line: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    line.swap(at, at + 1);
    cli::valid_line(&line)
}

/// Unpacks the bundle of a target that will be connected to.
fn unpack_bundle(target: &Target) -> Result<()> {
    let Some(bundle) = &target.bundle else { return Ok(()) };
    interrupt::enter_blocking();
    bundle.unpack()
}

/// Whether certificates are not verified: that warning is shown even with `--quiet`.
fn skips_certificate_check(target: &Target) -> bool {
    match &target.endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => endpoint.tls.insecure,
        Endpoint::Stdio(_) | Endpoint::Unix(_) | Endpoint::Replay(_) => false,
    }
}
