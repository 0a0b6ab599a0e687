#!/bin/sh
# Leaves versitygw, an S3 server that is strict about signatures and checksums, in the folder PREFIX/bin.
#   sh vendor/versitygw.sh [PREFIX]
# Only tests want it, which say so where it is missing. It takes Go and about 90 seconds of a processor.
set -eu

version=v1.8.0
prefix=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/neap-lab}
[ ! -x "$prefix/bin/versitygw" ] || exit 0
mkdir -p "$prefix/bin"
if command -v go >/dev/null && GOBIN="$prefix/bin" go install "github.com/versity/versitygw/cmd/versitygw@$version"; then
	exit 0
fi
echo "vendor/versitygw.sh: versitygw is not to be had; tests of S3 that need a strict server will be skipped" >&2
