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
echo mariadb >/etc/lab-services
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
service mariadb stop
rm -f /var/log/mysql/general.log
