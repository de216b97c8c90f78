complete --keep-order --exclusive --command mcpipe --arguments "(MCPIPE_COMPLETE=fish mcpipe -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
