//! `test`: whether servers can be reached and keep to the protocol, and whether they do what suites say.

mod checks;
mod exports;
mod html;
mod init;
mod lint;
mod portability;
mod print;
mod report;
mod suite;
mod suite_files;
pub mod suite_keys;
mod suite_run;
mod template;

use std::cell::Cell;

use futures_util::stream::{self, LocalBoxStream, StreamExt};

use crate::cli::TestArgs;
use crate::commands::call::concurrent::DEFAULT_JOBS;
use crate::commands::context::{Context, Exit};
use crate::commands::lock::file::LockFile;
use crate::commands::test::checks::CheckOptions;
use crate::commands::test::exports::ExportOptions;
use crate::commands::test::report::TestReport;
use crate::commands::test::suite::Suite;
use crate::commands::test::suite_run::SuiteOptions;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Progress;
use crate::target::Target;
use crate::util::quoting;
use crate::util::suggest::nearest_name;

/// What the command line asks to test.
struct TestPlan {
    /// Servers for the built-in checks.
    targets: Vec<Target>,
    /// Suites, each with the servers to run it against.
    suites: Vec<(Suite, Vec<Target>)>,
}

/// Runs `test`.
///
/// # Errors
/// When there is no target, one cannot be resolved, a suite is invalid, or mcpipe is interrupted.
pub async fn run(context: &Context, args: TestArgs) -> Result<Exit> {
    if args.schema {
        return context.ui.print_json_pretty(&suite_keys::suite_schema().to_string()).map(|()| Exit::Done);
    }
    let exports =
        ExportOptions { junit: args.junit.as_deref(), markdown: args.markdown.as_deref(), html: args.html.as_deref() };
    exports::check(&exports)?;
    let lock = args.locked.as_deref().map(LockFile::read).transpose()?;
    let work = plan_tests(context, &args).await?;
    if args.init {
        return Box::pin(init(context, work)).await;
    }
    check_any_test(&work.suites, args.filter.as_deref())?;
    let count = work.targets.len() + work.suites.iter().map(|(_, targets)| targets.len()).sum::<usize>();
    let first = work.targets.first().or_else(|| work.suites.first().and_then(|(_, targets)| targets.first()));
    let progress = context.progress(&match first {
        Some(only) if count == 1 => format!("testing {}", only.name),
        _ => format!("testing {count} servers and suites"),
    });
    progress.show_during(run_all(context, &args, lock.as_ref(), work, &progress, &exports, count > 1)).await
}

/// Runs everything, up to `--jobs` at once, and prints each as it ends, in order.
async fn run_all(
    context: &Context,
    args: &TestArgs,
    lock: Option<&LockFile>,
    work: TestPlan,
    progress: &Progress,
    exports: &ExportOptions<'_>,
    is_one_of_several: bool,
) -> Result<Exit> {
    let options = SuiteOptions {
        filter: args.filter.as_deref(),
        fail_fast: args.fail_fast,
        effects: args.effects,
        update: args.update,
        retries: context.global.retries.unwrap_or(0),
        locked: args.locked.as_deref(),
        keeps_exchange: args.html.is_some(),
        has_failed: Cell::new(false),
    };
    let check_options = CheckOptions { lock: args.locked.as_deref().zip(lock), keeps_exchange: args.html.is_some() };
    let jobs = usize::from(args.jobs.unwrap_or(DEFAULT_JOBS));
    let checks = work.targets.into_iter().map(|target| TestJob::Checks(Box::new(target)));
    let suites = work.suites.iter().flat_map(|(suite, targets)| {
        targets.iter().map(move |target| TestJob::Suite(suite, (target, targets.len() > 1)))
    });
    let mut running: LocalBoxStream<'_, Result<TestReport>> = stream::iter(checks.chain(suites))
        .map(|job| {
            let (options, check_options) = (&options, &check_options);
            async move {
                match job {
                    TestJob::Checks(target) => checks::check(context, *target, progress, check_options).await,
                    TestJob::Suite(suite, target) => {
                        let on_test =
                            |name: &str| progress.set_message(&format!("{}: {name}", suite.source.display_path));
                        Box::pin(suite_run::run(context, suite, target, options, on_test)).await
                    }
                }
            }
        })
        .buffered(jobs)
        .boxed_local();
    let (mut reports, mut stopped) = (Vec::new(), None);
    // After an interruption, what has not begun ends at once.
    while let Some(ended) = running.next().await {
        let mut report = match ended {
            Ok(report) => report,
            Err(failure) => {
                stopped.get_or_insert(failure);
                continue;
            }
        };
        stopped = stopped.or(report.stopped.take());
        if !args.tap {
            let _pause = context.ui.pause_progress();
            print::print_report(context, &report, is_one_of_several)?;
        }
        reports.push(report);
    }
    if args.tap {
        context.ui.print_text(&exports::tap(&context.ui, &reports, stopped.as_ref()))?;
    }
    // Without a result, the reports of an earlier run stay.
    let written = match stopped.is_some() && reports.iter().all(|report| report.results.is_empty()) {
        true => Ok(()),
        false => exports::write(context, &reports, exports),
    };
    let exit = print::finish(context, &reports);
    match stopped {
        Some(failure) => Err(failure),
        None => written.map(|()| exit),
    }
}

/// One thing to test.
enum TestJob<'a> {
    Checks(Box<Target>),
    /// A suite, and one of its targets, with whether there are several.
    Suite(&'a Suite, (&'a Target, bool)),
}

/// Resolves every target and reads every suite, before anything is connected.
async fn plan_tests(context: &Context, args: &TestArgs) -> Result<TestPlan> {
    let mut work = TestPlan { targets: Vec::new(), suites: Vec::new() };
    if !args.command.is_empty() {
        if let Some(word) = args.targets.first() {
            return Err(Failure::new(ErrorKind::Usage, format!("'{word}' and a command after `--` are two targets"))
                .hint("quote the command line to test several servers: mcpipe test NAME 'npx -y SERVER'"));
        }
        work.targets.push(resolve(context, &[], args).await?);
    }
    for word in &args.targets {
        if !suite_files::is_suite_word(context, word)? {
            work.targets.push(resolve(context, std::slice::from_ref(word), args).await?);
            continue;
        }
        for path in suite_files::find(word)? {
            let suite = suite_files::load(context, &path, args.target.is_some()).await?;
            let targets = suite_files::targets(context, &suite, args.target.as_deref(), &args.target_options).await?;
            work.suites.push((suite, targets));
        }
    }
    if work.targets.is_empty() && work.suites.is_empty() {
        return Err(Failure::new(ErrorKind::Usage, "no target was given")
            .hint("name a server, a URL, a command line or a suite: mcpipe test TARGET"));
    }
    if let Some(option) = suite_option(args).filter(|_| work.suites.is_empty()) {
        return Err(Failure::new(ErrorKind::Usage, format!("{option} applies only to suites"))
            .hint("name a suite: a file that ends in .toml, or a directory with such files"));
    }
    Ok(work)
}

/// Refuses suites of which no test would run: a typing error in a filter must not look like success.
fn check_any_test(suites: &[(Suite, Vec<Target>)], filter: Option<&str>) -> Result<()> {
    let names = || suites.iter().flat_map(|(suite, _)| &suite.tests).map(|test| test.name.as_str());
    if suites.is_empty() || names().any(|name| filter.is_none_or(|word| name.contains(word))) {
        return Ok(());
    }
    let Some(filter) = filter.filter(|_| names().next().is_some()) else {
        let files: Vec<&str> = suites.iter().map(|(suite, _)| suite.source.display_path.as_str()).collect();
        return Err(Failure::new(ErrorKind::Usage, format!("no tests in {}", files.join(", ")))
            .hint("add one: [[test]], with call, read, prompt, list or request"));
    };
    let words = names().flat_map(str::split_whitespace);
    let hint = nearest_name(filter, names().chain(words)).map_or_else(
        || "use a part of the name of a test, in the same case".to_owned(),
        |name| format!("did you mean --filter {}?", quoting::quote(name)),
    );
    Err(Failure::new(ErrorKind::Usage, format!("no test has a name that contains '{filter}'")).hint(hint))
}

/// The first option that is given and applies only to suites.
fn suite_option(args: &TestArgs) -> Option<&'static str> {
    let options = [
        (args.target.is_some(), "--target"),
        (args.filter.is_some(), "--filter"),
        (args.fail_fast, "--fail-fast"),
        (args.effects, "--effects"),
        (args.update, "--update"),
    ];
    options.into_iter().find_map(|(given, name)| given.then_some(name))
}

async fn resolve(context: &Context, words: &[String], args: &TestArgs) -> Result<Target> {
    let (target, _) = context.resolve_target(words, &args.command, false, &args.target_options).await?;
    Ok(target)
}

/// Prints a new suite for a server.
async fn init(context: &Context, work: TestPlan) -> Result<Exit> {
    let mut targets = work.targets.into_iter();
    let (Some(target), None, true) = (targets.next(), targets.next(), work.suites.is_empty()) else {
        return Err(Failure::new(ErrorKind::Usage, "--init needs one server")
            .hint("write a suite for it: mcpipe test --init TARGET > server.toml"));
    };
    let progress = context.progress(&format!("asking {}", target.name));
    let text = Box::pin(progress.show_during(init::suite_text(context, target))).await?;
    context.ui.print_text(&text).map(|()| Exit::Done)
}
