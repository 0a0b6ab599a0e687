#!/bin/sh
# Runs on the host database, as root: the database of edX as the release before has left it.
install -m 755 -o mysql -g root -d /run/mysqld
mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db >/dev/null
printf '#!/bin/sh\n' >/etc/mysql/debian-start # Debian's looks for tables of older releases
chmod 755 /etc/mysql/debian-start
printf '[client]\nuser = root\nsocket = /run/mysqld/mysqld.sock\n' >/etc/mysql/debian.cnf
chmod 600 /etc/mysql/debian.cnf
echo mariadb >/etc/lab-services
service mariadb start
mariadb <<SQL
create database edxapp;
create user edxapp@'%' identified by 'edxapp-of-the-lab';
grant all on edxapp.* to edxapp@'%';
use edxapp;
create table django_migrations (id int not null auto_increment primary key, name varchar(255) not null unique, applied timestamp not null default current_timestamp);
create table t0001_juniper (id int primary key);
insert into django_migrations (name) values ('t0001_juniper');
SQL
service mariadb stop
