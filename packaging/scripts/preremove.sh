#!/bin/sh
# Stop the service when the package goes, not when it is upgraded.
set -e
case "$1" in
remove | 0) [ ! -d /run/systemd/system ] || systemctl disable --now sonde.service >/dev/null 2>&1 || true ;;
esac
exit 0
