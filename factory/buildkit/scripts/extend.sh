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

unfit() {
	echo "$1"
	exit 6
}
tab=$(printf '\t')
while IFS="$tab" read -r name uid gid home shell; do
	if getent passwd "$name" >/run/account; then # it is the parent's, or it had better be
		IFS=: read -r _ _ hasuid hasgid _ hashome hasshell </run/account
		case $hasshell in */nologin | */false) hasshell=$shell ;; esac # hardening takes shells away
		test "$hasuid:$hasgid:$hashome:$hasshell" = "$uid:$gid:$home:$shell" ||
			unfit "users: $name is there already, with uid $hasuid, gid $hasgid, home $hashome, shell $hasshell: leave it out, or choose another name"
		continue
	fi
	if getent group "$gid" >/run/account; then
		IFS=: read -r hasname _ </run/account
		test "$hasname" = "$name" || unfit "users: gid $gid of $name is that of the group $hasname: choose another one"
	elif getent group "$name" >/run/account; then
		IFS=: read -r _ _ hasgid _ </run/account
		unfit "users: a group $name is there already, with gid $hasgid: say gid: $hasgid, or choose another name"
	else
		groupadd --gid "$gid" "$name"
	fi
	useradd --uid "$uid" --gid "$gid" --home-dir "$home" --shell "$shell" --no-create-home --no-log-init "$name"
	if ! test -e "$home"; then
		install -d -m 0750 -o "$uid" -g "$gid" "$home"
	fi
done </.factory/users
