#!/bin/sh
# Runs inside a parent's root: its own dpkg installs the packages that the parent does not have, then come the child's accounts.
# Arguments are options for dpkg.
set -eu

dpkg --audit >/run/audit
if test -s /run/audit; then
	cat /run/audit
	exit 1
fi
if test -d /.debs; then
	# Nothing that the packages bring may start a service here.
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 0755 /usr/sbin/policy-rc.d
	available=/run/none
	test -e /var/lib/dpkg/available || available=/var/lib/dpkg/available
	# All are unpacked before the first is configured, so what one needs before that is there, though not configured yet.
	dpkg --force-unsafe-io --force-confold --force-depends "$@" --unpack /.debs/*.deb </dev/null 2>&1
	dpkg --force-unsafe-io --force-confold --configure -a </dev/null
	dpkg --audit >/run/audit
	if test -s /run/audit; then
		cat /run/audit
		exit 1
	fi
	rm -f /usr/sbin/policy-rc.d "$available"
fi

tab=$(printf '\t')
while IFS="$tab" read -r name uid gid home shell; do
	if getent passwd "$name" >/run/account; then
		continue # it is the parent's
	fi
	getent group "$gid" >/run/account || groupadd --gid "$gid" "$name"
	useradd --uid "$uid" --gid "$gid" --home-dir "$home" --shell "$shell" --no-create-home --no-log-init "$name"
	if ! test -e "$home"; then
		install -d -m 0750 -o "$uid" -g "$gid" "$home"
	fi
done </.factory/users
