#!/bin/sh
# Before an installation and before an upgrade, from a version without a service for example.
# Alpine never removes users: their numbers could be given to others.
set -e
addgroup -S doublenat 2>/dev/null || true
adduser -S -D -H -h /var/empty -s /sbin/nologin -G doublenat -g doublenat doublenat 2>/dev/null || true
