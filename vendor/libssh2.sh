#!/bin/sh
# Leaves libssh2 in PREFIX/include and PREFIX/lib/libssh2.a.
#   sh vendor/libssh2.sh PREFIX
#
# The system's library is taken from 1.11 on. Before that it knows neither RSA keys with SHA-2 nor the MACs and ciphers
# that hardened servers insist on, so Debian's own source package of trixie is built: 1.11.1 with the security team's
# patches, for bare 1.11.1 can be made to write outside its heap. apt checks the signatures, against the keyring that the
# machine's own sources name. SYSTEM_LIBSSH2=1 takes the system's library whatever it is.
set -eu

least=1.11.1-1+deb13u2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
prefix=${1:?usage: libssh2.sh PREFIX}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/neap-build

say() { echo "libssh2: $*" >&2; }

fail() {
	say "$*"
	exit 1
}

# The archive is a linker script that names the shared library: what that one needs besides is then its own affair.
take_system() {
	rm -rf "$prefix"
	mkdir -p "$prefix/include" "$prefix/lib"
	echo 'INPUT(-lssh2)' >"$prefix/lib/libssh2.a"
}

# Prints "suite URI signed-by" of each binary source of this machine, from both forms that apt reads.
sources() {
	find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.list' -exec cat {} + 2>/dev/null |
		sed -n 's/^[[:space:]]*deb[[:space:]]\{1,\}//p' |
		sed -n 's/^\[\([^]]*\)\]/\1 ]/; t have; s/^/] /; :have; p' |
		awk '{
			signed = "-"
			for (i = 1; i < NF && $i != "]"; i++)
				if (sub(/^signed-by=/, "", $i)) signed = $i
			print $(i + 2), $(i + 1), signed
		}'
	find /etc/apt/sources.list.d -name '*.sources' -exec sh -c 'for f; do cat "$f"; echo; done' - {} + 2>/dev/null |
		awk '
		function flush(  i, j) {
			if (types ~ /(^| )deb( |$)/ && enabled !~ /^ *(no|false|0)/)
				for (i = split(suites, s, " "); i > 0; i--)
					for (j = split(uris, u, " "); j > 0; j--)
						print s[i], u[j], signed
			types = suites = uris = enabled = ""; signed = "-"
		}
		BEGIN { signed = "-" }
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		{ value = $0; sub(/^[^:]*:[ \t]*/, "", value); name = tolower($0); sub(/:.*/, "", name) }
		name == "types" { types = value }
		name == "suites" { suites = value }
		name == "uris" { uris = value }
		name == "enabled" { enabled = value }
		name == "signed-by" && value ~ /^\// { signed = value }
		END { flush() }'
}

# One deb-src stanza: where URI, suites, keyring.
stanza() {
	printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' "$1" "$2" "$3"
}

# The trixie sources of the mirrors from which this machine gets its own release.
trixie_sources() {
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ -n "$release" ] || fail "/etc/os-release names no Debian release; use SYSTEM_LIBSSH2=1"
	sources | while read -r suite uri signed; do
		[ "$signed" = - ] && signed=$keyring
		case $suite in
		"$release" | stable | oldstable) stanza "$uri" "trixie trixie-updates" "$signed" ;;
		"$release-security" | stable-security) stanza "$uri" trixie-security "$signed" ;;
		esac
	done
}

fetch() {
	mkdir -p apt/lists/partial apt/cache/archives/partial
	trixie_sources >apt/trixie.sources
	grep -q . apt/trixie.sources || fail "no Debian mirror in /etc/apt; use SYSTEM_LIBSSH2=1"
	# A copy that root reads is a copy that apt's own user may not reach: this folder is private.
	set -- -q -o Dir::Etc::sourcelist="$PWD/apt/trixie.sources" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$PWD/apt/lists" -o Dir::Cache="$PWD/apt/cache" -o APT::Sandbox::User= -o Acquire::Languages=none
	apt-get "$@" update >&2
	version=$(apt-cache "$@" showsrc --only-source libssh2 | sed -n 's/^Version: //p' | sort -V | tail -n 1)
	dpkg --compare-versions "$version" ge "$least" || fail "the mirror has ${version:-none}, $least or newer is needed"
	apt-get "$@" source "libssh2=$version" >&2
}

build() {
	cmake -S libssh2-*/ -B build -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DCRYPTO_BACKEND=OpenSSL \
		-DENABLE_ZLIB_COMPRESSION=OFF -DBUILD_TESTING=OFF -DBUILD_EXAMPLES=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON >&2
	cmake --build build >&2
	mkdir -p done/include done/lib
	cp libssh2-*/include/*.h done/include
	cp build/src/libssh2.a done/lib
	echo "$version" >done/version
}

if [ "${SYSTEM_LIBSSH2:-}" = 1 ]; then
	say "WARNING: taking the system's $(pkg-config --modversion libssh2): hardened servers and RSA keys may be refused"
	take_system
elif pkg-config --atleast-version=1.11 libssh2 2>/dev/null; then
	take_system
else
	kept=$cache/libssh2-$(dpkg --print-architecture)
	if ! dpkg --compare-versions "$(cat "$kept/version" 2>/dev/null)" ge "$least"; then
		mkdir -p "$cache"
		work=$(mktemp -d "$cache/build.XXXXXX")
		trap '[ $? = 0 ] || tail -n 20 "$work/log" >&2; rm -rf "$work"' EXIT
		say "building Debian's patched source, once for this machine"
		(
			exec 2>"$work/log"
			cd "$work"
			fetch
			build
		)
		rm -rf "$kept"
		mv "$work/done" "$kept"
	fi
	rm -rf "$prefix"
	mkdir -p "$(dirname "$prefix")"
	cp -R "$kept" "$prefix"
	say "$(cat "$prefix/version") in $prefix"
fi
