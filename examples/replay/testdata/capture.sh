#!/bin/bash
# capture.sh makes demo.pcap and the files in variants/: it builds a small
# network of network namespaces, lets the hosts in it talk, and records them.
#
#   sudo ./capture.sh [DIRECTORY]     (default: the directory of this script)
#
# Needs: ip (iproute2), tcpdump, ping, python3; root. Nothing outside the
# namespaces is touched, no packet leaves them, and they are removed at the
# end, also after a failure. It takes about fifteen seconds. There is no
# firewall anywhere: the capture shows what the hosts really said, and the
# policy that is replayed over it says what would have been dropped.
#
#   client    192.0.2.7      2001:db8::7        somebody on the internet
#   resolver  192.0.2.53     2001:db8::53       a name server on the internet
#   office    198.51.100.20  2001:db8:100::20   the bastion host
#   web       10.0.0.5       fd00::5            web-1, protected
#   db        10.0.0.9       fd00::9            db-1, protected
#   router    10.0.0.1                          holds the bridge br0
#
# Every host hangs on the one bridge and reaches every other over it, so a
# capture on the bridge sees every packet exactly once (checked at the end).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
limit=60 # seconds; no step may take longer

for tool in ip tcpdump ping python3 timeout; do
	command -v "$tool" >/dev/null || { echo "capture.sh: $tool is not installed" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "capture.sh: must run as root" >&2; exit 1; }
mkdir -p "$out/variants"

tag=sgdemo$$
tmp=$(mktemp -d)
spaces=()
dump= # process id of a running tcpdump

cleanup() {
	local status=$?
	trap - EXIT INT TERM
	[ -z "$dump" ] || kill "$dump" 2>/dev/null || true
	local ns
	for ns in ${spaces[@]+"${spaces[@]}"}; do ip netns del "$ns" 2>/dev/null || true; done
	rm -rf "$tmp"
	[ "$status" = 0 ] || echo "capture.sh: failed, nothing was written" >&2
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '== %s\n' "$*"; }
in_ns() { local ns=$tag-$1; shift; ip netns exec "$ns" "$@"; }

# new_ns NAME: a namespace that does not chatter by itself.
new_ns() {
	ip netns add "$tag-$1"
	spaces+=("$tag-$1")
	in_ns "$1" sh -e -c '
		cd /proc/sys/net
		for f in ipv6/conf/default ipv6/conf/all; do
			echo 0 > $f/accept_ra
			echo 0 > $f/router_solicitations
			echo 1 > $f/mldv1_unsolicited_report_interval
			echo 1 > $f/mldv2_unsolicited_report_interval
		done
		echo 0 > ipv4/icmp_ratelimit
		echo 0 > ipv6/icmp/ratelimit
		ip link set lo up'
}

# record NS DEVICE FILE [tcpdump argument...]: starts tcpdump and waits until
# it listens. stop_recording ends it. The snap length is more than three times
# the MTU; a bigger one only makes the kernel's buffer hold fewer packets.
record() {
	local ns=$1 dev=$2 file=$3 i
	shift 3
	: >"$file.log"
	ip netns exec "$tag-$ns" timeout "$limit" \
		tcpdump -i "$dev" -n -s 4096 -U --immediate-mode "$@" -w - >"$file" 2>"$file.log" &
	dump=$!
	for i in $(seq 100); do
		! grep -q 'listening on' "$file.log" || return 0
		kill -0 "$dump" 2>/dev/null || break
		sleep 0.05
	done
	cat "$file.log" >&2
	return 1
}

# stop_recording FILE: waits until the file has stopped growing.
stop_recording() {
	local size=-1 now i
	for i in $(seq 40); do
		now=$(stat -c %s "$1")
		[ "$now" != "$size" ] || break
		size=$now
		sleep 0.3
	done
	kill -INT "$dump"
	wait "$dump" || true
	dump=
	grep -q '^0 packets dropped by kernel' "$1.log" || { cat "$1.log" >&2; return 1; }
}

# --- the network -----------------------------------------------------------

hosts='client resolver office web db'
declare -A v4=([client]=192.0.2.7 [resolver]=192.0.2.53 [office]=198.51.100.20 [web]=10.0.0.5 [db]=10.0.0.9)
declare -A v6=([client]=2001:db8::7 [resolver]=2001:db8::53 [office]=2001:db8:100::20 [web]=fd00::5 [db]=fd00::9)
declare -A mac=([client]=02:00:00:00:00:07 [resolver]=02:00:00:00:00:53 [office]=02:00:00:00:00:20
	[web]=02:00:00:00:00:05 [db]=02:00:00:00:00:09 [router]=02:00:00:00:00:01)

say "network: $hosts on one bridge in the namespace $tag-router"
new_ns router
in_ns router ip link add br0 address "${mac[router]}" type bridge stp_state 0 mcast_snooping 0
in_ns router ip link set br0 mtu 1280 addrgenmode none
in_ns router ip link set br0 up
in_ns router ip addr add 10.0.0.1/24 dev br0

for h in $hosts; do
	new_ns "$h"
	ip -n "$tag-router" link add "to-$h" mtu 1280 type veth \
		peer name eth0 netns "$tag-$h" mtu 1280 address "${mac[$h]}"
	in_ns router ip link set "to-$h" addrgenmode none
	in_ns router ip link set "to-$h" master br0 up
	in_ns "$h" ip link set eth0 addrgenmode none
	# The segments must leave the hosts as they would leave a network card:
	# with their checksums, and none longer than the MTU.
	in_ns "$h" python3 "$here/traffic.py" offloads-off eth0
	in_ns "$h" ip link set eth0 up
	in_ns "$h" ip addr add "${v4[$h]}/32" dev eth0
	in_ns "$h" ip addr add "${v6[$h]}/128" dev eth0 nodad
	# A learnt neighbour is not asked again within the time of the capture.
	in_ns "$h" sh -c 'for v in ipv4 ipv6; do echo 60 > /proc/sys/net/$v/neigh/eth0/delay_first_probe_time; done'
	in_ns "$h" ip route add default dev eth0
	in_ns "$h" ip -6 route add default dev eth0
done

# Neighbours are known beforehand, but for client and web: their ARP and
# neighbour discovery are in the capture.
for h in $hosts; do
	for to in $hosts; do
		[ "$h" != "$to" ] || continue
		case $h-$to in client-web | web-client) continue ;; esac
		in_ns "$h" ip neigh add "${v4[$to]}" lladdr "${mac[$to]}" dev eth0
		in_ns "$h" ip neigh add "${v6[$to]}" lladdr "${mac[$to]}" dev eth0
	done
done

# Behind the router lies a network with a small MTU, so that it has reason to
# send "fragmentation needed". Nobody lives there.
in_ns web ip neigh add 10.0.0.1 lladdr "${mac[router]}" dev eth0
in_ns web ip route add 203.0.113.0/24 via 10.0.0.1 dev eth0 onlink
in_ns router ip neigh add 10.0.0.5 lladdr "${mac[web]}" dev br0
in_ns router ip link add thin type veth peer name thin-end
in_ns router ip link set thin addrgenmode none up
in_ns router ip link set thin-end addrgenmode none up
in_ns router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
in_ns router ip route add 203.0.113.0/24 dev thin mtu lock 576

# Multicast reports of the new addresses go out now; let them pass.
sleep 2

# --- the capture -----------------------------------------------------------

say "recording on br0"
record router br0 "$tmp/demo.pcap"
timeout "$limit" python3 "$here/traffic.py" story "$tag"
stop_recording "$tmp/demo.pcap"
python3 "$here/variants.py" check "$tmp/demo.pcap"

# --- variants: some packets of the demo in other wrappings -----------------

say "variants: the same packets again, on other kinds of device"
new_ns from
new_ns to
# Nobody in these two answers anything.
for ns in from to; do in_ns "$ns" sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
	echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6'; done
in_ns to ip link set lo down
ip -n "$tag-from" link add out0 type veth peer name in0 netns "$tag-to"
in_ns from ip link set out0 arp off up
in_ns to ip link set in0 arp off up
in_ns to ip tuntap add dev tun0 mode tun
in_ns to ip link set tun0 up
sleep 0.5

# variant NAME DEVICE HOW NS [tcpdump argument...]: HOW and NS say how and
# where variants.py puts the packets on the wire.
variant() {
	local name=$1 dev=$2 how=$3 ns=$4
	shift 4
	record to "$dev" "$tmp/$name.pcap" "$@"
	in_ns "$ns" timeout "$limit" python3 "$here/variants.py" send "$how" "$tmp/demo.pcap"
	stop_recording "$tmp/$name.pcap"
	say "  $name.pcap: $(tcpdump -nr "$tmp/$name.pcap" 2>/dev/null | wc -l) packets"
}
variant sll any plain from -y LINUX_SLL
variant sll2 any plain from -y LINUX_SLL2
variant vlan in0 vlan from
variant qinq in0 qinq from
variant raw tun0 tun to
python3 "$here/variants.py" pcapng "$tmp/mixed.pcapng" "$tmp/demo.pcap" "$tmp/raw.pcap" "$tmp/sll2.pcap"
say "  mixed.pcapng: three interfaces, two sections"

cp "$tmp/demo.pcap" "$out/demo.pcap"
cp "$tmp"/{sll,sll2,vlan,qinq,raw}.pcap "$tmp/mixed.pcapng" "$out/variants/"
say "written: demo.pcap ($(stat -c %s "$out/demo.pcap") bytes) and variants/"
