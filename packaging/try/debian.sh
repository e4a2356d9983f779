#!/usr/bin/env bash
# Installs a deb in a fresh Debian root and runs the service as its unit would:
# hardening verified, all protocols served, a reload and a stop under load, with
# a result for each test that was running. As root, on Linux, with debootstrap.
#
#	bash packaging/try/debian.sh FILE.deb [ROOT]
#
# ROOT is a root that debootstrap made before; without one it is made and removed.
set -euo pipefail
deb=$(realpath "$1")
work=$(mktemp -d)
root=${2:-$work/root}
server= network= # process numbers
finish() {
	for process in $server $network; do kill "$process" 2>/dev/null || true; done
	for mount in proc dev/null dev/urandom; do umount "$root/$mount" 2>/dev/null || true; done
	rm -rf "$work"
}
trap finish EXIT
fail() { echo "try: $*" >&2; exit 1; }

if [ ! -e "$root/etc/debian_version" ]; then
	. /etc/os-release
	debootstrap --variant=minbase "$VERSION_CODENAME" "$root" http://deb.debian.org/debian >"$work/debootstrap.log" 2>&1 ||
		{ tail "$work/debootstrap.log"; fail "no Debian root"; }
fi
mount -t proc proc "$root/proc"

echo "== the package"
chroot "$root" dpkg --purge sonde 2>/dev/null # of an earlier run
cp "$deb" "$root/sonde.deb"
chroot "$root" dpkg -i /sonde.deb
rm "$root/sonde.deb"
chroot "$root" sonde version
for path in usr/bin/sonde etc/sonde/sonde.yaml usr/lib/systemd/system/sonde.service usr/share/man/man1/sonde.1 \
	usr/share/bash-completion/completions/sonde; do
	[ -e "$root/$path" ] || fail "the package lacks $path"
done
chroot "$root" sonde config check --config /etc/sonde/sonde.yaml

echo "== the unit's hardening"
if command -v systemd-analyze >/dev/null; then
	systemd-analyze security --offline=true --root="$root" --threshold=20 --no-pager sonde.service | tail -n 1
else
	echo "systemd-analyze is not here: not verified"
fi

# What the unit says, for setpriv: its command, a user of no one else, one
# capability, folders of its own.
unit=$root/usr/lib/systemd/system/sonde.service
command=$(sed -n 's/^ExecStart=//p' "$unit")
[ "$(sed -n 's/^AmbientCapabilities=//p' "$unit")" = CAP_NET_BIND_SERVICE ] || fail "the unit's capabilities have changed: change this script"
state=$root/var/lib/sonde run=$root/run/sonde
mkdir -p "$state" "$run"
chown 61234:61234 "$state" "$run"
sed -i 's/^  # mesh:/  mesh:/; s/^# outputs:/outputs:/; s/^#   file:/  file:/' "$root/etc/sonde/sonde.yaml"
chroot "$root" sonde config show --config /etc/sonde/sonde.yaml | grep -q results.jsonl || fail "the example has no file output to uncomment"

echo "== start, as the unit does"
# A network of its own, so that no port is taken there.
unshare --net sleep infinity &
network=$!
inside() { nsenter --target "$network" --net "$@"; }
until [ "$(readlink "/proc/$network/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
inside ip link set lo up
# shellcheck disable=SC2086  # the command is words
(exec nsenter --target "$network" --net chroot "$root" setpriv --reuid=61234 --regid=61234 --clear-groups --inh-caps=-all,+net_bind_service \
	--ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service --no-new-privs \
	env -i PATH=/usr/bin STATE_DIRECTORY=/var/lib/sonde RUNTIME_DIRECTORY=/run/sonde $command) >"$work/log" 2>&1 &
server=$!
ready() { inside chroot "$root" sonde health --config /etc/sonde/sonde.yaml >/dev/null 2>&1; }
until ready; do
	kill -0 "$server" 2>/dev/null || { cat "$work/log"; fail "the server has ended"; }
	sleep 0.2
done

echo "== every protocol"
sonde() { inside "$root/usr/bin/sonde" "$@"; }
for client in "btest client 127.0.0.1 -d 1 --rate 50M" "btest client ::1 -d 1 --udp --rate 20M" "rperf client 127.0.0.1 -t 1" \
	"iperf3 client 127.0.0.1 -t 1 -b 50M" "twamp ping 127.0.0.1 --count 5" "stamp ping 127.0.0.1 --count 5"; do
	# shellcheck disable=SC2086
	sonde $client --json >"$work/one.json" 2>"$work/one.err" || { cat "$work/one.err"; cat "$work/log"; fail "sonde $client"; }
	jq -e .ok "$work/one.json" >/dev/null || fail "sonde $client: not ok"
	echo "ok: sonde $client"
done
inside curl -sf http://127.0.0.1:8080/metrics | grep -q '^sonde_build_info' || fail "no metrics"
echo "ok: /metrics"

echo "== a reload and a stop under load"
before=$(wc -l <"$state/results.jsonl")
clients=()
long=("btest client 127.0.0.1 -d 60 --rate 20M" "btest client 127.0.0.1 -d 60 --udp -t -r --rate 10M" "rperf client 127.0.0.1 -t 60"
	"iperf3 client 127.0.0.1 -t 60 -b 20M" "iperf3 client 127.0.0.1 -t 60 -u -b 10M -R" "twamp ping 127.0.0.1 --count 200")
for i in "${!long[@]}"; do
	# shellcheck disable=SC2086
	sonde ${long[$i]} --json >"$work/$i.json" 2>"$work/$i.err" &
	clients+=($!)
done
sleep 4
kill -HUP "$server"
sleep 3
grep -q reloaded "$work/log" || { cat "$work/log"; fail "not reloaded"; }
for i in "${!long[@]}"; do kill -0 "${clients[$i]}" || fail "the reload ended sonde ${long[$i]}"; done
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ "$status" = 0 ] || { cat "$work/log"; fail "the server stopped with status $status"; }
for i in "${!long[@]}"; do
	status=0
	wait "${clients[$i]}" || status=$?
	jq -e '.download.bytes > 0 or .upload.bytes > 0 or .round_trips[0].replies > 0' "$work/$i.json" >/dev/null ||
		{ head -c 2000 "$work/$i.json"; cat "$work/$i.err"; fail "sonde ${long[$i]}: no figures after status $status"; }
	echo "ok: sonde ${long[$i]}: status $status, with its figures"
done
# The server's own results: each test that began has an end.
tail -n "+$((before + 1))" "$state/results.jsonl" | jq -rs '
	(map(select(.event == "start").id) - map(select(.event == "end").id)) as $open |
	if $open == [] then "\(map(select(.event == "end")) | length) results at the server, none left open" else "left open: \($open)" | halt_error end'
kill "$network"
echo "== all of it holds"
