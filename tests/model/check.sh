#!/bin/bash
# Checks the model of a run with Spin, every state of it. The rules hold; a variant that drops one must fail, and by the
# property that is named here. Prints a line for each and "N passed, N failed". Under a minute on one core.
#   tests/model/check.sh [--night]     --night: with more faults, some minutes and 2 GiB
#   KEEP=FOLDER tests/model/check.sh   keeps there, for each variant that has failed, what happened, as NAME.story
set -u
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0

MADE_TWICE='applied\[[01]\]==0'
UNDONE_TWICE='applied\[[01]\]==1\)'
AFTER_CLOSE='closed==0'
UNTRUE_CLOSE='applied\[0\]==.*back'
TWO_WRITERS='alive\[0\]'
BESIDE='busy\[[01]\]'
NO_CLOSE='invalid end state|acceptance cycle'

# Writes what the checker said to the variant's folder, as `said`.
explore() { # NAME LEVEL SEARCH FLAG…: level of optimization; search: s safety, e safety but for ends, l liveness
	local folder=$work/$1 level=$2 search=$3 compile=(-DCOLLAPSE -DMEMLIM=3000) options=(-m100000 -n -w22)
	shift 3
	mkdir -p "$folder"
	case $search in
	s) compile+=(-DSAFETY) ;;
	e) compile+=(-DSAFETY) options+=(-E) ;;
	l) compile+=(-DNFAIR=3) options+=(-a -f) && set -- "$@" -DLIVENESS ;;
	esac
	(
		cd "$folder" && spin -a "$@" "$here/run.pml" && gcc "$level" -w "${compile[@]}" -o pan pan.c &&
			./pan "${options[@]}"
	) >"$folder/said" 2>&1
	if [ -n "${KEEP:-}" ] && [ -e "$folder/run.pml.trail" ]; then
		(cd "$folder" && spin -t -p -g "$@" -k run.pml.trail "$here/run.pml") >"$KEEP/${folder##*/}.story" 2>&1
	fi
}

# Every state was seen: neither memory nor depth ran out.
whole() { grep -q 'State-vector' "$1" && ! grep -qE 'Search not completed|max search depth|out of memory|rror:' "$1"; }

states() { sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1"; }

verdict() { # GOOD NAME TEXT SAID
	if [ "$1" = 0 ]; then
		passed=$((passed + 1))
		printf 'ok    %-22s %s\n' "$2" "$3"
	else
		failed=$((failed + 1))
		printf 'FAIL  %-22s %s\n' "$2" "$3"
		sed 's/^/      /' "$4"
	fi
	rm -rf "${work:?}/$2"
}

holds() { # NAME SEARCH FLAG…
	local name=$1 search=$2 said=$work/$1/said
	shift 2
	explore "$name" -O2 "$search" "$@"
	whole "$said" && grep -q 'errors: 0' "$said"
	verdict $? "$name" "holds in $(states "$said") states" "$said"
}

breaks() { # NAME SEARCH PROPERTY FLAG…
	local name=$1 search=$2 property=$3 said=$work/$1/said
	shift 3
	explore "$name" -O0 "$search" "$@"
	grep -E '^pan:1:' "$said" | grep -qE "$property"
	verdict $? "$name" "fails, as it must: $(sed -nE 's/^pan:1: (.*) \(at depth.*/\1/p' "$said")" "$said"
}

# A process that woke late, on a machine that has no lock: its words are refused, its calls are shut out.
late=(-DNO_LOCK -DNO_ASK -DSEVERAL)

rules() {
	holds rules s -DFAULTS=2
	holds reaches-close l -DFAULTS=1
	holds given-up s -DFAULTS=1 -DABANDON
	holds late-with-witness e -DFAULTS=0 -DTAKES=2 -DWITNESSED "${late[@]}"
}

dropped() {
	breaks no-lock s "$TWO_WRITERS" -DFAULTS=1 -DNO_LOCK
	breaks no-ask s "$TWO_WRITERS" -DFAULTS=1 -DNO_ASK
	breaks stale-answer s "$TWO_WRITERS" -DFAULTS=2 -DSTALE_ANSWER
	breaks lock-file s "$NO_CLOSE" -DFAULTS=2 -DLOCK_FILE
	breaks late-without-witness e "$MADE_TWICE|$UNDONE_TWICE|$AFTER_CLOSE" -DFAULTS=1 "${late[@]}"
	breaks late-token-at-intent e "$UNTRUE_CLOSE|$MADE_TWICE" -DFAULTS=1 -DWITNESSED -DNO_TOKEN "${late[@]}"
	breaks no-witness s "$MADE_TWICE" -DFAULTS=1 -DNO_WITNESS
	breaks no-closing s "$MADE_TWICE" -DFAULTS=1 -DNO_CLOSING
	breaks hasty s "$MADE_TWICE" -DFAULTS=1 -DHASTY
	breaks no-settling s "$AFTER_CLOSE|$UNTRUE_CLOSE" -DFAULTS=1 -DNO_SETTLING
	breaks beside s "$MADE_TWICE|$BESIDE" -DFAULTS=1 -DBESIDE
	breaks no-release s "$AFTER_CLOSE" -DFAULTS=1 -DABANDON -DNO_RELEASE
}

night() {
	holds rules-3-faults s -DFAULTS=3
	holds witnessed s -DFAULTS=2 -DWITNESSED
	holds late-with-witness-2 e -DFAULTS=1 -DWITNESSED "${late[@]}"
	holds reaches-close-2 l -DFAULTS=2
	holds given-up-2 s -DFAULTS=2 -DABANDON
	breaks lock-file-forever l "$NO_CLOSE" -DFAULTS=2 -DLOCK_FILE
}

command -v spin >/dev/null || {
	echo "spin is not installed: vendor/install.sh test"
	echo "0 passed, 1 failed"
	exit 1
}
case ${1:-} in
"") ;;
--night) ;;
*)
	sed -n '4,5s/^# *//p' "$0" >&2
	exit 2
	;;
esac
rules
dropped
[ "${1:-}" != --night ] || night
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
