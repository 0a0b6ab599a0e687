#!/bin/sh
# Leaves crossplane, the reader of nginx files that the editor is compared with, in the Python environment PREFIX.
#   sh vendor/crossplane.sh PREFIX
# Only a test wants it, which says so where it is missing: without a network nothing else is held up.
set -eu

prefix=${1:?usage: crossplane.sh PREFIX}
[ ! -x "$prefix/bin/crossplane" ] || exit 0
work=$(mktemp)
trap 'rm -f "$work"' EXIT
cat >"$work" <<LIST
crossplane==0.5.8 --hash=sha256:ede8e83c9e3a58dfc37c69f5ee065d4b3adc44ae42749ced496962a0e7f545b7
LIST
/usr/bin/python3 -m venv "$prefix"
"$prefix/bin/pip" -q --disable-pip-version-check install --no-deps --require-hashes -r "$work" ||
	echo "vendor/crossplane.sh: crossplane is not to be had; its test will be skipped" >&2
