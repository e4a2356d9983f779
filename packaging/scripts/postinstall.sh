#!/bin/sh
# Nothing is started: a server that listens is the operator's decision.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
if command -v rc-service >/dev/null 2>&1 && ! id sonde >/dev/null 2>&1; then
	adduser -S -D -H -h /var/lib/sonde -s /sbin/nologin -g sonde sonde 2>/dev/null || true
	addgroup -S sonde 2>/dev/null || true
fi
exit 0
