#!/bin/sh
# What is installed, as a Debian package and as a tarball; the same bytes each time for the same commit.
#   package.sh BUILD OUT     BUILD: where neap and lib/neap are, and doc/ of manual.sh
set -eu
build=$1 out=$2
here=$(dirname "$(readlink -f "$0")")
root=$here/../..
version=$("$build/neap" --version | cut -d' ' -f2)
maintainer=${NEAP_MAINTAINER:-neap <neap@example.org>}
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

# The program holds these libraries; their licences go with it, as their own packages have them.
licenses() { # FILE
	cp "$root/LICENSE" "$1"
	for package in liblua5.4-dev libuv1-dev libsqlite3-dev libyaml-dev libjansson-dev libzstd-dev libutf8proc-dev \
		libexpat1-dev libcmark-dev zlib1g-dev libssh2-1-dev lua-argparse; do
		printf '\n\n==== %s ====\n\n' "$package" >>"$1"
		cat "/usr/share/doc/$package/copyright" >>"$1"
	done
	chmod 644 "$1"
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
umask 022

install -D -m 755 "$build/neap" "$tree/usr/bin/neap"
install -d "$tree/usr/lib/neap"
install -m 644 "$build"/lib/neap/*.so "$tree/usr/lib/neap/"
strip "$tree/usr/bin/neap"
strip --strip-unneeded "$tree"/usr/lib/neap/*.so
for page in "$build"/doc/man/*; do
	install -D -m 644 -t "$tree/usr/share/man/man${page##*.}" "$page"
done
gzip -n9 "$tree"/usr/share/man/man*/*
install -D -m 644 "$here/neap@.service" "$tree/usr/lib/systemd/system/neap@.service"
install -d "$tree/usr/share/neap" "$tree/usr/share/doc/neap/html"
"$build/neap" types "$tree/usr/share/neap/types" >/dev/null
cp -R "$build"/doc/site/* "$tree/usr/share/doc/neap/html/"
licenses "$tree/usr/share/doc/neap/copyright"
install -d "$tree/usr/share/lintian/overrides"
echo 'neap: embedded-library *' >"$tree/usr/share/lintian/overrides/neap" # on purpose: a start-up without them is a third
install -d "$tree/usr/share/bash-completion/completions" "$tree/usr/share/zsh/vendor-completions" \
	"$tree/usr/share/fish/vendor_completions.d"
"$build/neap" completion bash >"$tree/usr/share/bash-completion/completions/neap"
"$build/neap" completion zsh >"$tree/usr/share/zsh/vendor-completions/_neap"
"$build/neap" completion fish >"$tree/usr/share/fish/vendor_completions.d/neap.fish"
printf 'neap (%s) unstable; urgency=medium\n\n  * See the manual: neap doc.\n\n -- %s  %s\n' "$version" "$maintainer" \
	"$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -n9 >"$tree/usr/share/doc/neap/changelog.gz"

mkdir -p "$out"
find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --directory="$tree" \
	--transform="s,^\./usr,neap-$version," ./usr | gzip -n9 >"$out/neap-$version-linux-$arch.tar.gz"

# what vendor/packages declares for running: `name|other VERSION why`
depends() {
	sed -n '/^\[run\]/,/^\[test\]/p' "$root/vendor/packages" | awk '
		/^[a-z]/ && NF > 2 {
			count = split($1, names, "|")
			entry = names[1] " (>= " $2 ")"
			for (i = 2; i <= count; i++) entry = entry " | " names[i] " (>= " $2 ")"
			list = list (list == "" ? "" : ", ") entry
		}
		END { print list }'
}

mkdir "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: neap
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk "$tree/usr" | cut -f1)
Depends: $(depends), libc6
Suggests: systemd
Section: admin
Priority: optional
Description: production upgrades, planned, journaled, resumable, undone in reverse
 An upgrade guide becomes a procedure in Lua; neap runs it for a named
 environment over ssh. Every change is written down before it is made, can be
 seen before it is made, and is taken back in reverse order when something
 fails.
CONTROL
(cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
find "$tree/DEBIAN" -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --build --root-owner-group "$tree" "$out/neap_${version}_$arch.deb" >/dev/null
ls "$out"
