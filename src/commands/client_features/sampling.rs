//! Sampling by `--sampling-command`: one process per request, with the request's JSON on its standard input and the
//! result's JSON on its standard output. Its standard error is inherited.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::commands::context::Context;
use crate::env::{Environment, is_mcpipe_variable, programs};
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Ui;
use crate::session::client_handler::SamplingHandler;
use crate::target;
use crate::transport::{BoxFuture, process};
use crate::util::duration::format_duration;
use crate::util::json_error::json_fault_at;
use crate::util::size::format_size;

/// The longest result accepted, in bytes.
const MAX_RESULT_LENGTH: u64 = 64 << 20;

/// The handler of sampling requests; `None` without `--sampling-command`. `timeout` limits each request.
///
/// # Errors
/// [`ErrorKind::Usage`] when the command line cannot be split, or the program does not exist.
pub fn sampler(context: &Context, timeout: Option<Duration>) -> Result<Option<Arc<dyn SamplingHandler>>> {
    let Some(line) = &context.global.sampling_command else { return Ok(None) };
    let words = target::split_command_line(line, &context.env)?;
    let program = &words[0];
    if !programs::is_path(program) && context.env.find_program(program).is_none() {
        return Err(Failure::new(
            ErrorKind::Usage,
            format!("--sampling-command: program '{program}' not found in PATH"),
        )
        .hint(format!("install {program}, or give its full path")));
    }
    Ok(Some(Arc::new(SamplingCommand {
        words,
        env: context.env.clone(),
        ui: context.ui.clone(),
        interrupt: context.interrupt.clone(),
        timeout,
        one_at_a_time: Mutex::new(()),
    })))
}

struct SamplingCommand {
    words: Vec<String>,
    env: Arc<Environment>,
    ui: Arc<Ui>,
    interrupt: Interrupt,
    timeout: Option<Duration>,
    /// A model costs money, and nothing else limits how many run at once.
    one_at_a_time: Mutex<()>,
}

impl SamplingHandler for SamplingCommand {
    fn sample<'a>(&'a self, params: &'a Value) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let _turn = self.one_at_a_time.lock().await;
            // Its standard error may be the terminal.
            let _quiet = self.ui.pause_progress();
            let run = self.interrupt.run_until_interrupted(self.run(params));
            match self.timeout {
                None => run.await?,
                Some(time) => match tokio::time::timeout(time, run).await {
                    Ok(ended) => ended?,
                    Err(_) => Err(Failure::new(
                        ErrorKind::Timeout,
                        format!("the sampling command took longer than {}", format_duration(time)),
                    )
                    .hint("allow more time: --timeout 5m")),
                },
            }
        })
    }
}

impl SamplingCommand {
    async fn run(&self, params: &Value) -> Result<Value> {
        let failed = || Failure::new(ErrorKind::Failed, "the sampling command failed");
        let mut command = Command::new(self.env.resolve_program(&self.words[0], None));
        command.args(&self.words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.env_clear().envs(self.env.iter().filter(|(name, _)| !is_mcpipe_variable(name)));
        command.kill_on_drop(true);
        let mut child = process::spawn(&mut command)
            .map_err(|error| failed().cause(format!("cannot start '{}'", self.words[0])).caused_by(&error))?;
        process::exclude_child(child.id());
        // However this ends, no process that it started is left running.
        let _group = process::ProcessGroup::led_by(child.id().unwrap_or_default());
        let output = write_and_read(&mut child, params).await.map_err(|error| failed().caused_by(&error))?;
        if output.len() as u64 > MAX_RESULT_LENGTH {
            return Err(failed().cause(format!("it printed more than {}", format_size(MAX_RESULT_LENGTH))));
        }
        let status = child.wait().await.map_err(|error| failed().caused_by(&error))?;
        if !status.success() {
            return Err(failed().cause(format!("{}: {status}", self.words[0])));
        }
        parse_result(&output).map_err(|why| {
            failed().cause(why).hint(
                "it must print the result as one JSON object: \
                 {\"role\":\"assistant\",\"content\":{\"type\":\"text\",\"text\":\"…\"},\"model\":\"…\"}",
            )
        })
    }
}

/// Writes the request and reads the result at the same time: either pipe may be full.
async fn write_and_read(child: &mut Child, params: &Value) -> std::io::Result<Vec<u8>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command that does not need the request may close its input.
            let _ = stdin.write_all(format!("{params}\n").as_bytes()).await;
        }
    };
    let read = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            // One byte beyond the limit shows that there is more.
            stdout.take(MAX_RESULT_LENGTH + 1).read_to_end(&mut output).await?;
        }
        Ok(output)
    };
    tokio::join!(write, read).1
}

/// Parses a `CreateMessageResult`. Only its required members are checked.
fn parse_result(output: &[u8]) -> std::result::Result<Value, String> {
    let value: Value =
        serde_json::from_slice(output).map_err(|error| format!("it did not print JSON: {}", json_fault_at(&error)))?;
    let Value::Object(members) = &value else { return Err("it printed JSON that is not an object".to_owned()) };
    let missing = ["role", "content", "model"].iter().find(|name| !members.contains_key(**name));
    match missing {
        Some(name) => Err(format!("the result it printed has no '{name}'")),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_is_an_object_with_what_every_server_needs() {
        let good = json!({"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m", "more": 1});
        assert_eq!(parse_result(good.to_string().as_bytes()), Ok(good));
        for (bad, why) in [
            ("", "it did not print JSON: it ends too early"),
            ("hello", "it did not print JSON: "),
            ("[]", "it printed JSON that is not an object"),
            (r#"{"role":"assistant","content":{}}"#, "the result it printed has no 'model'"),
        ] {
            assert!(parse_result(bad.as_bytes()).is_err_and(|message| message.starts_with(why)), "{bad}");
        }
    }
}
