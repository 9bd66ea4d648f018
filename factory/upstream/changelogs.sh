#!/bin/sh
# changelogs.sh IN OUT WORK: fetches packages and takes their Debian changelogs out.
# IN/wanted: lines of GROUP PACKAGE URI SHA256; the first package of a group that has a changelog decides.
# OUT gets GROUP.gz. Exit: 10 a package could not be fetched.
set -euf
in=$1 out=$2 work=$3
export LC_ALL=C
mkdir -p "$work/etc/apt/apt.conf.d" "$work/var/lib/apt/lists/partial" "$work/var/lib/dpkg" "$out"
: >"$work/var/lib/dpkg/status"
APT_CONFIG=$work/apt.conf
export APT_CONFIG
{
	printf 'Dir "%s/";\nDir::State::status "%s/var/lib/dpkg/status";\n' "$work" "$work"
	cat "$in/apt.conf"
} >"$APT_CONFIG"
while read -r group package uri sum; do
	[ ! -e "$out/$group.gz" ] || continue
	rm -rf "$work/deb" "$work/doc"
	mkdir "$work/doc"
	/usr/lib/apt/apt-helper -q download-file "$uri" "$work/deb" "SHA256:$sum" || exit 10
	dpkg-deb --fsys-tarfile "$work/deb" | tar -x -C "$work/doc" "./usr/share/doc/$package" 2>/dev/null || :
	for name in changelog.Debian.gz changelog.gz; do
		file=$work/doc/usr/share/doc/$package/$name
		if [ -f "$file" ] && [ ! -L "$file" ]; then
			head -c 4194304 "$file" >"$out/$group.gz"
			break
		fi
	done
done <"$in/wanted"
