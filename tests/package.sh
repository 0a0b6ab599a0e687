#!/bin/bash
# What is installed: packages are made, pass the distribution's own linters, and work where they are unpacked.
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit
good=0 bad=0

check() { # NAME CMD…: passes where the command succeeds and prints nothing
	local name=$1 said
	shift
	if said=$("$@" 2>&1) && [ -z "$said" ]; then good=$((good + 1)); else
		bad=$((bad + 1))
		printf 'FAIL  %s\n%s\n' "$name" "$said"
	fi
}

quietly() { "$@" >/dev/null; }
make --no-print-directory deb >/dev/null || exit
deb=$(ls build/dist/neap_*.deb) tarball=$(ls build/dist/neap-*.tar.gz)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

for page in build/doc/man/*; do check "mandoc takes $page" mandoc -T lint -W error "$page"; done
check "lintian takes the package" lintian --allow-root --fail-on error,warning --suppress-tags \
	initial-upload-closes-no-bugs,no-manual-page "$deb"

unpacked() { dpkg-deb -x "$deb" "$root/deb" && mkdir "$root/tar" && tar -xzf "$tarball" -C "$root/tar"; }
check "package and tarball are unpacked" unpacked

opens() { (cd / && "$1" --version >/dev/null && quietly "$1" doc sql.script) && "$1" test tests/package/loaded.lua >/dev/null; }
check "the package's neap opens all its modules" opens "$root/deb/usr/bin/neap"
check "the tarball's neap opens all its modules" opens "$(echo "$root"/tar/neap-*/bin/neap)"

twice() {
	local before
	before=$(sha256sum "$deb" "$tarball")
	make --no-print-directory deb >/dev/null && [ "$before" = "$(sha256sum "$deb" "$tarball")" ]
}
check "the same bytes come out again" twice

linked() { # every link between pages of the site leads to one
	local link
	grep -oh 'href="[a-z-]*\.html' build/doc/site/*.html | sort -u | cut -d'"' -f2 | while read -r link; do
		[ -e "build/doc/site/$link" ] || echo "no page $link"
	done
}
check "the pages of the site are there" linked
echo "$good passed, $bad failed"
[ "$bad" = 0 ]
