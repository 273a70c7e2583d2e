#!/bin/sh
# Arguments: deb: configure and the previous version, which a removed package has too until it is purged; rpm: the number
# of versions installed.
set -e
first=no
case "${1:-}" in
configure) [ -n "${2:-}" ] || first=yes ;;
1) first=yes ;;
esac
if [ "$first" = yes ]; then
	cat <<'END'
doublenat is installed but not running yet:
  1. set VPN_GATEWAY and MIKROTIK_API_ADDRESS in /etc/doublenat/doublenat.env;
  2. put the router's API password into /etc/doublenat/router-password:
     install -m 0600 /dev/stdin /etc/doublenat/router-password   (type it, then Ctrl-D)
  3. systemctl enable --now doublenat
`doublenat setup --version 7.24 --host ADDRESS-OF-THIS-HOST` prints the router's part.
END
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
# With SHUTDOWN=keep, the default of doublenat.env, no port closes meanwhile. If the service does not
# start, its log says why; the package stays installed.
systemctl try-restart doublenat.service || true
if [ "$first" = no ] && ! systemctl is-active --quiet doublenat.service; then
	echo "doublenat is not running. To start it, now and after each reboot: systemctl enable --now doublenat"
fi
