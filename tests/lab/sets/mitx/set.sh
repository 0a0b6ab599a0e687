#!/bin/bash
# Hosts of MITx Residential before its upgrade: salt (the master), database (MariaDB), the edX instances in service, draft, live
# and worker, and machines that stand ready for instances to come. Sourced by hosts.sh.
# shellcheck disable=SC2154 # checkout, here, hosts, fs: of lab, hosts.sh and prepare.sh
# shellcheck disable=SC2034 # for hosts.sh: Salt and supervisor are on all hosts
set_layer=$checkout/build/vendor/salt
mitx=$here/stand-ins/mitx

# --- what hosts have of their own

service_script() { install -D -m 755 "$2" "$fs/disk/$1/up/etc/init.d/$(basename "${2%.init}")"; }

salt_paths() { # HOST: programs of Salt as root finds them there
	printf 'Defaults secure_path="/opt/salt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n' |
		install -D -m 440 /dev/stdin "$fs/disk/$1/up/etc/sudoers.d/salt"
}

salt_master() {
	local up=$fs/disk/salt/up
	install -D -m 644 "$mitx/salt-master.yml" "$up/etc/salt/master"
	mkdir -p "$up/srv" "$up/root/.ssh"
	cp -r "$mitx/salt" "$up/srv/salt"
	cp -r "$mitx/ext" "$up/srv/ext"
	printf '{"edxapp-koa-release-version": "3", "edxapp-koa-ami-id": "%s", "edx_worker-koa-ami-id": "%s"}' \
		ami-0f00000000000000a ami-0f00000000000000b >"$up/srv/consul.json"
	ssh-keygen -q -t ed25519 -N '' -C root@salt -f "$up/root/.ssh/id_ed25519"
	service_script salt "$mitx/salt-master.init"
	service_script salt "$mitx/edx/salt-minion.init"
	{
		printf 'master: 127.0.0.1\nid: master-operations-qa\nmodule_dirs: [/srv/ext/modules]\n'
		printf 'sdb_dirs: [/srv/ext/sdb]\nconsul: { driver: consul }\n'
		cat "$mitx/edx/minion.yml"
	} >"$up/etc/salt/minion"
	printf 'salt-master\nsalt-minion\n' >"$up/etc/lab-services"
	salt_paths salt
}

# What an image of edX brings, and who may bring a machine to life.
edx_machine() {
	local up=$fs/disk/$1/up
	mkdir -p "$up/edx"
	cp -r "$mitx/edx" "$up/edx/lab"
	service_script "$1" "$mitx/edx/salt-minion.init"
	service_script "$1" "$mitx/edx/supervisor.init"
	install -d -o 1000 -g 1000 -m 700 "$up/home/ops" "$up/home/ops/.ssh"
	cat "$fs/base/home/ops/.ssh/authorized_keys" "$fs/disk/salt/up/root/.ssh/id_ed25519.pub" >"$up/home/ops/.ssh/authorized_keys"
	chown 1000:1000 "$up/home/ops/.ssh/authorized_keys"
	: >"$up/etc/lab-services"
}

in_service() { # HOST ID KIND: an instance of the release before
	(lab_sh "$1" /edx/lab/machine born "$2" "$3" 10.77.0.41 "$(git -C "$fs/first-srv/git/edx-platform.git" rev-parse mitx/juniper)") >>"$fs/log/$1" 2>&1
	echo configuration-0 | (lab_sh "$1" sh -c 'cat >/edx/etc/lms.yml; service supervisor stop')
	printf 'supervisor\nsalt-minion\n' >"$fs/disk/$1/up/etc/lab-services"
	[ "$3" = edx-worker ] || echo nginx >>"$fs/disk/$1/up/etc/lab-services"
}

edx_database() {
	local up=$fs/disk/database/up
	mkdir -p "$up/etc/mysql" "$up/var/lib/mysql" "$up/var/log/mysql"
	cp "$here/sets/mitx/my.cnf" "$up/etc/mysql/my.cnf"
	chown mysql: "$up/var/lib/mysql" "$up/var/log/mysql"
	: >"$up/etc/lab-services"
	start database
	(lab_sh database sh -eu) <"$here/sets/mitx/database.sh" >>"$fs/log/database" 2>&1
}

operator() {
	local home=$fs/first-home
	printf '[user]\n\tname = Operator\n\temail = operator@mitx.lab\n[safe]\n\tdirectory = *\n' >"$home/.gitconfig"
	mkdir -p "$home/.aws"
	printf '[lab]\naws_access_key_id = AKIAMITXOFTHELAB0001\naws_secret_access_key = Secret-key-of-the-mitx-lab\n' |
		install -m 600 /dev/stdin "$home/.aws/credentials"
}

# --- repositories: edX's and MITx's own, bare, under /srv/git, and the operator's clone of both

commit() { # DIRECTORY MESSAGE
	git -C "$1" add -A
	GIT_COMMITTER_DATE='2020-11-01T12:00:00Z' git -C "$1" -c user.name=edX -c user.email=edx@edx.lab commit -q -m "$2" --date '2020-11-01T12:00:00Z'
}

release() { # DIRECTORY NAME CHANGE MIGRATION: a commit with a migration, and edX's branch of that name
	echo "$3" >>"$1/CHANGELOG"
	echo "create table $4 (id int primary key);" >"$1/migrations/$4.sql"
	commit "$1" "$3"
	git -C "$1" branch -q -f "open-release/$2"
}

patches() { # DIRECTORY BRANCH START
	git -C "$1" checkout -q -b "$2" "$3"
	echo 'theme = "mitx"' >"$1/theme.py"
	commit "$1" "MITx theme"
	echo 'login = "touchstone"' >"$1/login.py"
	commit "$1" "Touchstone login"
}

repositories() {
	local work=$fs/repositories clone=$fs/first-home/git/edx-platform
	mkdir -p "$fs/first-srv/git" "$fs/first-home/git" "$work/migrations"
	git init -q -b master "$work"
	release "$work" juniper.master "Juniper" t0001_juniper
	release "$work" koa.rc1 "Koa, release candidate 1" t0002_koa
	release "$work" koa.rc3 "Koa, release candidate 3" t0003_koa
	release "$work" koa.master "Koa" t0004_koa
	git clone -q --bare "$work" "$fs/first-srv/git/upstream.git"
	patches "$work" mitx/juniper open-release/juniper.master
	git clone -q --bare "$work" "$fs/first-srv/git/edx-platform.git"
	git -C "$fs/first-srv/git/edx-platform.git" for-each-ref --format='delete %(refname)' refs/heads/open-release |
		git -C "$fs/first-srv/git/edx-platform.git" update-ref --stdin
	git clone -q "$fs/first-srv/git/edx-platform.git" "$clone"
	git -C "$clone" remote set-url origin /srv/git/edx-platform.git
	git -C "$clone" remote add upstream /srv/git/upstream.git
	rm -rf "$work"
}

# --- all of it

minions_answer() { # COUNT
	for _ in $(seq 100); do
		[ "$(lab_sh salt /opt/salt/bin/salt --out=txt -t 3 '*' test.ping 2>/dev/null | grep -c ': True')" != "$1" ] || return 0
	done
	fail "the minions do not answer: $(lab_sh salt tail -n 20 /var/log/salt/master)"
}

set_hosts() {
	local host
	[ -e "$set_layer/opt/salt/complete" ] || fail "Salt is not installed: run 'make deps'"
	operator
	repositories
	edx_database
	salt_master
	for host in "${hosts[@]}"; do case $host in salt | database) ;; *) edx_machine "$host" ;; esac; done
	cp -a "$fs/first-srv/." "$fs/srv"
	start salt draft live worker
	git daemon --base-path=/srv/git --export-all --reuseaddr --detach --pid-file="$fs/git-daemon.pid"
	in_service draft edx-mitx-qa-next-residential-draft-0-v3 edx
	in_service live edx-mitx-qa-next-residential-live-0-v3 edx
	in_service worker edx-worker-mitx-qa-next-residential-live-0-v3 edx-worker
	kill "$(cat "$fs/git-daemon.pid")"
	minions_answer 4
	each power_off "${hosts[@]}"
}

set_is_ready() { minions_answer 4; }
