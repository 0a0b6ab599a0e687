#!/bin/bash
# Runs suites and adds up what they print. A suite ends with "N passed, N failed"; one that does not, or whose exit status
# is not 0, has failed. Output and the last line go to build/check/. Those that are named run one after the other, all in
# two lanes.
#   tests/check.sh [SUITE…]             suites: lint unit package sim model sanitizers fuzz kills kube, and the lab's sets; default all
set -u
cd "$(dirname "$(readlink -f "$0")")/.." || exit
out=build/check
mkdir -p "$out"
export LAB=${LAB:-check-$$} KUBE=${KUBE:-check-$$}
passed=0 failed=0 table=

count() { echo "$1 passed, $2 failed"; }

check_one() { # NAME CMD…: counts one thing that passes or fails
	local name=$1
	shift
	if "$@"; then good=$((good + 1)); else
		bad=$((bad + 1))
		echo "FAIL  $name"
	fi
}

in_tree() { git ls-files -co --exclude-standard -- "$@" | while read -r file; do [ ! -e "$file" ] || echo "$file"; done; }

shell_scripts() { in_tree | grep -v '\.lua$' | while read -r file; do ! head -n 1 "$file" | grep -q '^#!.*sh$' || echo "$file"; done; }

# C alone: luacheck looks at Lua. A tab counts four; a line that is a comment alone may be longer.
short_lines() {
	local file failed=0
	while read -r file; do
		! expand -t 4 "$file" | LC_ALL=C.UTF-8 grep -nE '^.{121,}$' | grep -vE '^[0-9]+: */?\*' | sed "s|^|$file:|" | grep . || failed=1
	done < <(in_tree '*.c' '*.h')
	return "$failed"
}

lint() {
	local good=0 bad=0 scripts
	mapfile -t scripts < <(shell_scripts)
	check_one "make, without warnings" make --no-print-directory
	check_one luacheck luacheck --quiet --no-color .
	check_one shellcheck shellcheck --external-sources --source-path=. "${scripts[@]}"
	check_one "lines of at most 120 columns" short_lines
	count "$good" "$bad"
}

package() { tests/package.sh; }

unit() { make --no-print-directory test; }

# C is what a sanitizer can say something of: its tests, the engine on it, and the parsers over damaged texts.
sanitizers() {
	make --no-print-directory SAN=1 test T="tests/native tests/engine tests/targets/yaml_edit_property_test.lua"
}

sim() { make --no-print-directory sim; }

# Over the seeds alone: what was found here at other times would make it longer each time. And with one seed of chance: to
# look where nobody has looked is for `make soak`.
fuzz() {
	rm -rf "$out/fuzz"
	FUZZ_SEED=1 FUZZ_FOUND=$out/fuzz make --no-print-directory fuzz SECONDS=3
}

model() { tests/model/check.sh; }

kills() { make --no-print-directory all fault && build/neap test tests/kills tests/secrets && tests/secrets/core.sh; }

in_lab() { # SET TESTS…: on hosts of that set
	local set=$1 status
	shift
	make --no-print-directory all fault build/client && tests/lab/lab up "$set" && tests/lab/lab run build/neap test "$@"
	status=$?
	tests/lab/lab down
	return "$status"
}

# The tests of a set lie in a folder of its name; those of encode are the lab's own, too.
on_set() {
	local tests=(tests/lab/"$1")
	[ "$1" != encode ] || tests=(tests/lab/*_test.lua)
	in_lab "$1" "${tests[@]}"
}

# The control plane takes minutes to build where that has not been done: begun beside the other suites.
begin_kube() {
	tests/lab/kube ready 2>/dev/null || return 0
	nice tests/lab/kube build >"$out/kube-build.log" 2>&1 &
	building=$!
}

kube() {
	if ! tests/lab/kube ready; then
		echo "SKIPPED: the tests on Kubernetes did not run"
		count 0 0
		return
	fi
	tests/lab/kube build && tests/lab/kube up && make --no-print-directory all fault && build/neap test tests/kube
	local status=$?
	tests/lab/kube down
	return "$status"
}

is_set() { [ -d "tests/lab/sets/$1" ]; }

suite() {
	local name=$1 begun=$SECONDS status line good bad
	echo "== $name"
	if is_set "$name"; then on_set "$name"; else "$name"; fi 2>&1 | tee "$out/$name.log"
	status=${PIPESTATUS[0]}
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$out/$name.log" | tail -n 1)
	read -r good _ bad _ <<<"${line:-0 passed, 0 failed}"
	if [ -z "$line" ]; then
		bad=1
		echo "$name came to no end: exit status $status"
	elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
		bad=1
		echo "$name failed: exit status $status"
	fi
	passed=$((passed + good)) failed=$((failed + bad))
	table+=$(printf '%-12s %6d passed %6d failed %6d s' "$name" "$good" "$bad" "$((SECONDS - begun))")$'\n'
}

is_suite() {
	case $1 in lint | unit | package | sim | model | sanitizers | fuzz | kills | kube) return ;; esac
	is_set "$1"
}

# The sets of the lab, beside the rest: most of what they do is wait for hosts.
second_lane() { # SUITE…
	for name in "$@"; do suite "$name"; done
	printf '%s' "$table" >"$out/second.table"
	echo "$passed $failed" >"$out/second.counts"
}

add_second_lane() { # once it has ended
	local good=0 bad=1
	cat "$out/second.log"
	[ ! -e "$out/second.counts" ] || read -r good bad <"$out/second.counts"
	passed=$((passed + good)) failed=$((failed + bad))
	table+=$(cat "$out/second.table" 2>/dev/null || echo "the second lane came to no end")$'\n'
}

in_two_lanes() {
	local lane sets name
	mapfile -t sets < <(cd tests/lab/sets && ls)
	rm -f "$out"/second.*
	make --no-print-directory all fault build/client || { # here, so that the lanes find it done
		failed=1
		return
	}
	second_lane "${sets[@]}" >"$out/second.log" 2>&1 &
	lane=$!
	for name in lint package unit sim model sanitizers fuzz kills kube; do suite "$name"; done
	wait "$lane"
	add_second_lane
}

building=
leave() {
	[ -z "$building" ] || pkill -P "$building" 2>/dev/null
	tests/lab/lab down 2>/dev/null
	tests/lab/kube down 2>/dev/null
}
trap leave EXIT
trap 'exit 130' INT TERM
for name in "$@"; do
	is_suite "$name" || {
		sed -n '5s/^# *//p' "$0" >&2
		exit 2
	}
done
[[ $# -gt 0 && " $* " != *" kube "* ]] || begin_kube
if [ $# = 0 ]; then in_two_lanes; else for name in "$@"; do suite "$name"; done; fi
printf '\n%s' "$table"
count "$passed" "$failed" | tee "$out/result"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
