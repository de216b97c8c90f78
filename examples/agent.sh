#!/usr/bin/env bash
# A model answers a question with the tools of all configured servers: examples/agent.sh 'What changed today?'
# The model chooses the calls, you agree to them, and mcpipe runs them. Needs bash, curl and jq.
#
#   API     anthropic (default), openai, openai-responses or gemini
#   MODEL   the name of the model          KEY   the key for its API
#   ROUNDS  at most so many requests to the model (default 10)
#   BYTES   at most so many bytes of each result (default 20kB)
#   HISTORY a file with the conversation so far, to which this one is added; with it, this is a chat:
#           while read -rp '> ' question; do HISTORY=chat.json examples/agent.sh "$question"; done
#   URL     another server with the same API
set -euo pipefail
api=${API:-anthropic} model=${MODEL:?set MODEL to the name of a model} key=${KEY:?set KEY to the key for its API}
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT

# Where each API keeps the conversation, what a response adds to it, its tool calls, and its text.
more='{model: $model}' list=messages question='{role: "user", content: $text}' header="authorization: Bearer $key"
case $api in
  anthropic)
    url=${URL:-https://api.anthropic.com/v1/messages} header="x-api-key: $key" more='{model: $model, max_tokens: 8192}'
    said='[{role: "assistant", content}]' calls='.content[] | select(.type == "tool_use") | {name, input}'
    text='.content[] | select(.type == "text").text' ;;
  openai)
    url=${URL:-https://api.openai.com/v1/chat/completions} said='[.choices[0].message]'
    calls='.choices[0].message.tool_calls[]?.function' text='.choices[0].message.content // empty' ;;
  openai-responses)
    url=${URL:-https://api.openai.com/v1/responses} list=input said='.output'
    calls='.output[] | select(.type == "function_call") | {name, arguments}'
    text='.output[] | select(.type == "message").content[] | select(.type == "output_text").text' ;;
  gemini)
    url=${URL:-https://generativelanguage.googleapis.com/v1beta/models/$model:generateContent} more='{}' list=contents
    header="x-goog-api-key: $key" question='{role: "user", parts: [{text: $text}]}' said='[.candidates[0].content]'
    calls='.candidates[0].content.parts[].functionCall // empty' text='.candidates[0].content.parts[].text // empty' ;;
  *) echo "agent.sh: unknown API '$api'" >&2 && exit 2 ;;
esac

mcpipe list --for "$api" >"$dir/tools"
before=/dev/null && [ ! -e "${HISTORY:-}" ] || before=$HISTORY
jq -s --arg text "$1" "add // [] | . + [$question]" "$before" >"$dir/history"
for ((round = 0; round < ${ROUNDS:-10}; round++)); do
  jq -n --arg model "$model" --slurpfile tools "$dir/tools" --slurpfile history "$dir/history" \
    "$more + {tools: \$tools[0], $list: \$history[0]}" >"$dir/request"
  # The key is passed through a pipe: other users can see the words of a command.
  curl -sS --fail-with-body -K <(printf 'header = "%s"\n' "$header" 'anthropic-version: 2023-06-01') \
    -H 'content-type: application/json' --data-binary "@$dir/request" "$url" >"$dir/reply" || { cat "$dir/reply" >&2 && exit 5; }
  jq -r "$text" "$dir/reply"
  jq -c "$calls" "$dir/reply" >"$dir/calls"
  if [ ! -s "$dir/calls" ]; then
    [ -z "${HISTORY:-}" ] || jq -s ".[0] + (.[1] | $said)" "$dir/history" "$dir/reply" >"$HISTORY"
    exit 0
  fi
  cat "$dir/calls" >&2
  read -rp 'run these calls? [y/N] ' answer && [ "$answer" = y ] || exit 8
  mcpipe call --tool-use "$dir/reply" --yes --max-bytes "${BYTES:-20kB}" >"$dir/results" || [ $? = 1 ] # 1: a tool failed, and the model learns why
  jq -s ".[0] + (.[1] | $said) + .[2]" "$dir/history" "$dir/reply" "$dir/results" >"$dir/next"
  mv "$dir/next" "$dir/history"
done
echo "agent.sh: no answer after $round requests" >&2
exit 1
