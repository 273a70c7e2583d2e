#!/bin/sh
# Arguments: deb: remove; rpm: 0 left. On an upgrade the service keeps running until the new version is there.
set -e
case "${1:-}" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now doublenat.service || true
