#!/bin/sh
cat <<'END'
doublenat is installed but not running yet:
  1. set VPN_GATEWAY and MIKROTIK_API_ADDRESS in /etc/doublenat/doublenat.env;
  2. put the router's API password into /etc/doublenat/router-password:
     install -m 0600 /dev/stdin /etc/doublenat/router-password   (type it, then Ctrl-D)
  3. rc-update add doublenat && rc-service doublenat start
`doublenat setup --version 7.24 --host ADDRESS-OF-THIS-HOST` prints the router's part.
END
