#!/bin/sh
# dpkg does not know the password file, so it is removed here.
set -e
if [ "${1:-}" = purge ]; then
	rm -f /etc/doublenat/router-password
	rmdir /etc/doublenat 2>/dev/null || true
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
