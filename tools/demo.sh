#!/usr/bin/env bash
# A tour in a minute, on real files and in a temporary folder: a folder becomes an image, goes into an archive, and comes back whole.
# Needs tranship on PATH; `make demo` sees to it.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
content=/usr/share/doc
test -d $content || content=$(python3 -c 'import json; print(json.__path__[0])')

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

show tranship --root here pack $content example.org/docs:1
show tranship --root here ls
show tranship --root here export example.org/docs:1 -o docs.tar
show tranship --root there import docs.tar
show tranship --root there inspect --tree example.org/docs:1
show tranship --root there verify
here=$(tranship --root here digest example.org/docs:1)
there=$(tranship --root there digest example.org/docs:1)
test "$here" = "$there"
printf '\nThe same image in both stores: %s\n' "$here"
