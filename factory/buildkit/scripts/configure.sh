#!/bin/sh
# Runs inside the new root: the packages' preinst scripts, dpkg --configure, then the image's accounts.
set -eu

# What the first maintainer scripts take for granted.
test -e /usr/bin/awk || { ln -s /usr/bin/mawk /etc/alternatives/awk && ln -s /etc/alternatives/awk /usr/bin/awk; }
if test -e /usr/share/base-passwd/passwd.master && ! test -e /etc/passwd; then
	cp -p /usr/share/base-passwd/passwd.master /etc/passwd
	cp -p /usr/share/base-passwd/group.master /etc/group
fi

# Nothing that the packages bring may start a service here.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

arch=$(dpkg --print-architecture)
for script in /var/lib/dpkg/info/*.preinst; do
	test -e "$script" || continue
	name=${script##*/}
	name=${name%.preinst}
	DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=${name%%:*} DPKG_MAINTSCRIPT_ARCH=$arch \
		DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT='' \
		"$script" install </dev/null
	rm -f "/var/lib/dpkg/tmp.ci/preinst"
done
dpkg --force-unsafe-io --force-confold --configure -a </dev/null
dpkg --audit >/run/audit
if test -s /run/audit; then
	cat /run/audit
	exit 1
fi
rm -f /usr/sbin/policy-rc.d

tab=$(printf '\t')
while IFS="$tab" read -r name uid gid home shell; do
	getent group "$gid" >/dev/null || groupadd --gid "$gid" "$name"
	useradd --uid "$uid" --gid "$gid" --home-dir "$home" --shell "$shell" --no-create-home --no-log-init "$name"
	if ! test -e "$home"; then
		install -d -m 0750 -o "$uid" -g "$gid" "$home"
	fi
done </.factory/users
