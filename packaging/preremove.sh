#!/bin/sh
# Arguments: deb: remove; rpm: 0 left. On an upgrade the service keeps running until the new version is there.
set -e
[ -d /run/systemd/system ] || exit 0
case "${1:-}" in
# Installed again before it is purged, it is enabled as it was.
remove) systemctl stop doublenat.service || true ;;
0) systemctl disable --now doublenat.service || true ;;
esac
