"""Helpers of capture.sh for demo.pcap and its variants.

    variants.py check FILE            no packet may be there twice
    variants.py send HOW FILE         send some packets of FILE again: plain,
                                      vlan or qinq from out0, or tun into tun0
    variants.py pcapng OUT ETHER RAW SLL2
                                      write a pcapng file from three pcap files
"""

import fcntl
import os
import socket
import struct
import sys
import time

# The packets that the variants hold, by their number in demo.pcap: the first
# ten (ARP, ping, neighbour discovery, ping, a TCP handshake begins).
SOME = range(10)
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
DEMO_IPV4, DEMO_IPV6 = 0x0800, 0x86DD


def read_pcap(name):
    """The records of a pcap file of this machine: (seconds, microseconds,
    original length, bytes)."""
    with open(name, "rb") as f:
        magic, *_, link = struct.unpack("=IHHiIII", f.read(24))
        if magic != 0xA1B2C3D4:
            sys.exit(f"{name}: not a pcap file with microseconds")
        records = []
        while head := f.read(16):
            sec, usec, captured, length = struct.unpack("=4I", head)
            records.append((sec, usec, length, f.read(captured)))
    return link, records


def check(name):
    link, records = read_pcap(name)
    frames = [data for *_, data in records]
    if link != 1 or any(length != len(data) for _, _, length, data in records):
        sys.exit(f"{name}: not whole Ethernet frames")
    for i, data in enumerate(frames):
        # Two identical frames are a duplicate of the capture: a retransmission
        # has at least another IP identification or TCP timestamp.
        if data in frames[:i]:
            sys.exit(f"{name}: packet {i + 1} is there twice")
    if len(frames) > 130 or sum(map(len, frames)) > 20000:
        sys.exit(f"{name}: grown to {len(frames)} packets, {sum(map(len, frames))} bytes")
    print(f"   {len(frames)} packets, {sum(map(len, frames))} bytes, none twice")


def send(how, name):
    _, records = read_pcap(name)
    frames = [records[i][3] for i in SOME]
    if how == "tun":
        fd = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
        time.sleep(0.2)  # the carrier comes up when the device is opened
        for f in frames:
            if struct.unpack_from("!H", f, 12)[0] in (DEMO_IPV4, DEMO_IPV6):
                os.write(fd, f[14:])
        time.sleep(0.2)
        return
    tags = {
        "plain": b"",
        "vlan": struct.pack("!2H", 0x8100, 100),
        "qinq": struct.pack("!4H", 0x88A8, 200, 0x8100, 100),
    }[how]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind(("out0", 0))
        for f in frames:
            s.send(f[:12] + tags + f[12:])


class Section:
    """The blocks of a pcapng section in one byte order."""

    def __init__(self, order):
        self.order = order
        self.data = b""
        self.block(0x0A0D0D0A, self.pack("IHHq", 0x1A2B3C4D, 1, 0, -1))

    def pack(self, form, *values):
        return struct.pack(self.order + form, *values)

    def block(self, kind, body):
        body += b"\0" * (-len(body) % 4)
        n = len(body) + 12
        self.data += self.pack("II", kind, n) + body + self.pack("I", n)

    def interface(self, link, snap=0, *options):
        body = self.pack("HHI", link, 0, snap)
        for code, value in options:
            body += self.pack("HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
        self.block(1, body + (self.pack("I", 0) if options else b""))

    def enhanced(self, interface, ticks, record):
        *_, length, data = record
        self.block(6, self.pack("5I", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length) + data)

    def simple(self, record, snap):
        *_, length, data = record
        self.block(3, self.pack("I", length) + data[:snap])


def pcapng(out, *names):
    files = [read_pcap(name) for name in names]
    (ether_link, ether), (raw_link, raw), (sll2_link, sll2) = files
    ether = [ether[i] for i in SOME]
    blob = b""
    for order in "<>":
        s = Section(order)
        s.interface(ether_link, 80)
        s.interface(raw_link, 0, (2, b"tun0"), (9, b"\x09"))
        s.block(0x0BAD, b"a kind of block that nobody knows")
        s.interface(sll2_link, 0, (9, b"\x94"), (14, struct.pack(order + "q", 1000000000)))
        s.block(4, b"\0" * 4)  # name resolution: an end-of-records mark
        for r in ether[:4]:
            s.enhanced(0, r[0] * 10**6 + r[1], r)
        for r in raw[:4]:
            s.enhanced(1, r[0] * 10**9 + r[1] * 1000, r)
        for r in sll2[:4]:
            s.enhanced(2, ((r[0] - 10**9) << 20) + (r[1] << 20) // 10**6, r)
        s.simple(ether[8], 80)
        s.simple(ether[9], 80)
        blob += s.data
    with open(out, "wb") as f:
        f.write(blob)


if __name__ == "__main__":
    run = {"check": (check, 1), "send": (send, 2), "pcapng": (pcapng, 4)}.get((sys.argv + [""])[1])
    if run is None or len(sys.argv) != 2 + run[1]:
        sys.exit(__doc__)
    run[0](*sys.argv[2:])
