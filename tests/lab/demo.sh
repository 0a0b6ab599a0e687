#!/bin/bash
# Shows in two minutes what neap does, on the lab's servers: plan, run, kill -9 in the middle, resume, a failure, rollback.
set -eu
cd "$(dirname "$(readlink -f "$0")")/../.."
lab=tests/lab/lab
neap=build/neap
release=(encode/release --env "$([ -d /usr/lib/postgresql/15 ] && echo lab || echo lab13)" -p version=88 -p old=87)

say() { printf '\n\033[1m[%s] %s\033[0m\n' "$(date +%T)" "$*"; }
show() { printf '$ neap %s\n' "$*"; }

if [ "${1:-}" != inside ]; then
	say "The lab: two proxies, an old and a new server, AWS, a mail server, in namespaces of this machine"
	"$lab" up
	"$lab" reset
	"$lab" run tests/lab/demo.sh inside
	echo
	echo "The lab stays up: tests/lab/lab help says what can be done with it, tests/lab/lab down takes it away."
	exit
fi

# What a rollback has to bring back: content, mode and owner of every file that the procedure touches; tags; servers of EC2.
# shellcheck disable=SC2029 # the names are given from here
fingerprints() {
	local host files='/etc/nginx/nginx.conf /var/lib/postgresql/*/main/standby.signal /etc/postgresql/*/main/postgresql.conf \
		/etc/apache2/sites-available/encode.conf /var/lib/postgresql/.aws/credentials /home/encoded/.aws/credentials'
	git -C /srv/git/encoded.git tag --list
	servers_of_ec2
	for host in proxy1 proxy2 old new; do
		ssh "$host" "sudo sh -c 'for f in $files; do [ ! -e \$f ] || { sha256sum \$f; stat -c %a:%U:%G \$f; }; done'" | sed "s/^/$host /"
	done
}

servers_of_ec2() {
	tests/lab/stand-ins/encode/ask-aws http://127.0.0.1:5000 ec2 Version=2016-11-15 Action=DescribeInstances \
		Filter.1.Name=instance-state-name Filter.1.Value.1=running | grep -o '<instanceId>[^<]*' | cut -d'>' -f2 || true
}

served_by() { curl -s -m 2 "http://$1/"; }

in_recovery() { ssh "$1" "cd /; sudo -u postgres psql -Atc 'select pg_is_in_recovery()'"; }

servers() {
	echo "proxy1 serves $(served_by proxy1), proxy2 serves $(served_by proxy2)"
	echo "in recovery: old $(in_recovery old), new $(in_recovery new)"
}

expect() { # STATUS CMD…
	local wanted=$1 status=0
	shift
	show "$@"
	"$neap" "$@" || status=$?
	echo "(exit status $status)"
	[ "$status" = "$wanted" ] || {
		echo "demo: expected exit status $wanted" >&2
		exit 1
	}
}

say "What would be done: nothing is changed"
servers
expect 0 plan "${release[@]}"

say "Run it: backup, tag and all that neap does by itself. Where a person has to act it waits"
expect 8 run "${release[@]}" --foreground --yes --no-input

say "She says that it is done. Somebody asks both proxies 20 times a second: kill -9 as soon as proxy1 is switched"
build/client -o ~/visitors.log proxy1 proxy2 >~/visitors &
visitors=$!
show resume 1 --answer "done" --foreground --yes
"$neap" resume 1 --answer "done" --foreground --yes --no-input &
run=$!
until [ "$(served_by proxy1)" = v88.production.lab ] || ! kill -0 "$run" 2>/dev/null; do sleep 0.02; done
kill -9 "$run"
wait "$run" || echo "(killed: exit status $?)"
servers

say "Resume: neap asks the servers what was done, and goes on"
expect 8 resume 1 --foreground --yes --no-input
servers
expect 8 resume 1 --answer "done" --foreground --yes --no-input
expect 0 resume 1 --answer "done" --foreground --yes --no-input
kill "$visitors"
wait "$visitors" || true
cat ~/visitors
! grep -v ' 200 ' ~/visitors.log || exit 1

say "Everything back to the start, and a mistake on proxy2"
"$lab" reset
ssh proxy2 "echo 'broken {' | sudo tee -a /etc/nginx/nginx.conf >/dev/null"
fingerprints >~/before
"$neap" run "${release[@]}" --foreground --yes --no-input >/dev/null || true
expect 5 resume 1 --answer "done" --foreground --yes --no-input
servers

say "Rollback, newest change first"
expect 0 rollback 1 --foreground --yes
servers
fingerprints >~/after
diff ~/before ~/after
echo "$(grep -c / ~/after) files, each with its content, mode and owner of before; no tag and no server of EC2 is left"
