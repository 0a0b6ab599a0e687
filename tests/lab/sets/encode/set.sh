#!/bin/bash
# Hosts of a web site before its release: old and new (PostgreSQL primary and standby, application page), proxy1 and proxy2
# (nginx). Sourced by prepare.sh.
# shellcheck disable=SC2154 # files, fs, postgres: of lab, hosts.sh and prepare.sh

proxy() {
	local up=$fs/disk/$1/up
	mkdir -p "$up/etc/nginx"
	sed "s/@HOST@/$1/" "$files/proxy.conf" >"$up/etc/nginx/nginx.conf"
	echo nginx >"$up/etc/lab-services"
}

server() { # HOST VERSION: the application's page, which tells its server's name
	local version=$2 up=$fs/disk/$1/up
	mkdir -p "$up/etc/nginx" "$up/srv/encoded/www"
	cp "$files/app.conf" "$up/etc/nginx/nginx.conf"
	echo "$version.production.lab" >"$up/srv/encoded/www/index.html"
	echo "$version.test.lab" >"$up/srv/encoded/www/test.html"
	printf 'nginx\npostgresql\n' >"$up/etc/lab-services"
}

# Logs as an Apache of years leaves them, with a folder and names that a careless copy loses.
apache_logs() {
	local logs=$fs/disk/old/up/var/log/apache2
	install -d -o root -g adm -m 750 "$logs" "$logs/archive 2016" "$logs/vhosts/indexer"
	seq -f '10.77.0.11 - - [21/Nov/2016:02:21:42 +0000] "GET /experiments/ENCSR%06.0fAAA/ HTTP/1.1" 200 5120' 800 >"$logs/access.log"
	echo '[Mon Nov 21 02:21:42 2016] [mpm_event:notice] [pid 812] AH00489: Apache/2.4 configured' >"$logs/error.log"
	seq -f '10.77.0.12 - - [20/Nov/2016] "GET /_indexer HTTP/1.1" 200 %.0f' 1 4000 | gzip -n >"$logs/access.log.1.gz"
	echo 'first of the month' >"$logs/archive 2016/access log May.txt"
	: >"$logs/archive 2016/empty.log"
	echo 'indexed' >"$logs/vhosts/indexer/other_vhosts_access.log"
	chgrp -R adm "$logs"
	find "$logs" -type f -exec chmod 640 {} +
}

# --- PostgreSQL: old is the primary, new its standby; each has what it needs to follow the other

cluster() {
	(lab_sh old sh -eu -s "$postgres") <"$files/cluster.sh"
}

standby() {
	local old=$fs/disk/old/up new=$fs/disk/new/up folder
	for folder in etc var/lib var/log; do
		mkdir -p "$new/$folder"
		cp -a "$old/$folder/postgresql" "$new/$folder/postgresql"
	done
	sed -i 's/host=v88/host=v87/; s/application_name=old/application_name=new/' "$new/etc/postgresql/$postgres/main/conf.d/standby.conf"
	sed -i "/master.conf/d" "$new/etc/postgresql/$postgres/main/postgresql.conf"
	install -o postgres -g postgres -m 600 /dev/null "$new/var/lib/postgresql/$postgres/main/standby.signal"
}

set_hosts() {
	proxy proxy1
	proxy proxy2
	server old v87
	server new v88
	apache_logs
	start old
	cluster
	power_off old
	standby
}

# Told by the process's title: a question to the server would stand in its log.
set_is_ready() {
	local process
	for _ in $(seq 200); do
		for process in $(pids_of old); do
			! grep -q 'walsender.*streaming' "/proc/$process/cmdline" 2>/dev/null || return 0
		done
		sleep 0.05
	done
	fail "the standby does not stream: $(tail -n 20 "$fs/disk/new/up/var/log/postgresql/"*)"
}
