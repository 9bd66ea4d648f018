#!/bin/sh
# changelogs.sh IN OUT WORK: takes the Debian changelogs out of packages, WIDTH at a time.
# IN/wanted: lines of GROUP PACKAGE URI SHA256; the first package of a group that has a changelog decides.
# IN/sources, when there: the archives whose signed Release files are wanted too.
# OUT gets SHA256.gz for each changelog, and release/* (what apt verified). Exit: 10 something could not be fetched.
set -euf
in=$1 out=$2 work=$3 width=4
export LC_ALL=C

# conf DIR: makes an empty system of apt's own in DIR.
conf() {
	mkdir -p "$1/etc/apt/apt.conf.d" "$1/etc/apt/trusted.gpg.d" "$1/var/lib/apt/lists/partial" "$1/var/cache/apt/archives/partial" "$1/var/lib/dpkg"
	: >"$1/var/lib/dpkg/status"
	APT_CONFIG=$1/apt.conf
	export APT_CONFIG
	{
		printf 'Dir "%s/";\nDir::State::status "%s/var/lib/dpkg/status";\n' "$1" "$1"
		cat "$in/apt.conf"
	} >"$APT_CONFIG"
}

# changelog DIR PACKAGE: prints the path of the changelog of the package that is unpacked in DIR, which may be in the
# folder of another package of the same file.
changelog() {
	folder=$2
	if [ -L "$1/usr/share/doc/$folder" ]; then
		folder=$(readlink "$1/usr/share/doc/$folder")
		case $folder in *[!a-z0-9+.-]* | .*) return ;; esac
	fi
	for name in changelog.Debian.gz changelog.gz; do
		file=$1/usr/share/doc/$folder/$name
		if [ -f "$file" ] && [ ! -L "$file" ]; then
			printf '%s\n' "$file"
			return
		fi
	done
}

# take K: every WIDTH-th group, from the K-th on. After three faults in a row there is no point in asking on.
take() {
	own=$work/$1 found='' faults=0 code=0
	conf "$own"
	while read -r group package uri sum; do
		[ $((group % width)) = "$1" ] && [ "$group" != "$found" ] || continue
		if ! /usr/lib/apt/apt-helper -q download-file "$uri" "$own/deb" "SHA256:$sum"; then
			code=10 faults=$((faults + 1))
			[ "$faults" -lt 3 ] || break
			continue
		fi
		faults=0
		mkdir "$own/doc"
		dpkg-deb --fsys-tarfile "$own/deb" | tar -x -C "$own/doc" ./usr/share/doc 2>/dev/null || :
		file=$(changelog "$own/doc" "$package")
		if [ -n "$file" ]; then
			head -c 4194304 "$file" >"$out/$sum.gz"
			found=$group
		fi
		rm -rf "$own/deb" "$own/doc"
	done <"$in/wanted"
	return "$code"
}

mkdir -p "$out"
if [ -d "$in/sources" ]; then
	conf "$work/lists"
	cp -R "$in/sources" "$work/lists/etc/apt/sources.list.d"
	apt-get -q -o Acquire::IndexTargets::deb::Packages::DefaultEnabled=false update || exit 10
	mkdir "$out/release"
	set +f
	cp "$work"/lists/var/lib/apt/lists/*Release "$out/release/"
	set -f
fi
k=0 workers=''
while [ "$k" -lt "$width" ]; do
	take "$k" &
	workers="$workers $!" k=$((k + 1))
done
code=0
for worker in $workers; do
	wait "$worker" || { ended=$? && [ "$code" -ne 0 ] && [ "$ended" -eq 10 ] || code=$ended; }
done
exit "$code"
