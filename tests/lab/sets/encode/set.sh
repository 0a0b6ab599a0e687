#!/bin/bash
# Hosts of a web site before its release: old and new (PostgreSQL primary and standby, application page, Apache with what its
# indexer tells), proxy1 and proxy2 (nginx). The team's own programs are those of stand-ins/encode. Sourced by prepare.sh.
# shellcheck disable=SC2154 # files, here, fs, postgres: of lab, hosts.sh and prepare.sh
own=$here/stand-ins/encode
services=(nginx postgresql apache2 cron indexer elasticsearch)

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
	application "$1"
	printf '%s\n' "${services[@]}" >"$up/etc/lab-services"
}

# The application's own programs, its user, and Apache.
application() {
	local up=$fs/disk/$1/up program
	cp "$fs/base/etc/passwd" "$fs/base/etc/group" "$fs/base/etc/shadow" "$up/etc/"
	echo 'encoded:x:1001:1001:ENCODE:/home/encoded:/bin/sh' >>"$up/etc/passwd"
	echo 'encoded:x:1001:' >>"$up/etc/group"
	echo 'encoded:*:19000:0:99999:7:::' >>"$up/etc/shadow"
	install -d -o 1001 -g 1001 "$up/home/encoded"
	install -d -m 755 "$up/opt/lab/bin" "$up/opt/wal-e/bin" "$up/srv/encoded/bin" "$up/etc/init.d"
	for program in ask-aws key-status fileindexer servers.py; do install "$own/$program" "$up/opt/lab/bin/$program"; done
	for program in wal-e envfile; do install "$own/$program" "$up/opt/wal-e/bin/$program"; done
	for program in batchupgrade keyValidation.sh; do install "$own/$program" "$up/srv/encoded/bin/$program"; done
	for program in indexer elasticsearch; do install "$own/init" "$up/etc/init.d/$program"; done
	echo http://10.77.0.1:5000 >"$up/etc/lab-aws"
	apache "$1"
	install -d -o root -g crontab -m 1730 "$up/var/spool/cron/crontabs"
}

apache() {
	local up=$fs/disk/$1/up
	mkdir -p "$up/etc/apache2/sites-available" "$up/etc/apache2/sites-enabled" "$up/etc/apache2/mods-enabled"
	sed "s/@HOST@/$1/" "$files/encode.conf" >"$up/etc/apache2/sites-available/encode.conf"
	ln -s ../sites-available/encode.conf "$up/etc/apache2/sites-enabled/encode.conf"
	ln -s ../mods-available/proxy.load ../mods-available/proxy_http.load "$up/etc/apache2/mods-enabled/"
	install -d -o root -g adm -m 750 "$up/var/log/apache2"
}

# The keys that a server has, and where its backups go.
credentials() {
	local up=$fs/disk/$1/up
	install -d -o postgres -g postgres -m 755 "$up/var/lib/postgresql" "$up/var/lib/postgresql/.aws"
	credential default AKIABACKUPSINUSE0087 | install -o postgres -g postgres -m 640 /dev/stdin "$up/var/lib/postgresql/.aws/credentials"
}

credential() { # SECTION ID
	printf '[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1" "$2" "$(head -c 30 /dev/urandom | base64 -w 0)"
}

uploads() {
	local folder=$fs/disk/$1/up/home/encoded/.aws
	install -d -o 1001 -g 1001 -m 755 "$folder"
	{
		credential read-only AKIAREADONLY00000000
		[ "$1" != old ] || credential encode-files-upload AKIAUPLOADSINUSE0087
	} | install -o 1001 -g 1001 -m 640 /dev/stdin "$folder/credentials"
}

prefix() {
	echo "s3://encoded-backups-prod/production" >"$fs/disk/$1/up/etc/postgresql/$postgres/main/wale_s3_prefix"
}

# The application's repository: what the jump server has of it is behind, by what was merged last.
repository() {
	local work=$fs/first-home/git/encoded commit=(-c user.name=Ann -c user.email=ann@encodedcc.org commit -q)
	export GIT_COMMITTER_DATE=2016-11-20T12:00:00Z GIT_AUTHOR_DATE=2016-11-20T12:00:00Z
	git init -q -b master "$work"
	install -D "$own/deploy" "$work/bin/deploy"
	install "$own/ask-aws" "$work/bin/ask-aws"
	git -C "$work" add -A
	git -C "$work" "${commit[@]}" -m "What deploys"
	mkdir -p "$fs/first-srv/git"
	git clone -q --bare "$work" "$fs/first-srv/git/encoded.git"
	echo "release notes" >"$work/CHANGES"
	git -C "$work" add -A
	git -C "$work" "${commit[@]}" -m "The last merge"
	git -C "$work" push -q "$fs/first-srv/git/encoded.git" master
	git -C "$work" reset -q --hard HEAD^
	git -C "$work" remote add origin /srv/git/encoded.git
	git -C "$work" update-ref refs/remotes/origin/master master
	git -C "$work" branch -q --set-upstream-to origin/master master
	printf '[user]\n\tname = Operator\n\temail = operator@encodedcc.org\n' >"$fs/first-home/.gitconfig"
}

profile() {
	install -d -m 700 "$fs/first-home/.aws"
	credential production AKIAOPERATOROFTHELAB | install -m 600 /dev/stdin "$fs/first-home/.aws/credentials"
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
	repository
	profile
	credentials old
	: >"$fs/disk/old/up/etc/lab-services"
	start old
	cluster
	power_off old
	printf '%s\n' "${services[@]}" >"$fs/disk/old/up/etc/lab-services"
	standby
	rm -rf "$fs/disk/new/up/var/lib/postgresql/.aws"
	each uploads old new
	each prefix old new
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
