#!/bin/bash
# Runs libFuzzer over the targets, over the seeds of corpus/ and what earlier runs have found (FUZZ_FOUND). Ends
# with how many held and how many failed.
#   tests/fuzz/run.sh [TARGET…]         FUZZ_SECONDS=5 each; FUZZ_RUNS=0: the seeds alone; FUZZ_SEED=n of chance
#   tests/fuzz/run.sh replay TARGET FILE…
#   tests/fuzz/run.sh minimise TARGET   takes into corpus/ what the seeds lack, of what was found
#   tests/fuzz/run.sh missed LINES PATH the lines below lua/ that a run has not reached, by its build/fuzz/TARGET.lines
set -u
cd "$(dirname "$(readlink -f "$0")")/../.." || exit
out=build/fuzz
found=${FUZZ_FOUND:-$out/corpus}
# Leaks are looked for at the end, not after each input: Lua collects its garbage when it likes.
options=(-timeout=5 -rss_limit_mb=1500 -malloc_limit_mb=512 -detect_leaks=0 -verbosity=1 -use_value_profile=0)
export ASAN_OPTIONS=malloc_context_size=4:quarantine_size_mb=16:max_free_fill_size=0

FUZZ_SCRATCH=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/neap-fuzz.XXXXXX")
export FUZZ_SCRATCH
trap 'rm -rf "$FUZZ_SCRATCH"' EXIT
trap 'exit 130' INT TERM

targets() { (cd tests/fuzz/targets && ls) | sed 's/\.lua$//'; }

# Lines of a file of Lua at which something happens, as the compiler has them, without those that only end a block, and
# those that are reached when it is loaded.
live_lines() { # PATH
	luac5.4 -l -p "lua/$1" | awk -v path="lua/$1" '
		BEGIN { while ((getline text < path) > 0) ends[++count] = text ~ /^[ \t]*(end|else|}|\))[ \t,;)]*$/ }
		/^(main|function) </ { inside = /^function/ }
		inside && match($0, /^\t[0-9]+\t\[[0-9]+\]/) { split($2, part, /[][]/); line = part[2]
			if (!ends[line] && !seen[line]++) print line }'
}

coverage() { # LINES: how many of each parser's lines were reached
	local path
	command -v luac5.4 >/dev/null || return 0
	awk '{ print $1 }' "$1" | sort -u | while read -r path; do
		live_lines "$path" | awk -v path="$path" -v lines="$1" '
			BEGIN { while ((getline < lines) > 0) if ($1 == path) reached[$2] = 1 }
			{ all++; if (reached[$1]) good++ }
			END { printf "      %3d %% of %4d lines  %s\n", 100 * good / all, all, path }'
	done
}

missed() { # LINES PATH: the lines that were not reached
	live_lines "$2" | sort -n | while read -r line; do
		grep -qx "$2 $line" "$1" || sed -n "${line}s|^|$2:$line: |p" "lua/$2"
	done
}

fuzz() { # TARGET
	local name=$1 log=$out/$1.log dictionary=()
	[ ! -e "tests/fuzz/$name.dict" ] || dictionary=(-dict="tests/fuzz/$name.dict")
	mkdir -p "$found/$name"
	rm -f "$out/$name.lines"
	if FUZZ=$name FUZZ_LINES=$out/$name.lines $out/fuzz "${options[@]}" "${dictionary[@]}" \
		-max_total_time="${FUZZ_SECONDS:-5}" ${FUZZ_RUNS:+-runs=$FUZZ_RUNS} -seed="${FUZZ_SEED:-0}" \
		-artifact_prefix="$out/failed-$name-" \
		"$found/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
		printf '%-12s %s\n' "$name" "$(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) second.*/\1 inputs in \2 s/p' "$log")"
		[ ! -e "$out/$name.lines" ] || coverage "$out/$name.lines"
		return 0
	fi
	awk '/^== |ERROR: (Address|Leak)Sanitizer|runtime error|ERROR: libFuzzer: [^d]/ { left = 14 }
		/ERROR: libFuzzer: deadly/ { exit }
		left-- > 0' "$log"
	failed=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	[ ! -s "$failed" ] || { echo "the input, as base64:" && head -c 3000 "$failed" | base64 -w 120; }
	echo "FAIL  $name${failed:+: $failed; again: tests/fuzz/run.sh replay $name $failed}"
	return 1
}

replay() { # TARGET FILE…
	FUZZ=$1 $out/fuzz "${options[@]}" "${@:2}"
}

minimise() { # TARGET
	local mine=tests/fuzz/corpus/$1
	mkdir -p "$mine"
	FUZZ=$1 $out/fuzz "${options[@]}" -use_counters=0 -set_cover_merge=1 "$mine" "$found/$1" 2>&1 | tail -n 1
}

case ${1:-} in
replay | minimise | missed)
	"$@"
	exit
	;;
esac
good=0 bad=0
if [ $# -gt 0 ]; then names=("$@"); else mapfile -t names < <(targets); fi
for name in "${names[@]}"; do
	if fuzz "$name"; then good=$((good + 1)); else bad=$((bad + 1)); fi
done
echo "$good passed, $bad failed"
[ "$bad" = 0 ]
