#!/bin/sh
# Installs mcpipe @VERSION@: downloads the archive for this system, verifies its checksum, and copies the binary, the man
# pages and the completions below a prefix. Changes nothing else; needs no root.
#
#   sh install.sh                     into ~/.local
#   sh install.sh --prefix /usr/local
#   sh install.sh --uninstall         removes what it installed
set -eu

version='@VERSION@'
base='@REPOSITORY@/releases/download/v@VERSION@'
prefix="${HOME:-}/.local"
uninstall=false

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

while [ $# -gt 0 ]; do
  case "$1" in
    --prefix) [ $# -gt 1 ] || fail '--prefix needs a directory'; prefix=$2; shift ;;
    --base-url) [ $# -gt 1 ] || fail '--base-url needs a URL'; base=$2; shift ;;
    --uninstall) uninstall=true ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done
case "$prefix" in
  /.local) fail 'HOME is not set; use --prefix DIR' ;;
  /*) ;;
  *) prefix=$PWD/$prefix ;;
esac
# Not below share/mcpipe: with the prefix ~/.local, that is where credentials are.
list=$prefix/share/doc/mcpipe/installed-files

# Removes the files that are named on standard input, below the prefix.
remove() {
  while IFS= read -r file; do
    case "$file" in /* | *..* | '') continue ;; esac
    rm -f "$prefix/$file"
  done
}

if "$uninstall"; then
  [ -f "$list" ] || fail "mcpipe is not installed in $prefix"
  remove <"$list"
  rm -f "$list"
  rmdir "${list%/*}" 2>/dev/null || true
  say "removed mcpipe from $prefix; your configuration and credentials are still there"
  exit 0
fi

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64 | Linux-amd64) targets='x86_64-unknown-linux-musl x86_64-unknown-linux-gnu' ;;
  Linux-aarch64 | Linux-arm64) targets='aarch64-unknown-linux-musl aarch64-unknown-linux-gnu' ;;
  Darwin-x86_64) targets='x86_64-apple-darwin' ;;
  Darwin-arm64) targets='aarch64-apple-darwin' ;;
  *) fail "there is no binary for $(uname -s) on $(uname -m); build it from source with cargo" ;;
esac

if command -v curl >/dev/null 2>&1; then
  download() { curl -fsSL --retry 2 -o "$2" "$1"; }
elif command -v wget >/dev/null 2>&1; then
  download() { wget -q -O "$2" "$1"; }
else
  fail 'curl or wget is needed'
fi
if command -v sha256sum >/dev/null 2>&1; then
  digest() { sha256sum "$1" | cut -d' ' -f1; }
elif command -v shasum >/dev/null 2>&1; then
  digest() { shasum -a 256 "$1" | cut -d' ' -f1; }
else
  fail 'sha256sum or shasum is needed'
fi

work=$(mktemp -d)
new=
trap 'rm -rf "$work"; [ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
download "$base/SHA256SUMS" "$work/sums" || fail "cannot download $base/SHA256SUMS"
archive=
for target in $targets; do
  name="mcpipe-$version-$target.tar.gz"
  expected=$(awk -v name="$name" '$2 == name { print $1 }' "$work/sums")
  if [ -n "$expected" ]; then archive=$name; break; fi
done
[ -n "$archive" ] || fail "the release $version has no binary for this system"
download "$base/$archive" "$work/$archive" || fail "cannot download $base/$archive"
actual=$(digest "$work/$archive")
[ "$actual" = "$expected" ] || fail "the checksum of $archive is $actual instead of $expected"
tar -xzf "$work/$archive" -C "$work"
from="$work/mcpipe-$version-$target"
"$from/mcpipe" --version >/dev/null || fail "the binary does not run on this system"

# Calls a function for each file of the archive, with the place below the prefix.
each() {
  "$1" mcpipe bin/mcpipe
  for page in "$from"/man/*.1; do "$1" "man/${page##*/}" "share/man/man1/${page##*/}"; done
  for page in "$from"/man/*.5; do "$1" "man/${page##*/}" "share/man/man5/${page##*/}"; done
  "$1" completions/mcpipe.bash share/bash-completion/completions/mcpipe
  "$1" completions/mcpipe.fish share/fish/vendor_completions.d/mcpipe.fish
  "$1" completions/_mcpipe share/zsh/site-functions/_mcpipe
}
# Replaces a file by renaming: the old binary may be running, and there is one at every moment.
replace() {
  mkdir -p "${2%/*}"
  new=$2.new
  cp "$1" "$new"
  mv -f "$new" "$2"
  new=
}
place() { printf '%s\n' "$2"; }
put() { replace "$from/$1" "$prefix/$2"; }

# If this ends too early, --uninstall removes the files of both versions.
each place >"$work/list"
touch "$work/old"
if [ -f "$list" ]; then cp "$list" "$work/old"; fi
sort -u "$work/list" "$work/old" >"$work/both"
replace "$work/both" "$list"
each put
grep -vxFf "$work/list" "$work/old" | remove
replace "$work/list" "$list"
say "installed mcpipe $version in $prefix/bin"
case ":${PATH:-}:" in
  *":$prefix/bin:"*) ;;
  *) say "add it to your PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
