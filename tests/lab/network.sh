#!/bin/sh
# The first process of the lab, and the jump server's machine: mounts and a bridge in its own namespaces, then sleep.
# When it ends the kernel ends everything in the lab and takes its mounts and interfaces away.
#   network.sh STATE UID HOSTS     STATE: folder of this lab; UID: whose home `lab run` replaces; HOSTS: table of the set
set -eu
state=$1 uid=$2 hosts=$3 fs=$1/fs

mount -t proc proc /proc
mount -t tmpfs -o mode=755 lab "$fs"
hostname jump

mkdir -p "$fs/etc" "$fs/home" "$fs/srv" "$fs/jump" "$fs/log" "$fs/disk"
chown "$uid" "$fs/home" "$fs/srv" "$fs/jump"
chmod 700 "$fs/home"

# ssh asks the password database for the home folder, not $HOME
{ getent passwd "$uid" || echo "lab:x:$uid:$uid::$fs/home:/bin/sh"; } | awk -F: -v OFS=: -v home="$fs/home" '{ $6 = home; print }' >"$fs/etc/passwd"
awk -F: -v uid="$uid" '$3 != uid' /etc/passwd >>"$fs/etc/passwd"
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n' >"$fs/etc/nsswitch.conf"
{ printf '127.0.0.1 localhost\n10.77.0.1 jump\n' && cat "$hosts"; } >"$fs/etc/hosts"
# over the folder, not over the files: this machine may replace its own (useradd), and a file's mount would go with it
mount -t overlay -o "lowerdir=$fs/etc:/etc" lab /etc

# /srv is the lab's own too, unless the checkout lies in it
case $0 in /srv/*) ;; *) mount --bind "$fs/srv" /srv ;; esac

ip link set lo up
ip link add lab0 type bridge
ip addr add 10.77.0.1/24 dev lab0
ip link set lab0 up

touch "$fs/inside" "$state/network"
while :; do
	sleep infinity &
	wait "$!"
done
