#!/bin/sh
# Leaves moto, a stand-in for AWS that the AWS client is tested against, in the Python environment PREFIX.
#   sh vendor/moto.sh PREFIX
# Only tests want it, which say so where it is missing: without a network nothing else is held up.
set -eu

prefix=${1:?usage: moto.sh PREFIX}
list=$(dirname "$(readlink -f "$0")")/moto.txt
[ ! -f "$prefix/complete" ] || exit 0
[ -x "$prefix/bin/pip" ] || /usr/bin/python3 -m venv "$prefix"
if "$prefix/bin/pip" -q --disable-pip-version-check install --no-deps -r "$list"; then
	touch "$prefix/complete"
else
	echo "vendor/moto.sh: moto is not to be had; tests of AWS that need a server will be skipped" >&2
fi
