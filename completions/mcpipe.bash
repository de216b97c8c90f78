# Completion of mcpipe for bash. Candidates come from mcpipe itself, which connects to nobody for it.
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
    done < <(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) MCPIPE_COMPLETE=bash \
        mcpipe -- "${words[@]}" 2>/dev/null; echo)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:.] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o bashdefault -o nosort -F _mcpipe mcpipe
else
    complete -o bashdefault -F _mcpipe mcpipe
fi
