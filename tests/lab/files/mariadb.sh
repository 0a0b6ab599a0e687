#!/bin/sh
# Runs on the hosts warehouse and reporting, as root: a data folder, the users of version 1.0, and the schema of that name.
#   sh -eu -s NAME <mariadb.sh       /etc/mysql/first.sql makes the tables of that schema
name=$1
install -m 755 -o mysql -g root -d /run/mysqld
mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db >/dev/null
printf '#!/bin/sh\n' >/etc/mysql/debian-start # Debian's looks for tables of older releases
chmod 755 /etc/mysql/debian-start
printf '[client]\nuser = root\nsocket = /run/mysqld/mysqld.sock\n' >/etc/mysql/debian.cnf
chmod 600 /etc/mysql/debian.cnf
printf 'mariadb\ns3-statements\n' >/etc/lab-services
service mariadb start
mariadb <<SQL
create user root@'%' identified by 'Root-of-the-lab' require ssl;
grant all on *.* to root@'%' with grant option;
create user 'rdw-ingest'@'%' identified by 'Ingest-of-the-lab';
create user 'rdw-reporting'@'%' identified by 'Reporting-of-the-lab';
create database $name;
grant all on $name.* to 'rdw-ingest'@'%';
grant select on $name.* to 'rdw-reporting'@'%';
SQL
mariadb "$name" </etc/mysql/first.sql
rm /etc/mysql/first.sql
# of tenants, as release 2.5 has them
[ "$name" != warehouse ] || for tenant in pa ca; do
	mariadb <<SQL
create database warehouse_$tenant;
use warehouse_$tenant;
create table subject_score (id smallint not null primary key, subject_id smallint not null, asmt_type_id tinyint not null, score_type_id tinyint not null, code varchar(10) not null);
create table exam (id bigint not null primary key, student_id int not null, asmt_id int not null, school_year smallint not null, scale_score float, performance_level tinyint, completed_at timestamp(0) not null default '2019-12-01 10:00:00', updated timestamp(6) not null default '2019-12-02 10:00:00', update_import_id bigint not null, deleted tinyint not null default 0);
create table exam_score (id bigint not null primary key, exam_id bigint not null, subject_score_id smallint not null, scale_score float, performance_level tinyint);
insert into subject_score values (1, 1, 1, 3, 'C1'), (19, 1, 1, 2, 'A1'), (20, 1, 3, 2, 'A2'), (21, 1, 2, 2, 'A3');
insert into exam (id, student_id, asmt_id, school_year, scale_score, performance_level, update_import_id, updated) select seq, seq, 1, 2020, 2400 + seq, 2, 7, timestamp('2019-12-02') + interval seq minute from seq_1_to_50;
insert into exam_score select seq, seq, if(seq % 2, 19, 20), 2400 + seq, 1 from seq_1_to_50;
SQL
done
service mariadb stop
rm -f /var/log/mysql/general.log
