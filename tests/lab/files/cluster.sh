#!/bin/sh
# Runs on the host `old`, as root: the primary, with all it needs to become a standby of `new`.
#   sh -eu -s VERSION <cluster.sh
version=$1
etc=/etc/postgresql/$version/main

{
	pg_createcluster "$version" main --locale C.UTF-8 -- --no-sync
	rm -f "/var/log/postgresql/postgresql-$version-main.log"
} >/dev/null

cat >"$etc/conf.d/lab.conf" <<CONF
listen_addresses = '*'
fsync = off
shared_buffers = 16MB
max_connections = 50
min_wal_size = 32MB
log_statement = all
log_connections = on
log_line_prefix = '%m [%p] %q%u@%d '
CONF

cat >"$etc/conf.d/standby.conf" <<CONF
# Used only while standby.signal is there.
primary_conninfo = 'host=v88.production.lab user=replicator application_name=old connect_timeout=5'
recovery_target_timeline = latest
wal_keep_size = 256MB
wal_retrieve_retry_interval = 500ms
CONF

cat >"$etc/master.conf" <<CONF
# What only the server that takes writes has; included at the end of its postgresql.conf.
wal_compression = on
checkpoint_completion_target = 0.8
CONF
chown postgres:postgres "$etc"/*.conf "$etc"/conf.d/*.conf
echo "include 'master.conf'" >>"$etc/postgresql.conf"

cat >>"$etc/pg_hba.conf" <<CONF
host replication replicator 10.77.0.0/24 trust
host encoded     encoded    10.77.0.0/24 trust
CONF

pg_ctlcluster "$version" main start
runuser -u postgres -- psql -q -v ON_ERROR_STOP=1 <<SQL
create role replicator login replication;
create role encoded login;
create database encoded owner encoded;
\c encoded encoded 10.77.0.21
create table resources (rid uuid primary key, item_type text not null);
create table propsheets (sid bigserial primary key, rid uuid not null references resources, name text not null, properties json not null);
insert into resources select gen_random_uuid(), 'experiment' from generate_series(1, 200);
insert into propsheets (rid, name, properties) select rid, 'accession', '{"status": "released"}' from resources;
SQL
pg_ctlcluster "$version" main stop
rm -f "/var/log/postgresql/postgresql-$version-main.log"
