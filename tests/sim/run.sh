#!/bin/bash
# The simulator and its mutants, as two processes side by side, each with half of the seeds and half of the mutants; ends
# with their sums.  SEED=n: that schedule alone.  N=n: so many schedules.  LONG=n: schedules for so long.
set -u
cd "$(dirname "$(readlink -f "$0")")/../.." || exit
neap=${NEAP:-build/neap}
export NEAP_LUA=lua TZ=UTC

one() { "$neap" test tests/sim/sim.lua; }

if [ -n "${SEED:-}" ]; then
	one
	exit
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export PARTS=2
PART=1 one >"$out/1" 2>&1 &
PART=2 one >"$out/2" 2>&1
status=$?
wait $! || status=$?

# The lines of both, but for those that are summed up.
cat "$out"/[12] | grep -vE '^[0-9]+ (schedules|of|passed)|^tests/sim/'

sum() { # PATTERN: adds up the numbers that a sed expression leaves of the lines that have it
	sed -nE "s/$1/\\1/p" "$out"/[12] | awk '{ n += $1 } END { print n + 0 }'
}

grep -hE '^[0-9]+ schedules' "$out"/[12]
echo "$(sum '^([0-9]+) schedules.*') schedules, $(sum '^[0-9]+ schedules, ([0-9]+) violations.*') violations"
mutants=$(sum '^[0-9]+ of ([0-9]+) mutants found')
[ "$mutants" = 0 ] || echo "$(sum '^([0-9]+) of [0-9]+ mutants found') of $mutants mutants found"
echo "$(sum '^([0-9]+) passed.*') passed, $(sum '^[0-9]+ passed, ([0-9]+) failed.*') failed"
exit "$status"
