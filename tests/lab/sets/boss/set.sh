#!/bin/bash
# A stack of BOSS in service at sprint 18: bastion, endpoint (nginx with TLS), vault (a stand-in) and cache (redis); AWS is
# moto on the jump server (serve), which also has boss-manage: its remote at /srv/git, with sprint 19 on the branch
# integration, and two checkouts. Sourced by prepare.sh.
# shellcheck disable=SC2154 # checkout, here, hosts, fs: of lab, hosts.sh and prepare.sh

boss=$here/files/boss
python=$checkout/build/vendor/moto/bin/python

certificate() { # of the endpoint, by an authority that the jump server trusts
	local folder=$fs/disk/endpoint/up/etc/nginx
	mkdir -p "$folder" "$fs/authority"
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=lab -keyout "$fs/authority/key" -out "$fs/first-home/ca.pem" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -subj /CN=api.theboss.lab -keyout "$folder/server.key" -out "$fs/authority/request" 2>/dev/null
	openssl x509 -req -days 30 -in "$fs/authority/request" -CA "$fs/first-home/ca.pem" -CAkey "$fs/authority/key" -CAcreateserial \
		-extfile <(echo 'subjectAltName=DNS:api.theboss.lab,DNS:maintenance.theboss.lab') -out "$folder/server.crt" 2>/dev/null
}

endpoint() {
	local up=$fs/disk/endpoint/up
	certificate
	cp "$boss/endpoint.conf" "$up/etc/nginx/nginx.conf"
	echo nginx >"$up/etc/lab-services"
}

cache() {
	local up=$fs/disk/cache/up
	mkdir -p "$up/etc/redis"
	printf 'bind 0.0.0.0\nprotected-mode no\ndaemonize yes\npidfile /run/redis/redis-server.pid\ndir /var/lib/redis\nsave ""\n' >"$up/etc/redis/redis.conf"
	install -d -o redis -g redis "$up/var/lib/redis" "$up/var/log/redis"
	echo redis-server >"$up/etc/lab-services"
}

vault() {
	local up=$fs/disk/vault/up
	mkdir -p "$up/etc/init.d" "$up/srv/vault"
	install -m 755 "$boss/vault-init" "$up/etc/init.d/vault"
	install -m 755 "$here/stand-ins/vault" "$up/srv/vault/vault"
	install -m 600 "$boss/vault.json" "$up/srv/vault/vault.json"
	echo vault >"$up/etc/lab-services"
}

bastion() {
	mkdir -p "$fs/disk/bastion/up/etc"
	: >"$fs/disk/bastion/up/etc/lab-services"
}

# --- boss-manage, with the stand-ins in place of its own programs

release() { # WORK SPRINT: what this release has
	local folder=$1/cloud_formation
	mkdir -p "$folder/lambda"
	cp "$boss/$2/configs.json" "$folder/configs.json"
	cp "$boss/$2/index.py" "$folder/lambda/index.py"
}

commit() { # WORK MESSAGE
	git -C "$1" add -A
	GIT_COMMITTER_DATE='2018-07-19T12:00:00Z' git -C "$1" -c user.name=BOSS -c user.email=boss@theboss.io commit -q -m "$2" --date '2018-07-19T12:00:00Z'
}

boss_manage() {
	local work program
	work=$(mktemp -d)
	git init -q -b master "$work"
	cp -r "$here/stand-ins/boss-manage/." "$work"
	# the programs find moto's Python, which has boto3
	for program in "$work"/bin/*.py; do sed -i "1s|^#!.*|#!$python|" "$program"; done
	mkdir -p "$work/config/iam"
	cp "$boss/bosslets.json" "$work/config"
	for kind in groups roles policies; do echo '[]' >"$work/config/iam/$kind.json"; done
	printf '/cloud_formation/templates/\n/vault/private/\n__pycache__/\n' >"$work/.gitignore"
	release "$work" sprint18
	commit "$work" 'Sprint 18'
	git -C "$work" tag sprint18
	git -C "$work" switch -q -c integration
	release "$work" sprint19
	commit "$work" 'Sprint 19'
	git -C "$work" switch -q master
	git clone -q --bare "$work" "$fs/first-srv/git/boss-manage.git"
	rm -rf "$work"
}

spdb() {
	local work
	work=$(mktemp -d)
	git init -q -b master "$work"
	echo 'spatial database' >"$work/README"
	commit "$work" 'Sprint 18'
	git -C "$work" switch -q -c integration
	echo 'with appended tasks' >>"$work/README"
	commit "$work" 'Sprint 19'
	git -C "$work" switch -q master
	git clone -q --bare "$work" "$fs/first-srv/git/spdb.git"
	rm -rf "$work"
}

jump_server() {
	local home=$fs/first-home private
	mkdir -p "$fs/first-srv/git" "$home/git" "$home/.aws"
	boss_manage
	spdb
	for name in boss-manage spdb; do
		git clone -q "$fs/first-srv/git/$name.git" "$home/git/$name"
		git -C "$home/git/$name" remote set-url origin "/srv/git/$name.git"
	done
	private=$home/git/boss-manage/vault/private/vault.production.boss
	install -d -m 700 "$private"
	printf 'token-of-the-labs-vault' | install -m 600 /dev/stdin "$private/vault_token"
	printf '[user]\n\tname = Operator\n\temail = operator@theboss.io\n' >"$home/.gitconfig"
	cp "$boss/aws-config" "$home/.aws/config"
	install -m 600 "$boss/aws-credentials" "$home/.aws/credentials"
}

set_hosts() {
	[ -x "$python" ] || fail "moto is not installed: run 'make deps'"
	bastion
	endpoint
	vault
	cache
	jump_server
}
