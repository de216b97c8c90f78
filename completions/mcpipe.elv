
set edit:completion:arg-completer[mcpipe] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) MCPIPE_COMPLETE="elvish" mcpipe -- $@words) | to-lines
}

