#!/bin/sh
# A minute's tour: a folder of this machine becomes an image, an archive, an image of another store, and is verified there.
# Usage: tools/demo.sh [FOLDER]; without one, Python's standard library is packed. Everything happens in a temporary folder.
set -eu

folder=${1:-$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TRANSHIP_ROOT="$work/here"

run() {
  printf '\n$ tranship %s\n' "$*"
  tranship "$@"
}

run pack --prefix /data --exclude __pycache__ --exclude site-packages "$folder" demo:1
run ls
run inspect --tree demo:1
run export demo:1 -o "$work/demo.tar"
run copy store:demo:1 "oci:$work/layout:1"
run import --root "$work/there" "$work/demo.tar"
run ls --root "$work/there"
run verify --root "$work/there"
run copy "oci:$work/layout:1" --dest-root "$work/there" store:demo:again # nothing moves: all of it is there

before=$(tranship digest -q demo:1)
after=$(tranship digest -q --root "$work/there" demo:1)
test "$before" = "$after"
printf '\nThe same image in both stores: %s\n' "$after"
