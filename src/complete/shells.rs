//! The supported shells. If clap's script cannot handle the words that mcpipe uses, there is a script of our own.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap_complete::engine::complete;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

/// Every shell with completions.
pub const SHELLS: Shells<'static> = Shells(&[
    &CustomShell { shell: &Bash, script: BASH_SCRIPT },
    &Elvish,
    &Fish,
    &Nushell,
    &Powershell,
    &CustomShell { shell: &Zsh, script: ZSH_SCRIPT },
]);

/// A shell with our own script.
struct CustomShell {
    shell: &'static dyn EnvCompleter,
    script: &'static str,
}

/// bash splits words at `=`, `:` and `@`, which are frequent in mcpipe's arguments, and inserts candidates unquoted.
const BASH_SCRIPT: &str = r#"# Completion of mcpipe for bash. Candidates come from mcpipe itself, which connects to nobody for it.
_mcpipe() {
    # bash cuts words at =, : and @, so they are put together again by where they stand on the line.
    local words=() rest=$COMP_LINE piece glue i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        glue=$rest
        rest=${rest#"${rest%%[![:space:]]*}"}
        [[ $glue == "$rest" && $i -gt 0 ]] && glue=yes || glue=no
        rest=${rest#"$piece"}
        # Of the last word only what stands before the cursor counts; an @ that was cut off belongs to it all the same.
        if [[ $i -eq $COMP_CWORD && $piece != [=:@]* ]]; then
            piece=$2
            [[ $i -gt 0 && ${COMP_WORDS[i-1]} == *@ ]] && piece=${piece#@}
        fi
        if [[ $glue == yes ]]; then
            words[${#words[@]}-1]+=$piece
        else
            words+=("$piece")
        fi
    done
    local word=${words[${#words[@]}-1]} candidate
    # bash replaces no more than its own piece of the word.
    local kept=${word%"$2"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate=${candidate#"$kept"}
        # What means something to the shell is quoted.
        [[ $candidate == *[!A-Za-z0-9_./:=@%+-]* ]] && printf -v candidate %q "$candidate"
        [[ -n $candidate ]] && COMPREPLY+=("$candidate")
    done < <(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) VAR=bash \
        COMPLETER -- "${words[@]}" 2>/dev/null; echo)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:.] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o bashdefault -o nosort -F _mcpipe BIN
else
    complete -o bashdefault -F _mcpipe BIN
fi"#;

/// zsh adds a space after every candidate, also after `name=`, and runs an autoloaded script already for its first
/// completion.
const ZSH_SCRIPT: &str = r#"#compdef BIN
# Completion of mcpipe for zsh. Candidates come from mcpipe itself, which connects to nobody for it.
function _mcpipe_complete() {
    local -a found=("${(@f)$(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) VAR=zsh \
        COMPLETER -- "${words[@]}" 2>/dev/null)}")
    local -a open=() dirs=() other=()
    local one value
    for one in $found; do
        # What is before the first colon without a backslash; the rest describes it.
        value=${one//\\:/$'\1'}
        value=${${value%%:*}//$'\1'/:}
        case $value in
            *=) open+=("$one") ;;
            */) dirs+=("$one") ;;
            *) other+=("$one") ;;
        esac
    done
    (( $#open )) && _describe -V 'arguments' open -S ''
    (( $#dirs )) && _describe -V 'directories' dirs -S ''
    (( $#other )) && _describe -V 'values' other
}

if [[ ${funcstack[1]} == _BIN ]]; then
    _mcpipe_complete "$@"
else
    compdef _mcpipe_complete BIN
fi"#;

fn write_script(script: &str, var: &str, bin: &str, completer: &str, buf: &mut dyn Write) -> Result<(), Error> {
    let completer = shlex::try_quote(completer).unwrap_or(std::borrow::Cow::Borrowed(completer));
    writeln!(buf, "{}", script.replace("COMPLETER", &completer).replace("VAR", var).replace("BIN", bin))
}

impl EnvCompleter for CustomShell {
    fn name(&self) -> &'static str {
        self.shell.name()
    }

    fn is(&self, name: &str) -> bool {
        self.shell.is(name)
    }

    fn write_registration(
        &self,
        var: &str,
        _: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        write_script(self.script, var, bin, completer, buf)
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        args: Vec<OsString>,
        cwd: Option<&Path>,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        self.shell.write_complete(command, args, cwd, buf)
    }
}

/// Nushell asks one completer for all external commands, and expects JSON.
struct Nushell;

/// `null` makes Nushell offer files.
const NUSHELL_SCRIPT: &str = r#"# Completion of mcpipe for Nushell. Candidates come from mcpipe itself, which connects to no server for them.
let mcpipe_other_completer = $env.config.completions.external.completer?
$env.config.completions.external.enable = true
$env.config.completions.external.completer = {|spans|
    if ($spans.0 | path parse | get stem) == "BIN" {
        let found = with-env { VAR: "nushell" } { ^COMPLETER -- ...$spans | from json }
        if ($found | is-empty) { null } else { $found }
    } else if $mcpipe_other_completer != null {
        do $mcpipe_other_completer $spans
    }
}"#;

impl EnvCompleter for Nushell {
    fn name(&self) -> &'static str {
        "nushell"
    }

    fn is(&self, name: &str) -> bool {
        name == "nushell" || name == "nu"
    }

    fn write_registration(
        &self,
        var: &str,
        _: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        write_script(NUSHELL_SCRIPT, var, bin, completer, buf)
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        args: Vec<OsString>,
        cwd: Option<&Path>,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        let index = args.len().saturating_sub(1);
        let found = complete(command, args, index, cwd)?;
        let candidates = found.iter().map(|candidate| {
            let description = candidate.get_help().map(ToString::to_string).unwrap_or_default();
            serde_json::json!({ "value": candidate.get_value().to_string_lossy(), "description": description })
        });
        writeln!(buf, "{}", serde_json::Value::from_iter(candidates))
    }
}
