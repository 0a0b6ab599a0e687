#!/bin/sh
# Runs on the host redshift, as root: a PostgreSQL in its place, with one superuser who comes over the network by TLS.
#   sh -eu -s VERSION <redshift.sh
version=$1
etc=/etc/postgresql/$version/main
pg_createcluster "$version" main --locale C.UTF-8 -- --no-sync >/dev/null
cat >"$etc/conf.d/lab.conf" <<CONF
listen_addresses = '*'
port = 5438
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
# md5 takes both kinds of passwords: Redshift knows that one alone
echo 'hostssl all all 10.77.0.0/24 md5' >>"$etc/pg_hba.conf"
printf 'postgresql\ns3-statements\n' >/etc/lab-services
pg_ctlcluster "$version" main start
runuser -u postgres -- psql -q -p 5438 -v ON_ERROR_STOP=1 <<SQL
create role root superuser login password 'Root-of-the-lab';
create database dev owner root;
SQL
for tenant in pa ca; do
	runuser -u postgres -- psql -q -p 5438 -v ON_ERROR_STOP=1 <<SQL
create database reporting_$tenant owner root;
\\c reporting_$tenant
create table exam_alt_score (id bigint primary key, exam_id bigint not null, subject_score_id smallint not null, student_id int not null, asmt_id int not null, school_year smallint not null, scale_score float, performance_level smallint, completed_at timestamp not null, migrate_id bigint not null, updated timestamp not null, update_import_id bigint not null);
insert into exam_alt_score select id, id, 19, id, 1, 2021, 2400 + id, 1, '2021-01-05 10:00:00', 4, '2021-01-06 10:00:00', 9 from generate_series(51, 53) as id;
alter table exam_alt_score owner to root;
SQL
done
pg_ctlcluster "$version" main stop
rm -f "/var/log/postgresql/postgresql-$version-main.log"
