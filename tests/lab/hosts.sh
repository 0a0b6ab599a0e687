#!/bin/bash
# The hosts of the lab, seen from inside its namespaces: disks, power, network faults. Sourced by `lab`, whose variables it uses.
# shellcheck disable=SC2154 # here, fs, LAB_UID and the functions of lab
# Of the set: its table `hosts` (address, name, other names), and set.sh, which has
#   set_hosts      fills the disks of its hosts, in the first state
#   set_layer      a folder that lies on the disks of all its hosts, beneath what they have of their own; none where there is none
#   set_is_ready   waits until a reset lab is what it is to be; nothing to wait for where there is none
#   serve          a program, where there is one, that runs on the jump server beside its home and /srv, begun anew with each
#                  reset; it says that its services answer by making the file that it is given
set=$here/sets/$(cat "$state/set")
declare -A octet
hosts=()
while read -r address host _; do
	octet[$host]=${address##*.}
	hosts+=("$host")
done <"$set/hosts"
set_layer=
set_is_ready() { :; }
# shellcheck source=/dev/null
. "$set/set.sh"

# --- one host: its files lie under $fs/disk/HOST, a tmpfs of its own so that it can be full

known() {
	case " ${hosts[*]} " in *" ${1:-?} "*) return ;; esac
	fail "unknown host '${1:-}': the hosts are ${hosts[*]}"
}

each() { # FUNCTION HOST…
	local function=$1 host
	shift
	[ $# -gt 0 ] || fail "name a host: ${hosts[*]}"
	for host in "$@"; do known "$host"; done
	for host in "$@"; do "$function" "$host"; done
}

pid_of() { cat "$fs/disk/$1/pid" 2>/dev/null; }

is_on() { local pid && pid=$(pid_of "$1") && [ -e "/proc/$pid" ]; }

must_be_on() { is_on "$1" || fail "$1 is off"; }

in_network_of() { # HOST CMD…
	local pid
	pid=$(pid_of "$1")
	shift
	nsenter --target "$pid" --net -- "$@"
}

# The newest layer first, as overlayfs wants them.
layers_of() {
	local layer list=
	for layer in "$fs/disk/$1"/layer-*/; do [ ! -d "$layer" ] || list=${layer%/}:$list; done
	echo "$list${set_layer:+$set_layer:}$fs/base"
}

blank_disk() { rm -rf "$fs/disk/$1/up" "$fs/disk/$1/work" && mkdir "$fs/disk/$1/up" "$fs/disk/$1/work"; }

power_on() {
	local host=$1 disk=$fs/disk/$1 pid
	! is_on "$host" || return 0
	mkdir -p "$disk/root"
	pid=$(in_new_namespaces "$fs/log/$host" --propagation private -- \
		"$here/host.sh" "$host" "$disk/root" "$(layers_of "$host")" "$disk/up" "$disk/work")
	echo "$pid" >"$disk/pid"
	# always the same hardware address, as a real machine has: others still know it after a boot
	ip link add "v-$host" type veth peer name eth0 address "02:00:0a:4d:00:${octet[$host]}" netns "$pid"
	ip link set "v-$host" master lab0 up
	in_network_of "$host" ip link set eth0 up
	in_network_of "$host" ip addr add "10.77.0.${octet[$host]}/24" dev eth0
}

# The cable goes first: a machine that loses its power tells nobody that its connections end.
power_off() {
	local pid
	ip link del "v-$1" 2>/dev/null || true
	is_on "$1" || return 0
	pid=$(pid_of "$1")
	kill -9 "$pid" 2>/dev/null || true
	while [ -e "/proc/$pid" ]; do sleep 0.02; done
	rm -f "$fs/disk/$1/pid"
}

# sshd starts last, so a host that answers there has started everything.
answers() {
	for _ in $(seq 600); do
		timeout 0.5 bash -c ": </dev/tcp/10.77.0.${octet[$1]}/22" 2>/dev/null && return
		is_on "$1" || break
		sleep 0.05
	done
	fail "$1 did not start: $(tail -n 20 "$fs/log/$1")"
}

start() {
	each power_on "$@"
	each answers "$@"
}

pids_of() {
	local space
	space=$(readlink "/proc/$(pid_of "$1")/ns/pid") || fail "$1 is off"
	space=${space//[^0-9]/}
	find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/pid' -lname "pid:\\[$space\\]" -printf '%h\n' 2>/dev/null | cut -d/ -f3
}

signal() { # SIGNAL HOST; twice, for what was born meanwhile
	local process
	for _ in 1 2; do
		for process in $(pids_of "$2"); do kill "-$1" "$process" 2>/dev/null || true; done
	done
}

block() { # VERDICT HOST PORT…
	local verdict=$1 host=$2 port
	shift 2
	known "$host"
	must_be_on "$host"
	[ $# -gt 0 ] || fail "name a port"
	for port in "$@"; do
		in_network_of "$host" nft -f - <<RULES
table inet lab {
	chain in { type filter hook input priority 0; }
	chain out { type filter hook output priority 0; }
}
add rule inet lab out tcp flags & rst == rst accept
add rule inet lab in tcp dport $port $verdict
add rule inet lab out tcp sport $port $verdict
RULES
	done
}

disk_size() { mount -o "remount,size=$2" "$fs/disk/$1"; }

# --- the verbs of lab

# What comes before a command so that the lab's own user runs it.
as_user() { [ "$LAB_UID" = 0 ] || user=(setpriv --reuid "$LAB_UID" --regid "$(id -g "$LAB_UID")" --init-groups); }

lab_run() {
	local user=()
	[ $# -gt 0 ] || fail "run what?"
	as_user
	unset SSH_AUTH_SOCK SSH_AGENT_PID XDG_CONFIG_HOME XDG_STATE_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_RUNTIME_DIR
	exec "${user[@]}" env HOME="$fs/home" "$@"
}

lab_sh() {
	local pid clean=(env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
	known "${1:-}"
	must_be_on "$1"
	pid=$(pid_of "$1")
	shift
	[ $# -gt 0 ] || set -- bash -l
	exec nsenter --target "$pid" --mount --uts --ipc --net --pid --root --wdns=/ -- "${clean[@]}" "$@"
}

lab_status() {
	local host state link failed=0
	for host in "${hosts[@]}"; do
		state=off link=-
		if is_on "$host"; then
			state=on
			! grep -q '^State:[[:space:]]*T' "/proc/$(pid_of "$host")/status" || state=frozen
			link='cut'
			! ip link show "v-$host" | grep -q 'state UP' || link=up
		fi
		printf '%-8s %-11s %-7s link %s\n' "$host" "10.77.0.${octet[$host]}" "$state" "$link"
		[ "$state" = on ] || failed=1
	done
	return "$failed"
}

lab_boot() { start "$@"; }
lab_off() { each power_off "$@"; }

# shellcheck disable=SC2120 # lab gives the hosts
lab_reset() {
	local all=("${hosts[@]}")
	if [ $# -gt 0 ]; then all=("$@"); else
		stop_serving
		first_home
	fi
	each power_off "${all[@]}"
	each blank_disk "${all[@]}"
	for host in "${all[@]}"; do disk_size "$host" 1g; done
	[ $# -gt 0 ] || serve
	start "${all[@]}"
	[ $# -gt 0 ] || {
		await_serving
		set_is_ready
	}
}

stop_serving() {
	local process
	[ -e "$fs/serving" ] || return 0
	for process in $(pgrep -s "$(cat "$fs/serving")"); do kill -9 "$process" 2>/dev/null || true; done
	rm -f "$fs/serving" "$fs/jump/served"
}

# A session of its own: it ends as one, also what it started. Begins beside the hosts.
serve() {
	local user=()
	[ -x "$set/serve" ] || return 0
	as_user
	(
		unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_CACHE_HOME
		# shellcheck disable=SC2016 # the inner shell expands
		HOME=$fs/home exec setsid sh -c 'echo $$ >"$1" && shift && exec "$@"' - "$fs/serving" "${user[@]}" "$set/serve" "$fs/jump/served"
	) </dev/null >"$fs/log/serve" 2>&1 9>&- &
}

await_serving() {
	[ -x "$set/serve" ] || return 0
	for _ in $(seq 1200); do
		[ ! -e "$fs/jump/served" ] || return 0
		sleep 0.05
	done
	fail "the services of the jump server do not answer: $(tail -n 20 "$fs/log/serve")"
}

first_home() {
	find "$fs/home" "$fs/srv" -mindepth 1 -delete
	cp -a "$fs/first-home/." "$fs/home"
	cp -a "$fs/first-srv/." "$fs/srv"
}

keep_layer() {
	local disk=$fs/disk/$1 count
	count=$(find "$disk" -maxdepth 1 -name 'layer-*' | wc -l)
	mv "$disk/up" "$disk/layer-$(printf %03d "$count")"
	rm -rf "$disk/work"
	mkdir "$disk/up" "$disk/work"
}

# Databases are stopped as an operator would, or the first state would be one after a power cut.
shut_down() {
	local service
	for service in postgresql mariadb; do
		! is_on "$1" || ! grep -qx "$service" "$fs/disk/$1/root/etc/lab-services" ||
			(lab_sh "$1" service "$service" stop) >>"$fs/log/$1" 2>&1 || true
	done
	power_off "$1"
}

lab_stick() {
	each shut_down "${hosts[@]}"
	each keep_layer "${hosts[@]}"
	start "${hosts[@]}"
}

cable() { ip link set "v-$2" "$1"; }
pull_cable() { must_be_on "$1" && cable down "$1"; }
plug_cable() { must_be_on "$1" && cable up "$1"; }
lab_cut() { each pull_cable "$@"; }
lab_heal() { each plug_cable "$@"; }

lab_drop() { block drop "$@"; }
lab_refuse() { block 'reject with tcp reset' "$@"; }
unblock() { must_be_on "$1" && { in_network_of "$1" nft delete table inet lab 2>/dev/null || true; }; }
lab_clear() { each unblock "$@"; }

stop_all() { must_be_on "$1" && signal STOP "$1"; }
continue_all() { must_be_on "$1" && signal CONT "$1"; }
lab_freeze() { each stop_all "$@"; }
lab_thaw() { each continue_all "$@"; }

# A smaller disk instead of a big file: no memory is taken, and nothing can be deleted to make room.
lab_fill() {
	local used
	known "${1:-}"
	used=$(df --block-size=1 --output=used "$fs/disk/$1" | tail -n 1)
	disk_size "$1" "$((used + ${2:-0}))"
}
empty_disk() { disk_size "$1" 1g; }
lab_unfill() { each empty_disk "$@"; }

new_host_keys() {
	must_be_on "$1"
	# shellcheck disable=SC2016 # the host's own shell expands
	(lab_sh "$1" sh -ec 'rm -f /etc/ssh/ssh_host_*; ssh-keygen -A >/dev/null; kill -HUP "$(cat /run/sshd.pid)"')
	answers "$1"
}
lab_rekey() { each new_host_keys "$@"; }

lab_prepare() {
	# shellcheck source=tests/lab/prepare.sh
	. "$here/prepare.sh"
	prepare
}
