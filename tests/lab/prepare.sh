#!/bin/bash
# The first state of the lab: what is installed on the hosts and on the jump server. Sourced by hosts.sh, whose functions it uses.
# shellcheck disable=SC2154 # here, fs, hosts, octet: of lab and hosts.sh
files=$here/files
# 15 where the machine has it (Debian 12), else the newest
postgres=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)
[ ! -d /usr/lib/postgresql/15 ] || postgres=15

# --- what all hosts have: this machine's programs, and of its /etc only what they need to run

base_folders() {
	local link
	for link in /*; do
		case $(readlink "$link") in usr/*) cp -P "$link" .; esac
	done
	mkdir -p usr etc proc sys dev run mnt opt srv root home tmp var/{log,cache,spool,www,backups} var/lib/{sudo/lectured,nginx,misc} var/cache/nginx
	chmod 1777 tmp
	chmod 700 root
	mkdir -m 1777 var/tmp
	ln -s /run var/run
	ln -s /run/lock var/lock
	install -d -o postgres -g postgres var/lib/postgresql
	install -d -o root -g postgres -m 1775 var/log/postgresql
	install -d -o www-data -g adm var/log/nginx
}

base_etc() {
	local name
	for name in alternatives bash.bashrc debian_version default/nginx init.d default/mariadb  ld.so.cache ld.so.conf ld.so.conf.d lsb-release login.defs lsb-base-logging.sh \
		mime.types nginx/mime.types os-release perl postgresql-common profile protocols services shells skel ssh/moduli ssl/certs ssl/openssl.cnf; do
		[ ! -e "/etc/$name" ] || (cd / && cp -a --parents "etc/$name" "$fs/base")
	done
	ln -s /usr/share/zoneinfo/Etc/UTC etc/localtime
	mkdir -p etc/sudoers.d etc/pam.d etc/ssh etc/nginx etc/postgresql
	printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n' >etc/nsswitch.conf
	for name in sshd sudo sudo-i other; do
		printf '%s required pam_unix.so\n' auth account password session >"etc/pam.d/$name"
	done
	for name in su su-l runuser runuser-l; do
		printf 'auth sufficient pam_rootok.so\naccount required pam_unix.so\nsession required pam_unix.so\n' >"etc/pam.d/$name"
	done
}

# This machine's system users, none of its people, no passwords.
base_users() {
	awk -F: '$3 < 1000 || $1 == "nobody"' /etc/passwd >etc/passwd
	awk -F: -v OFS=: '$3 < 1000 || $1 == "nogroup" { $4 = $1 == "adm" ? "ops" : ""; print }' /etc/group >etc/group
	echo 'ops:x:1000:1000:Operator:/home/ops:/bin/bash' >>etc/passwd
	echo 'ops:x:1000:' >>etc/group
	awk -F: '{ print $1 ":*:19000:0:99999:7:::" }' etc/passwd >etc/shadow
	chmod 640 etc/shadow
	chgrp shadow etc/shadow
	install -d -o 1000 -g 1000 -m 700 home/ops home/ops/.ssh
}

base_login() {
	cat "$fs"/first-home/.ssh/id_*.pub >home/ops/.ssh/authorized_keys
	chown -R 1000:1000 home/ops
	cp "$files/sshd_config" etc/ssh/sshd_config
	printf 'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\nDefaults logfile=/var/log/sudo.log,loglinelen=0\n@includedir /etc/sudoers.d\n' >etc/sudoers
	echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >etc/sudoers.d/ops
	chmod 440 etc/sudoers etc/sudoers.d/ops
	cp "$files/lab-init" etc/lab-init
}

base() (
	mkdir "$fs/base"
	cd "$fs/base" || exit
	base_folders
	base_etc
	base_users
	base_login
)

# --- the jump server: one key of each kind, all let in but `stranger`

home() {
	local ssh=$fs/first-home/.ssh
	install -d -m 700 "$fs/first-home" "$ssh"
	ssh-keygen -q -t ed25519 -N '' -C lab -f "$ssh/id_ed25519"
	ssh-keygen -q -t ecdsa -N '' -C lab -f "$ssh/id_ecdsa"
	ssh-keygen -q -t rsa -b 2048 -N '' -C lab -f "$ssh/id_rsa"
	ssh-keygen -q -t ed25519 -N 'open sesame' -C lab -f "$ssh/id_locked"
	ssh-keygen -q -t ed25519 -N '' -C stranger -f "$ssh/stranger"
	cp "$files/ssh_config" "$ssh/config"
}

# --- what each host has of its own

host_files() {
	local host=$1 address=10.77.0.${octet[$1]} up=$fs/disk/$1/up
	mkdir -p "$up/etc/ssh"
	echo "$host" >"$up/etc/hostname"
	sed "s/@HOST@/$host/" "$files/hosts" >"$up/etc/hosts"
	ssh-keygen -q -t ed25519 -N '' -C "root@$host" -f "$up/etc/ssh/ssh_host_ed25519_key"
	ssh-keygen -q -t rsa -b 2048 -N '' -C "root@$host" -f "$up/etc/ssh/ssh_host_rsa_key"
	sed "s/^/$host,$address,$(awk -v a="$address" '$1 == a { print $2 }' "$files/hosts") /" "$up"/etc/ssh/*.pub >>"$fs/first-home/.ssh/known_hosts"
}

proxy() {
	local up=$fs/disk/$1/up
	mkdir -p "$up/etc/nginx"
	sed "s/@HOST@/$1/" "$files/proxy.conf" >"$up/etc/nginx/nginx.conf"
	echo nginx >"$up/etc/lab-services"
}

server() { # HOST VERSION: the application's page, which tells its server's name
	local host=$1 version=$2 up=$fs/disk/$1/up
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

disk() {
	mkdir "$fs/disk/$1"
	mount -t tmpfs -o mode=755,size=1g "lab-$1" "$fs/disk/$1"
	mkdir "$fs/disk/$1/up" "$fs/disk/$1/work"
}

encode() {
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

# --- the databases of a data warehouse; their certificates are signed by one authority, which the jump server trusts

authority() {
	mkdir "$fs/authority"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=lab -keyout "$fs/authority/key" -out "$fs/authority/ca.pem" 2>/dev/null
	install -m 644 "$fs/authority/ca.pem" "$fs/first-home/ca.pem"
}

certificate() { # HOST FOLDER USER: key and certificate of HOST.rdw.lab
	local host=$1 folder=$fs/disk/$1/up$2 user=$3
	install -d -m 755 "$folder"
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$host.rdw.lab" -keyout "$folder/server.key" -out "$fs/authority/$host.csr" 2>/dev/null
	openssl x509 -req -days 30 -in "$fs/authority/$host.csr" -CA "$fs/authority/ca.pem" -CAkey "$fs/authority/key" -CAcreateserial \
		-extfile <(echo "subjectAltName=DNS:$host.rdw.lab,DNS:$host") -out "$folder/server.crt" 2>/dev/null
	cp "$fs/authority/ca.pem" "$folder/ca.pem"
	chmod 600 "$folder/server.key"
	chown "$user:$user" "$folder"/*
}

mariadb_host() {
	local host=$1 up=$fs/disk/$1/up
	certificate "$host" /etc/mysql mysql
	cp "$files/mariadb.cnf" "$up/etc/mysql/my.cnf"
	install -d -o mysql -g mysql "$up/var/lib/mysql" "$up/var/log/mysql"
	{
		cat "$files/rdw/schema/$host"/V1_0_0__*.sql
		echo 'create table schema_version (version varchar(50) not null primary key, installed_on timestamp not null default current_timestamp);'
		echo "insert into schema_version (version) values ('$(basename "$files/rdw/schema/$host"/V1_0_0__*.sql .sql)');"
	} >"$up/etc/mysql/first.sql"
	: >"$up/etc/lab-services" # until there is a data folder
}

# Repositories as they are at version 1.0, bare, under /srv/git; passwords of the databases in the jump server's home.
repository() { # NAME FOLDER…: what the folders hold is its first commit
	local name=$1 work
	work=$(mktemp -d)
	shift
	git init -q -b master "$work"
	for folder in "$@"; do cp -r "$folder" "$work/"; done
	git -C "$work" add -A
	GIT_COMMITTER_DATE='2018-01-15T12:00:00Z' git -C "$work" -c user.name=RDW -c user.email=rdw@sbac.org commit -q -m "Version 1.0" --date '2018-01-15T12:00:00Z'
	git -C "$work" branch develop
	git clone -q --bare "$work" "$fs/first-srv/git/$name.git"
	rm -rf "$work"
}

rdw() {
	local rdw=$files/rdw
	mkdir -p "$fs/first-srv/git"
	repository RDW "$rdw"/samples/*
	repository RDW_Deploy_Opus "$rdw"/deploy/*
	repository RDW_Config_Opus "$rdw"/config/*
	repository RDW_Schema "$rdw"/schema/* "$here/stand-ins/gradlew"
	printf '[user]\n\tname = Operator\n\temail = operator@sbac.org\n' >"$fs/first-home/.gitconfig"
	for part in Root Ingest Reporting; do
		printf '%s-of-the-lab' "$part" | install -m 600 /dev/stdin "$fs/first-home/${part,}.password"
	done
	mkdir -p "$fs/first-home/git"
}

data() {
	authority
	rdw
	mariadb_host warehouse
	mariadb_host reporting
	certificate redshift /etc/postgresql postgres
	: >"$fs/disk/redshift/up/etc/lab-services"
	start "${hosts[@]}"
	for host in warehouse reporting; do
		(lab_sh "$host" sh -eu -s "$host") <"$files/mariadb.sh" >>"$fs/log/$host" 2>&1
	done
	(lab_sh redshift sh -eu -s "$postgres") <"$files/redshift.sh" >>"$fs/log/redshift" 2>&1
	each power_off "${hosts[@]}"
}

prepare() {
	home
	base
	each disk "${hosts[@]}"
	each host_files "${hosts[@]}"
	"$(cat "$state/set")"
	mkdir -p "$fs/first-srv"
	chown -R "$LAB_UID" "$fs/first-home" "$fs/first-srv"
	each keep_layer "${hosts[@]}"
	lab_reset
}
