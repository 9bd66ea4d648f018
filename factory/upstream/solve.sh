#!/bin/sh
# solve.sh IN OUT WORK: lets apt update an empty system of its own in WORK, once, and decide what it would install for each image.
# IN has apt.conf, plan.py, sources/, the list arches (one a line), and for each image images/N with preferences, want and never.
# OUT gets release/* (what apt verified), and for each image N/ARCH.uris (what apt would fetch) and N/ARCH.packages (their stanzas);
# where there is no solution N/exit is 11, and N/said is what apt said.
# Exit: 10 update failed.
set -euf
in=$1 out=$2 work=$3
export LC_ALL=C
mkdir -p "$work/etc/apt/apt.conf.d" "$work/etc/apt/preferences.d" "$work/etc/apt/trusted.gpg.d" "$work/var/lib/dpkg" \
	"$work/var/lib/apt/lists/partial" "$work/var/cache/apt/archives/partial" "$out/release"
: >"$work/var/lib/dpkg/status"
cp -R "$in/sources" "$work/etc/apt/sources.list.d"
images=$(ls "$in/images")

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

# decide N ARCH: asks apt-get.
decide() {
	# shellcheck disable=SC2046 # words are wanted; -f is set
	if apt-get -q -y --print-uris -o Debug::NoLocking=1 -o "Dir::Etc::preferences=$in/images/$1/preferences" \
		install -- $(cat "$work/$1.want") >"$work/plan" 2>"$work/complaints"; then
		grep "^'" "$work/plan" >"$out/$1/$2.uris" || :
	else
		cat "$work/plan" "$work/complaints" >"$out/$1/said"
		printf 11 >"$out/$1/exit"
	fi
}

# shellcheck disable=SC2046
conf update $(cat "$in/arches")
apt-get -q update || exit 10
set +f
cp "$work"/var/lib/apt/lists/*Release "$out/release/"
set -f

while read -r arch; do
	conf "$arch" "$arch"
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(SOURCESENTRY) $(FILENAME)' 'Created-By: Packages' >"$work/lists"
	while read -r entry file; do
		case $entry in
		*-essential.sources:*) [ ! -e "$file" ] || printf '%s\n' "$file" ;;
		esac
	done <"$work/lists" >"$work/scan"
	: >"$work/needed"
	# shellcheck disable=SC2046
	[ ! -s "$work/scan" ] || awk '
		/^Package: / { p = $2 }
		/^(Essential: yes|Priority: required)$/ && p ~ /^[a-z0-9][a-z0-9+.-]+$/ { print p }
	' $(cat "$work/scan") >"$work/needed"
	for i in $images; do
		mkdir -p "$out/$i"
		sort -u "$in/images/$i/want" "$work/needed" >"$work/all"
		comm -23 "$work/all" "$in/images/$i/never" >"$work/$i.want"
	done

	# What plan.py leaves open apt-get decides, or says why it cannot.
	# shellcheck disable=SC2086
	/usr/bin/python3 -s "$in/plan.py" "$in/images" "$work" "$out" "$arch" $images || :
	for i in $images; do
		[ -e "$out/$i/exit" ] || [ -e "$out/$i/$arch.uris" ] || {
			echo "$i $arch: asking apt-get"
			decide "$i" "$arch"
		}
	done

	# The lists are large, so they are read once: then each image gets its own stanzas.
	for i in $images; do
		[ ! -e "$out/$i/$arch.uris" ] || cat "$out/$i/$arch.uris"
	done >"$work/uris"
	while read -r entry file; do
		[ ! -e "$file" ] || awk -v entry="${entry##*/}" '
			function flush() {
				if (p != "" && (key = p "_" v "_" a ".deb") in plan)
					printf "Key: %s\nEntry: %s\nPackage: %s\n%s\n", key, entry, p, rest
				p = v = a = rest = ""
			}
			FNR == NR { plan[$2] = 1; next }
			/^$/ { flush(); next }
			/^Package: / { p = $2; next }
			/^Version: / { v = $2; gsub(/:/, "%3a", v); rest = rest $0 "\n" }
			/^Architecture: / { a = $2; rest = rest $0 "\n" }
			/^(Source|Filename|Size|SHA256): / { rest = rest $0 "\n" }
			END { flush() }
		' "$work/uris" "$file"
	done <"$work/lists" >"$work/stanzas"
	for i in $images; do
		[ ! -e "$out/$i/$arch.uris" ] || awk '
			FNR == NR { plan[$2] = 1; next }
			$2 in plan { sub(/^[^\n]*\n/, ""); printf "%s\n\n", $0 }
		' "$out/$i/$arch.uris" RS= "$work/stanzas" >"$out/$i/$arch.packages"
	done
done <"$in/arches"
