//! `test`: whether servers can be reached and keep to the protocol.

mod checks;
mod lint;
mod report;

use futures_util::StreamExt;
use futures_util::stream;

use crate::cli::TestArgs;
use crate::commands::context::{Context, Exit};
use crate::commands::lists::DEFAULT_JOBS;
use crate::error::{ErrorKind, Failure, Result};
use crate::target::Target;

/// Runs `test`.
///
/// # Errors
/// When there is no target, one cannot be resolved, or mcpipe is interrupted.
pub async fn run(context: &Context, args: TestArgs) -> Result<Exit> {
    let mut targets = Vec::new();
    if !args.command.is_empty() {
        if let Some(word) = args.targets.first() {
            return Err(Failure::new(ErrorKind::Usage, format!("'{word}' and a command after `--` are two targets"))
                .hint("quote the command line to test several servers: mcpipe test NAME 'npx -y SERVER'"));
        }
        targets.push(resolve(context, &[], &args).await?);
    }
    for word in &args.targets {
        targets.push(resolve(context, std::slice::from_ref(word), &args).await?);
    }
    if targets.is_empty() {
        return Err(Failure::new(ErrorKind::Usage, "no target was given")
            .hint("name a server, a URL or a command line: mcpipe test TARGET"));
    }
    let is_named = targets.len() > 1;
    let progress = context.progress(&match targets.as_slice() {
        [only] => format!("checking {}", only.name),
        all => format!("checking {} servers", all.len()),
    });
    let jobs = usize::from(args.jobs.unwrap_or(DEFAULT_JOBS));
    let all = async {
        let mut running =
            stream::iter(targets.into_iter().map(|target| checks::check(context, target, &progress))).buffered(jobs);
        let mut reports = Vec::new();
        while let Some(report) = running.next().await {
            let report = report?;
            let _pause = context.ui.pause_progress();
            report::print_checks(context, &report, is_named)?;
            reports.push(report);
        }
        Ok(report::finish(context, &reports))
    };
    progress.show_during(all).await
}

async fn resolve(context: &Context, words: &[String], args: &TestArgs) -> Result<Target> {
    let (target, _) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    Ok(target)
}
