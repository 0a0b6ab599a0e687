#!/bin/bash
# Installs the Debian packages that vendor/packages lists and that are missing or too old here.
#   vendor/install.sh [GROUP…]          groups: build run test lab; default all
# Needs root, or sudo. Nothing is started, and a server that came in only for the lab does not start at boot either.
set -eu
list=$(dirname "$(readlink -f "$0")")/packages
policy=/usr/sbin/policy-rc.d

wanted() { # prints "name|other minimum" of the chosen groups
	awk -v groups=" ${*:-build run test lab} " '
		/^\[/ { gsub(/[][]/, ""); chosen = index(groups, " " $1 " "); next }
		/^[^#]/ && chosen { print $1, $2 }' "$list"
}

installed_version() {
	# shellcheck disable=SC2016 # dpkg's variables
	dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | awk '$1 == "installed" { print $2; exit }'
}

good() { # NAMES MINIMUM
	local name version
	for name in ${1//|/ }; do
		version=$(installed_version "$name")
		[ -n "$version" ] && dpkg --compare-versions "$version" ge "$2" && return
	done
	return 1
}

missing() {
	local names minimum
	wanted "$@" | while read -r names minimum; do good "$names" "$minimum" || echo "$names $minimum"; done
}

known_to_apt() { apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'; }

choose() { # of the names of one package the one that this release has
	local name
	for name in ${1//|/ }; do known_to_apt "$name" && echo "$name" && return; done
	echo "vendor/install.sh: this Debian has no package ${1//|/ or }" >&2
	return 1
}

allow_starts() { "${root[@]}" rm -f "$policy"; }

forbid_starts() {
	[ ! -e "$policy" ] || return 0
	trap allow_starts EXIT
	printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
	"${root[@]}" chmod 755 "$policy"
}

stay_off() { # PACKAGE UNIT…: if the package was not there before
	local package=$1
	shift
	case $new in *" $package "*) ;; *) return 0 ;; esac
	[ -d /run/systemd/system ] || return 0
	"${root[@]}" systemctl --quiet disable "$@" 2>/dev/null || true
}

lacking=$(missing "$@")
[ -n "$lacking" ] || exit 0

root=()
if [ "$(id -u)" != 0 ]; then
	root=(sudo)
	if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		printf 'vendor/install.sh: neither root nor sudo, and these packages are missing (at least this version):\n' >&2
		printf '%s\n' "$lacking" >&2
		printf 'As root: apt-get install %s\n' "$(awk -F'[| ]' -v ORS=' ' '{ print $1 }' <<<"$lacking")" >&2
		exit 1
	fi
fi

forbid_starts
"${root[@]}" apt-get update -q
names=()
while read -r line _; do
	name=$(choose "$line")
	names+=("$name")
done <<<"$lacking"
new=" "
for name in "${names[@]}"; do [ -n "$(installed_version "$name")" ] || new+="$name "; done
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${names[@]}"
stay_off nginx nginx.service
stay_off postgresql postgresql.service
stay_off mariadb-server mariadb.service
stay_off openssh-server ssh.service ssh.socket
stay_off redis-server redis-server.service
stay_off apache2 apache2.service apache-htcacheclean.service
stay_off cron cron.service

lacking=$(missing "$@")
if [ -n "$lacking" ]; then
	printf 'vendor/install.sh: still missing or too old:\n%s\n' "$lacking" >&2
	exit 1
fi
