#!/bin/sh
# A scripted MCP server over stdio, for the tests of the packages. It needs nothing but a POSIX shell.
while IFS= read -r line; do
  id=${line##*\"id\":}
  id=${id%%[,\}]*}
  case $line in
    *'"method":"initialize"'*)
      result='{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"scripted","version":"1"}}' ;;
    *'"method":"tools/list"'*)
      result='{"tools":[{"name":"greet","description":"Greets somebody","inputSchema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}]}' ;;
    *'"method":"tools/call"'*'"name":"greet"'*)
      name=${line##*\"name\":\"}
      name=${name%%\"*}
      # The members of the arguments and of the call are both called `name`; their order is not fixed.
      case $line in *'"arguments":{"name":"'*) name=${line##*\"arguments\":\{\"name\":\"}; name=${name%%\"*} ;; esac
      result='{"content":[{"type":"text","text":"Hello, '"$name"'!"}]}' ;;
    *'"method":"tools/call"'*)
      printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"Unknown tool"}}\n' "$id"
      continue ;;
    *'"id":'*)
      printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}\n' "$id"
      continue ;;
    *) continue ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
