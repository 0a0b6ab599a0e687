#!/bin/bash
# The first state of the lab: what is installed on the hosts and on the jump server. Sourced by hosts.sh, whose functions it uses.
# shellcheck disable=SC2154 # here, fs, hosts, octet: of lab and hosts.sh
files=$here/files
# 15 where the machine has it (Debian 12), else the newest
postgres=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)
# shellcheck disable=SC2034 # for the sets
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
	for name in alternatives apache2 bash.bashrc debian_version default/nginx init.d default/mariadb  ld.so.cache ld.so.conf ld.so.conf.d lsb-release login.defs lsb-base-logging.sh \
		mime.types nginx/mime.types os-release perl postgresql-common profile protocols services shells skel ssh/moduli ssl/certs ssl/openssl.cnf; do
		[ ! -e "/etc/$name" ] || (cd / && cp -a --parents "etc/$name" "$fs/base")
	done
	rm -f etc/apache2/sites-enabled/*
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
	printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' root ops >etc/sudoers.d/ops
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
	{ printf '127.0.0.1 localhost %s\n10.77.0.1 jump\n' "$host" && cat "$set/hosts"; } >"$up/etc/hosts"
	ssh-keygen -q -t ed25519 -N '' -C "root@$host" -f "$up/etc/ssh/ssh_host_ed25519_key"
	ssh-keygen -q -t rsa -b 2048 -N '' -C "root@$host" -f "$up/etc/ssh/ssh_host_rsa_key"
	sed "s/^/$host,$address /" "$up"/etc/ssh/*.pub >>"$fs/first-home/.ssh/known_hosts"
}

disk() {
	mkdir "$fs/disk/$1"
	mount -t tmpfs -o mode=755,size=1g "lab-$1" "$fs/disk/$1"
	mkdir "$fs/disk/$1/up" "$fs/disk/$1/work"
}

prepare() {
	home
	base
	each disk "${hosts[@]}"
	each host_files "${hosts[@]}"
	set_hosts
	mkdir -p "$fs/first-srv"
	chown -R "$LAB_UID" "$fs/first-home" "$fs/first-srv"
	each keep_layer "${hosts[@]}"
	lab_reset
}
