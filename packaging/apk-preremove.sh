#!/bin/sh
# Only for a removal: apk does not call it on an upgrade. The password file stays.
[ -e /run/openrc/softlevel ] || exit 0
rc-service --ifstarted doublenat stop || true
rc-update --quiet --all del doublenat || true
