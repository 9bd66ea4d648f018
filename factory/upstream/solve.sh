#!/bin/sh
# solve.sh IN OUT WORK: lets apt update an empty system of its own in WORK and decide what it would install.
# IN has apt.conf, preferences, sources/, and the lists want, never and arches (one a line).
# OUT gets release/* (what apt verified), ARCH.uris (what apt would fetch) and ARCH.packages (their stanzas).
# Exit: 10 update failed, 11 no solution.
set -euf
in=$1 out=$2 work=$3
export LC_ALL=C
mkdir -p "$work/etc/apt/apt.conf.d" "$work/etc/apt/preferences.d" "$work/etc/apt/trusted.gpg.d" "$work/var/lib/dpkg" \
	"$work/var/lib/apt/lists/partial" "$work/var/cache/apt/archives/partial" "$out/release"
: >"$work/var/lib/dpkg/status"
cp -R "$in/sources" "$work/etc/apt/sources.list.d"
cp "$in/preferences" "$work/etc/apt/preferences"

# conf NAME ARCH...: writes a configuration that looks at nothing but WORK.
conf() {
	APT_CONFIG=$work/$1.conf
	export APT_CONFIG
	shift
	{
		printf 'Dir "%s/";\nDir::State::status "%s/var/lib/dpkg/status";\nAPT::Architecture "%s";\n' "$work" "$work" "$1"
		printf 'APT::Architectures { '
		printf '"%s"; ' "$@"
		printf '};\n'
		cat "$in/apt.conf"
	} >"$APT_CONFIG"
}

# shellcheck disable=SC2046 # words are wanted; -f is set
conf update $(cat "$in/arches")
apt-get -q update || exit 10
set +f
cp "$work"/var/lib/apt/lists/*Release "$out/release/"
set -f

while read -r arch; do
	conf "$arch" "$arch"
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(SOURCESENTRY) $(FILENAME)' 'Created-By: Packages' >"$work/$arch.lists"
	while read -r entry file; do
		case $entry in
		*-essential.sources:*) [ ! -e "$file" ] || printf '%s\n' "$file" ;;
		esac
	done <"$work/$arch.lists" >"$work/$arch.scan"
	{
		cat "$in/want"
		# shellcheck disable=SC2046
		[ ! -s "$work/$arch.scan" ] || awk '
			/^Package: / { p = $2 }
			/^(Essential: yes|Priority: required)$/ && p ~ /^[a-z0-9][a-z0-9+.-]+$/ { print p }
		' $(cat "$work/$arch.scan")
	} >"$work/$arch.names"
	sort -u "$work/$arch.names" >"$work/$arch.all"
	comm -23 "$work/$arch.all" "$in/never" >"$work/$arch.want"

	# shellcheck disable=SC2046
	apt-get -q -y --print-uris -o Debug::NoLocking=1 install -- $(cat "$work/$arch.want") >"$work/$arch.plan" || {
		cat "$work/$arch.plan"
		exit 11
	}
	grep "^'" "$work/$arch.plan" >"$out/$arch.uris" || :
	while read -r entry file; do
		[ ! -e "$file" ] || awk -v entry="${entry##*/}" '
			function flush() {
				if (p != "" && (key = p "_" v "_" a ".deb") in plan)
					printf "Entry: %s\nPackage: %s\n%s\n", entry, p, rest
				p = v = a = rest = ""
			}
			FNR == NR { plan[$2] = 1; next }
			/^$/ { flush(); next }
			/^Package: / { p = $2; next }
			/^Version: / { v = $2; gsub(/:/, "%3a", v); rest = rest $0 "\n" }
			/^Architecture: / { a = $2; rest = rest $0 "\n" }
			/^(Source|Filename|Size|SHA256): / { rest = rest $0 "\n" }
			END { flush() }
		' "$out/$arch.uris" "$file"
	done <"$work/$arch.lists" >"$out/$arch.packages"
done <"$in/arches"
