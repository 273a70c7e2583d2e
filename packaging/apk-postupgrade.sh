#!/bin/sh
# With SHUTDOWN=keep, the default of doublenat.env, no port closes meanwhile. If the service does not
# start, its log says why; the package stays installed.
[ -e /run/openrc/softlevel ] || exit 0
rc-service --ifstarted doublenat restart || true
