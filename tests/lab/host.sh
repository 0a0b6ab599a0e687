#!/bin/sh
# The first process of a host, in its own network, mount, process, UTS and IPC namespaces: builds the host's root, goes into it, starts its services.
#   host.sh NAME ROOT LOWER UPPER WORK      ROOT: where to build; LOWER UPPER WORK: the layers of its disk
set -eu
name=$1 root=$2 lower=$3 upper=$4 work=$5

# a disk that was just switched off may be busy for a moment
for _ in 1 2 3 4 5 6 7 8 9 10; do
	mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work,redirect_dir=on" "$name" "$root" && break
	sleep 0.1
done
cd "$root"

mount --rbind /usr usr
mount -o remount,bind,ro usr
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs -o mode=755 run run
mkdir -p run/lock run/sshd run/postgresql
chown postgres:postgres run/postgresql
chmod 2775 run/postgresql
chmod 1777 run/lock

# a boot has an id of its own, as on a real machine
cat /proc/sys/kernel/random/uuid >run/boot_id
chmod 444 run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id

mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
for node in null zero full random urandom tty; do
	: >"dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

rm -rf tmp/*
hostname "$name"
mkdir -p mnt
pivot_root . mnt
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 chroot . /etc/lab-init
