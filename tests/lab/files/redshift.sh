#!/bin/sh
# Runs on the host redshift, as root: a PostgreSQL in its place, with one superuser who comes over the network by TLS.
#   sh -eu -s VERSION <redshift.sh
version=$1
etc=/etc/postgresql/$version/main
pg_createcluster "$version" main --locale C.UTF-8 -- --no-sync >/dev/null
cat >"$etc/conf.d/lab.conf" <<CONF
listen_addresses = '*'
port = 5439
fsync = off
shared_buffers = 16MB
max_connections = 50
log_statement = all
log_line_prefix = '%m [%p] %q%u@%d '
ssl = on
ssl_cert_file = '/etc/postgresql/server.crt'
ssl_key_file = '/etc/postgresql/server.key'
CONF
chown postgres:postgres "$etc"/conf.d/*.conf
echo 'hostssl all all 10.77.0.0/24 scram-sha-256' >>"$etc/pg_hba.conf"
echo postgresql >/etc/lab-services
pg_ctlcluster "$version" main start
runuser -u postgres -- psql -q -p 5439 -v ON_ERROR_STOP=1 <<SQL
create role root superuser login password 'Root-of-the-lab';
create database dev owner root;
SQL
pg_ctlcluster "$version" main stop
rm -f "/var/log/postgresql/postgresql-$version-main.log"
