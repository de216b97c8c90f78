#!/bin/bash
# Runs the tests that need a real Secret Service: gnome-keyring under a session bus of its own, in every state.
#
#   tests/real/keyring.sh [TEST-BINARY [INTEGRATION-TEST-BINARY]]
#
# The state "configured" also runs the mcpipe that was built beside TEST-BINARY.
# Needs gnome-keyring-daemon, dbus-run-session, dbus-send and secret-tool; with Xvfb and gcr's prompter also the
# case of a question on a screen that nobody answers. HOME and every XDG directory are throw-away ones, and every
# daemon started here is ended by its process id.
set -euo pipefail

if [ "${1-}" != --inside ]; then
    cd "$(dirname "$0")/../.."
    # built FLAG...: the test binary that cargo makes of this
    built() {
        cargo test "$@" --no-run --message-format=json 2>/dev/null |
            sed -n 's|.*"executable":"\([^"]*/deps/[^"]*\)".*|\1|p' | tail -1
    }
    binary=${1-$(built --lib)}
    integration=${2-$(built --test integration)}
    for built in "$binary" "$integration"; do
        [ -x "$built" ] || { echo "no test binary: ${built:-none was built}" >&2; exit 2; }
    done
    for tool in gnome-keyring-daemon dbus-run-session dbus-send secret-tool; do
        command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 2; }
    done
    all=$(mktemp -d)
    screen=
    trap '[ -z "$screen" ] || kill "$screen" 2>/dev/null || true; rm -rf "$all"' EXIT

    # A bus that starts no services: without it, asking for the keyring starts one.
    cat >"$all/bare.conf" <<'CONF'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
CONF

    # state NAME STEP...: the steps under a fresh bus, home and store
    state() {
        local root=$all/$1
        mkdir "$root"
        mkdir -m 700 "$root"/{home,run,store}
        printf '%s: ' "$1"
        env -u WAYLAND_DISPLAY -u DBUS_SESSION_BUS_ADDRESS -u DISPLAY ${DISPLAY_OF_STATE:+DISPLAY=$DISPLAY_OF_STATE} \
            HOME="$root/home" XDG_RUNTIME_DIR="$root/run" XDG_DATA_HOME="$root/home/.local/share" \
            XDG_CONFIG_HOME="$root/home/.config" XDG_CACHE_HOME="$root/home/.cache" \
            STORE_ROOT="$root/store" binary="$binary" integration="$integration" \
            timeout 120 dbus-run-session ${BUS_CONFIG:+"--config-file=$BUS_CONFIG"} -- "$0" --inside "${@:2}" >"$root/output" 2>&1 ||
            { echo "FAILED ($?)"; cat "$root/output" >&2; exit 1; }
        echo ok
    }

    state unlocked unlock 'play unlocked'
    state crowd unlock 'play crowd'
    state command_line unlock 'run in_a_real_keychain'
    state by_name unlock 'play by_name'
    state configured unlock keep use stop start 'use locked'
    state locked unlock 'play seed' stop start 'play locked' stop unlock 'play unlocked_again'
    STORE_EMPTY=1 state no_keyring_yet start 'play broken'
    BUS_CONFIG=$all/bare.conf state no_service 'play broken'
    prompter=$(find /usr/lib /usr/libexec -name gcr-prompter -print -quit 2>/dev/null || true)
    if command -v Xvfb >/dev/null && [ -n "$prompter" ]; then
        Xvfb -displayfd 1 -nolisten tcp >"$all/display" 2>/dev/null &
        screen=$!
        for _ in $(seq 100); do [ -s "$all/display" ] && break; sleep 0.1; done
        DISPLAY_OF_STATE=:$(cat "$all/display") \
            state question unlock 'play seed' stop start 'play asked_and_unanswered'
    else
        echo "question: skipped (no Xvfb, or no gcr prompter)"
    fi
    exit 0
fi

# Inside the session: one step after the other.
owner() {
    dbus-send --session --print-reply=literal --dest=org.freedesktop.DBus / \
        org.freedesktop.DBus.GetConnectionUnixProcessID string:org.freedesktop.secrets 2>/dev/null |
        sed 's/.*uint32 //' || true
}
# The daemon returns before it owns its name; a client in that gap would make the bus start a second one.
up() {
    for _ in $(seq 250); do [ -n "$(owner)" ] && return; sleep 0.02; done
    echo "the keyring did not come up" >&2
    exit 1
}
unlock() { printf %s test | gnome-keyring-daemon --unlock --components=secrets >/dev/null; up; }
start() { gnome-keyring-daemon --start --daemonize --components=secrets >/dev/null; up; }
stop() {
    local pid
    pid=$(owner)
    [ -n "$pid" ] || return 0
    kill "$pid"
    while [ -n "$(owner)" ]; do sleep 0.02; done
}
# A test that is not there would "pass": its name must appear.
passes() {
    "$1" --exact "$2" --ignored --test-threads 1 >"$STORE_ROOT/played" 2>&1 || true
    grep -q "$2 ... ok" "$STORE_ROOT/played" && return
    cat "$STORE_ROOT/played" >&2
    return 1
}
play() { passes "$binary" "auth::store::real_keyring_tests::$1"; }
# The whole program, as it is used.
run() { passes "$integration" "auth::credential_store::$1"; }
# `config secret set`, and a server that is given the secret; with "locked", one that must not be.
mcpipe=$(dirname "$binary")/../mcpipe
keep() {
    mkdir -p "$HOME/.config/mcpipe"
    cat >"$HOME/.config/mcpipe/config.toml" <<'TOML'
[defaults]
credential_store = "keyring"
[servers.x]
command = "sh"
args = ["-c", "printf %s \"$GIVEN\" >\"$HOME/seen\""]
env = { GIVEN = "${keychain:CRM_KEY}" }
TOML
    printf 's3cret-value\n' | "$mcpipe" config secret set CRM_KEY
    [ "$(secret-tool lookup service mcpipe username secret-CRM_KEY)" = s3cret-value ]
    "$mcpipe" config check
}
use() {
    local code=0
    rm -f "$HOME/seen"
    timeout 20 "$mcpipe" list x >"$HOME/said" 2>&1 </dev/null || code=$?
    cat "$HOME/said"
    if [ "${1-}" = locked ]; then
        [ "$code" = 3 ] && grep -q "config.toml:6: cannot read the secret 'CRM_KEY'" "$HOME/said" && [ ! -e "$HOME/seen" ]
    else
        [ "$(cat "$HOME/seen")" = s3cret-value ] && ! grep -q s3cret "$HOME/said"
    fi
}
trap stop EXIT
for step in "${@:2}"; do
    $step
done
