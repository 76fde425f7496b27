"""The conversations of demo.pcap; run by capture.sh, which see.

One process plays all hosts: a socket belongs to the network namespace it was
made in, so the two ends of a connection can be handled in one thread, one step
after the other. That makes the order of the packets the same in every run.

    traffic.py offloads-off DEVICE    switch off the offloads of a device
    traffic.py story TAG              talk; TAG is the prefix of the namespaces
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
ETHTOOL_OFF = {  # the "set" commands of the old ethtool interface
    "tx checksums": 0x17,
    "scatter-gather": 0x19,
    "tcp segmentation": 0x1F,
    "gso": 0x24,
    "gro": 0x2C,
}
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE = 10, 0, 3
V4, V6 = socket.AF_INET, socket.AF_INET6
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM

HOSTS = {
    "client": {V4: "192.0.2.7", V6: "2001:db8::7"},
    "resolver": {V4: "192.0.2.53", V6: "2001:db8::53"},
    "office": {V4: "198.51.100.20", V6: "2001:db8:100::20"},
    "web": {V4: "10.0.0.5", V6: "fd00::5"},
    "db": {V4: "10.0.0.9", V6: "fd00::9"},
}

tag = ""
libc = ctypes.CDLL(None, use_errno=True)


def offloads_off(device):
    with socket.socket(V4, UDP) as s:
        for name, command in ETHTOOL_OFF.items():
            value = array.array("I", [command, 0])
            request = struct.pack("16sP16x", device.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(s, SIOCETHTOOL, request)
            except OSError as e:
                print(f"   {device}: {name} stays on ({e.strerror})")


def open_socket(host, family, kind, port=0):
    """A socket in the namespace of host, bound to its address."""
    with open(f"/run/netns/{tag}-{host}") as ns:
        if libc.setns(ns.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    s = socket.socket(family, kind)
    s.settimeout(5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((HOSTS[host][family], port))
    return s


def say(what, verdict):
    print(f"   {what:<66} {verdict}", flush=True)


def read_all(s):
    data = b""
    while part := s.recv(4096):
        data += part
    return data


def listener(host, family, port):
    s = open_socket(host, family, TCP, port)
    s.listen(1)
    return s


def exchange(client, server, family, port, source, lines):
    """One TCP connection; lines go from the client and the server in turn.
    The server closes first."""
    with listener(server, family, port) as l, open_socket(client, family, TCP, source) as c:
        c.connect((HOSTS[server][family], port))
        s, _ = l.accept()
        s.settimeout(5)
        ends = [(c, s), (s, c)]
        for i, line in enumerate(lines):
            a, b = ends[i % 2]
            if line:
                a.sendall(line)
                if b.recv(4096) != line:
                    raise RuntimeError("a line arrived in pieces")
        s.close()
        read_all(c)


def http(client, server, family, port, source, path):
    host = HOSTS[server][family]
    if family == V6:
        host = f"[{host}]"
    body = f"hello from {path}\n"
    exchange(client, server, family, port, source, [
        f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode(),
        f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode(),
    ])


def knock(client, server, family, port, source):
    """One attempt to connect; if somebody answers, hang up with a reset."""
    with open_socket(client, family, TCP, source) as c:
        try:
            c.connect((HOSTS[server][family], port))
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except ConnectionRefusedError:
            pass


def dns_message(ident, flags, name, answer=b"", count=0):
    question = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
    return struct.pack("!6H", ident, flags, 1, count, 0, 0) + question + struct.pack("!2H", 16, 1) + answer


def dns(server, family, source, ident, name, texts=1):
    """web asks for the TXT records of name and gets as many as texts says."""
    with open_socket(server, family, UDP, 53) as s, open_socket("web", family, UDP, source) as c:
        c.sendto(dns_message(ident, 0x0100, name), (HOSTS[server][family], 53))
        _, peer = s.recvfrom(4096)
        if family == V4:
            s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        text = b"an answer of the name server, number %02d"
        record = b"".join(
            struct.pack("!3HIHB", 0xC00C, 16, 1, 60, len(t) + 1, len(t)) + t
            for t in (text % i for i in range(texts)))
        s.sendto(dns_message(ident, 0x8180, name, record, texts), peer)
        c.recv(4096)


def datagram(client, family, source, to, port, data, mtu_discover=None, answer=True):
    """One UDP datagram to a port, which nobody but perhaps a kernel answers."""
    with open_socket(client, family, UDP, source) as c:
        if mtu_discover is not None:
            c.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, mtu_discover)
        c.connect((to, port))
        c.send(data)
        if answer:
            try:
                c.recv(10)
            except OSError as e:
                if isinstance(e, TimeoutError):
                    raise
                return
            raise RuntimeError("somebody answered")


def ping(client, server, family, size=16):
    command = ["ip", "netns", "exec", f"{tag}-{client}", "ping", "-n", "-q", "-c", "1", "-W", "5",
               "-s", str(size), "-M", "dont", HOSTS[server][family]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def story():
    query = dns_message(0x1004, 0x0100, "db.example")
    letters = bytes(ord("a") + i % 26 for i in range(1400))
    say("what happens", "what the policy should say")
    say("client: ping web (ARP first)", "pass")
    ping("client", "web", V4)
    say("client: ping web, IPv6 (neighbour discovery first)", "pass")
    ping("client", "web", V6)
    say("client: HTTP to web:80", "pass")
    http("client", "web", V4, 80, 40001, "/index.html")
    say("client: HTTP to web:80, IPv6", "pass")
    http("client", "web", V6, 80, 40002, "/index.html")
    say("client: HTTP (no TLS, to keep it short) to web:443", "pass")
    http("client", "web", V4, 443, 40003, "/login")
    say("web: asks the resolver", "pass, the answer by state")
    dns("resolver", V4, 41001, 0x1001, "db.example")
    say("web: asks the resolver, IPv6", "pass, the answer by state")
    dns("resolver", V6, 41002, 0x1002, "db.example")
    say("web: asks the resolver, the answer comes in fragments", "pass, the answer by state")
    dns("resolver", V4, 41003, 0x1003, "long.example", texts=27)
    say("web: opens a connection to db:5432", "pass, the answers by state")
    exchange("web", "db", V4, 5432, 41004, [b"select 1;\n", b"1\n"])
    say("office: SSH to web:22", "pass, by the IP set")
    exchange("office", "web", V4, 22, 40004, [b"SSH-2.0-demo-client\r\n", b"SSH-2.0-demo-server\r\n"])
    say("client: big ping to web, IPv6, in fragments", "pass")
    ping("client", "web", V6, 1300)

    say("web: asks client:53, where nobody listens: port unreachable", "pass, the error is related")
    datagram("web", V4, 41005, HOSTS["client"][V4], 53, query)
    say("web: the same, IPv6", "pass, the error is related")
    datagram("web", V6, 41006, HOSTS["client"][V6], 53, query)
    say("web: 700 bytes to 203.0.113.53:53: fragmentation needed", "pass, the error is related")
    datagram("web", V4, 41007, "203.0.113.53", 53, query.ljust(700, b"\0"), IP_PMTUDISC_PROBE)

    say("client: connects to web:8080, where nobody listens", "refuse")
    knock("client", "web", V4, 8080, 40005)
    say("client: scans ports of web", "refuse")
    with listener("web", V4, 22):
        for i, port in enumerate((21, 22, 23, 25, 110, 3306, 3389)):
            knock("client", "web", V4, port, 40010 + i)
    say("client: connects to db:5432 and the database would answer", "refuse")
    with listener("db", V4, 5432):
        knock("client", "db", V4, 5432, 40006)
    say("client: ping db", "refuse")
    ping("client", "db", V4)
    say("office: ping web, IPv6, not from the permitted network", "refuse")
    ping("office", "web", V6)
    say("client: big UDP datagram to web:5000, in fragments", "refuse, the error web sends too")
    datagram("client", V4, 40007, HOSTS["web"][V4], 5000, letters, IP_PMTUDISC_DONT)
    say("client: the same, IPv6; somebody listens but says nothing", "refuse")
    with open_socket("web", V6, UDP, 5000) as s:
        datagram("client", V6, 40008, HOSTS["web"][V6], 5000, letters, answer=False)
        s.recv(4096)
    say("web: connects to office:25 (mail)", "refuse, outbound")
    knock("web", "office", V4, 25, 41008)
    say("web: ping db, IPv6", "refuse, outbound")
    ping("web", "db", V6)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "offloads-off":
        offloads_off(sys.argv[2])
    elif len(sys.argv) == 3 and sys.argv[1] == "story":
        tag = sys.argv[2]
        os.chdir("/")
        story()
    else:
        sys.exit(__doc__)
