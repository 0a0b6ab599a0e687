#!/bin/sh
# Leaves Salt and supervisor, as the servers of the lab's set mitx have them, in the Python environment PREFIX/opt/salt: PREFIX
# is a layer of those servers' disks, on which the programs name their Python as it is there, /opt/salt/bin/python.
#   sh vendor/salt.sh PREFIX
# Only that set wants it: without a network nothing else is held up.
set -eu

prefix=${1:?usage: salt.sh PREFIX}
list=$(dirname "$(readlink -f "$0")")/salt.txt
place=$prefix/opt/salt
[ ! -f "$place/complete" ] || exit 0
[ -x "$place/bin/pip" ] || /usr/bin/python3 -m venv "$place"
if "$place/bin/python" -m pip -q --disable-pip-version-check install --no-deps -r "$list"; then
	sed -i '1s|^#!.*/python[0-9.]*$|#!/opt/salt/bin/python|' "$place"/bin/salt* "$place"/bin/supervisor*
	touch "$place/complete"
else
	echo "vendor/salt.sh: Salt is not to be had; the lab's set mitx cannot be built" >&2
fi
