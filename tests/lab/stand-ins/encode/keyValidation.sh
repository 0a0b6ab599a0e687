#!/bin/sh
# Stands in for the team's keyValidation.sh: tries the keys that a server has, for backups and for uploads.
set -eu
check() { # FILE SECTION
	# shellcheck disable=SC2016 # envfile's shell expands it
	/opt/wal-e/bin/envfile --config "$1" --section "$2" --upper -- sh -c '
		[ ${#AWS_SECRET_ACCESS_KEY} -ge 40 ] && /opt/lab/bin/key-status "$AWS_ACCESS_KEY_ID" Active && echo "$0: $AWS_ACCESS_KEY_ID is valid"' "$2"
}
check ~postgres/.aws/credentials default
check ~encoded/.aws/credentials encode-files-upload
