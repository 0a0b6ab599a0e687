#!/bin/bash
# No core of a process that holds a secret, though the limit allows one: a worker and a run in the foreground are aborted.
# A shell script, for neap itself lowers the limit of all that it starts for good.
set -eu
neap=$(realpath "${1:-build/neap}")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/home" "$place/cwd" "$place/control" "$place/procedures/demo/environments"
printf 'canary-core-5f7d2b' >"$place/kept"
chmod 600 "$place/kept"
cat >"$place/procedures/demo/it.lua" <<'LUA'
-- Holds a secret, and waits.
local here, folder = env.hosts["local"], env.folder
step "Write" { run = function() file.write(here, folder .. "/written", env.secrets.token, { mode = "0600" }) end }
step "Wait" { run = function() here:run({ "sleep", "6" }, { undo = { "true" } }) end }
LUA
printf 'values: { folder: %s }\nsecrets: { token: "file:%s" }\n' "$place" "$place/kept" \
	>"$place/procedures/demo/environments/lab.yml"
export HOME="$place/home" XDG_STATE_HOME="$place/state" NEAP_PATH="$place"

ulimit -c unlimited 2>/dev/null || { echo "core.sh: not held: no core is allowed here"; exit 0; }
(cd "$place/control" && sh -c 'kill -ABRT $$') >/dev/null 2>&1 || true
[ -n "$(ls "$place/control")" ] || { echo "core.sh: not held: this machine writes cores elsewhere"; exit 0; }

# aborted PID: it is dead, and where it worked nothing was left
aborted() {
	folder=$(readlink "/proc/$1/cwd")
	before=$(ls -a "$folder")
	kill -ABRT "$1"
	for _ in $(seq 100); do
		grep -qs '^State:.*[^Z] (' "/proc/$1/status" || break
		sleep 0.05
	done
	grep -qs '^State:.*[^Z] (' "/proc/$1/status" && { echo "core.sh: $1 is not dead"; exit 1; }
	[ "$before" = "$(ls -a "$folder")" ] || { echo "core.sh: a core was left in $folder"; exit 1; }
}

roll_back() {
	"$neap" rollback "$1" --env lab --no-input >"$place/said" 2>&1 || { cat "$place/said"; exit 1; }
}

wait_for() {
	for _ in $(seq 200); do
		[ -e "$1" ] && return 0
		sleep 0.05
	done
	echo "core.sh: no $1"
	exit 1
}

cd "$place/cwd"
"$neap" run demo/it --env lab --foreground </dev/null >/dev/null 2>&1 &
wait_for "$place/written"
aborted $!
wait || true
roll_back 1
[ ! -e "$place/written" ] || { echo "core.sh: it was not rolled back"; exit 1; }

"$neap" run demo/it --env lab </dev/null >/dev/null 2>&1 &
client=$!
wait_for "$place/written"
worker=
while read -r file; do
	folder=${file%/environ}
	if grep -qszx worker "$folder/cmdline"; then worker=${folder#/proc/}; fi
done < <(grep -lszx "NEAP_PATH=$place" /proc/[0-9]*/environ)
[ -n "$worker" ] || { echo "core.sh: no worker"; exit 1; }
aborted "$worker"
wait "$client" || true
roll_back 2
[ -z "$(ls "$place/cwd")" ] || { echo "core.sh: something was left in $place/cwd"; exit 1; }
if grep -rqs canary-core "$place/state" "$place/home"; then echo "core.sh: the secret was written"; exit 1; fi
echo "core.sh: no core of a worker, nor of a run in the foreground"
