#!/bin/sh
# Arguments: deb: remove or purge. dpkg knows neither the password file nor that the service is enabled: both stay
# until the package is purged, as the settings do.
set -e
if [ "${1:-}" = purge ]; then
	rm -f /etc/doublenat/router-password /etc/systemd/system/multi-user.target.wants/doublenat.service
	rmdir /etc/doublenat 2>/dev/null || true
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
