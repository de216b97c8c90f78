# Completion of mcpipe for Nushell. Candidates come from mcpipe itself, which connects to no server for them.
let mcpipe_other_completer = $env.config.completions.external.completer?
$env.config.completions.external.enable = true
$env.config.completions.external.completer = {|spans|
    if ($spans.0 | path parse | get stem) == "mcpipe" {
        let found = with-env { MCPIPE_COMPLETE: "nushell" } { ^mcpipe -- ...$spans | from json }
        if ($found | is-empty) { null } else { $found }
    } else if $mcpipe_other_completer != null {
        do $mcpipe_other_completer $spans
    }
}
