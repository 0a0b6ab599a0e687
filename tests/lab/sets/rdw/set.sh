#!/bin/bash
# Hosts of a data warehouse: warehouse and reporting (MariaDB for Aurora), redshift (PostgreSQL in its place), each behind what
# carries out statements of S3; TLS, with one authority, which the jump server trusts. On the jump server: see serve.
# Sourced by hosts.sh.
# shellcheck disable=SC2154 # files, here, hosts, fs, LAB_UID, postgres: of lab, hosts.sh and prepare.sh

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

s3_statements() { # HOST KIND PORT BACKEND-PORT FOLDER-OF-CERTIFICATE
	local up=$fs/disk/$1/up
	mkdir -p "$up/opt" "$up/etc/init.d" "$up/etc/default"
	cp "$here/stand-ins/s3-statements" "$up/opt/"
	cp "$files/s3-statements.init" "$up/etc/init.d/s3-statements"
	echo "$2 $3 $4 http://10.77.0.1:5000 $5/server.crt $5/server.key" >"$up/etc/default/s3-statements"
}

mariadb_host() {
	local host=$1 up=$fs/disk/$1/up
	certificate "$host" /etc/mysql mysql
	s3_statements "$host" mysql 3306 3307 /etc/mysql
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
	for part in Root Ingest Reporting Sso-user Sso-client Session; do
		printf '%s-of-the-lab' "$part" | install -m 600 /dev/stdin "$fs/first-home/${part,}.password"
	done
	mkdir -p "$fs/first-home/git" "$fs/first-srv/rdw/packages" "$fs/first-srv/rdw/guides" "$fs/first-srv/bin"
	echo '# of the operator' >"$fs/first-home/.bashrc"
	for year in 2016 2017 2018; do echo "AssessmentId,$year" >"$fs/first-srv/rdw/packages/${year}v2.csv"; done
	for name in UserGuide InterpretiveGuide; do echo "$name of 1.1" >"$fs/first-srv/rdw/guides/$name.pdf"; done
	cp "$here/stand-ins/kops" "$fs/first-srv/bin/"
	install -d -m 700 "$fs/first-home/.aws"
	printf '[%s]\naws_access_key_id = AKIAOPUSOFTHELAB0001\naws_secret_access_key = Keys-of-the-lab\n' default |
		install -m 600 /dev/stdin "$fs/first-home/.aws/credentials"
}

# The control plane's binaries stay where the user of the lab has them.
control_plane() {
	local cache=${XDG_CACHE_HOME:-$HOME/.cache}/neap-lab
	! "$here/kube" ready || "$here/kube" build
	mkdir -p "$cache"
	ln -s "$cache" "$fs/jump/neap-lab"
}

set_hosts() {
	control_plane
	authority
	rdw
	mariadb_host warehouse
	mariadb_host reporting
	certificate redshift /etc/postgresql postgres
	s3_statements redshift postgres 5439 5438 /etc/postgresql
	: >"$fs/disk/redshift/up/etc/lab-services"
	start "${hosts[@]}"
	for host in warehouse reporting; do
		(lab_sh "$host" sh -eu -s "$host") <"$files/mariadb.sh" >>"$fs/log/$host" 2>&1
	done
	(lab_sh redshift sh -eu -s "$postgres") <"$files/redshift.sh" >>"$fs/log/redshift" 2>&1
	each power_off "${hosts[@]}"
}
