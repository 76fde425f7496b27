//go:build linux

package kerneltest

import "example.com/secgroup/conntrack"

// reason names the difference in the verdict on segment i, or returns "". The
// names are all the ways in which the engine means to differ from Linux 6.18.
func reason(w []segment, v verdicts, i int) string {
	g, st := w[i], v.before[i]
	stricter := v.kernel[i]
	switch {
	case st == 0: // no connection, so what differs is of the past
	case stricter && g.flags&rst != 0 && g.from == 1 && st == conntrack.StatusSynSent:
		return "TCP-18: a RST must acknowledge the SYN"
	case stricter && g.flags&rst != 0 && st == conntrack.StatusSynSent2:
		return "TCP-18: a RST must fit the windows also where both sides sent a SYN"
	case stricter && g.flags&ack != 0 && g.from == 0 && unheard(v, w, i):
		return "what was never sent is never acknowledged"
	case stricter && g.flags&(syn|ack) == syn|ack && g.from == 1 && st == conntrack.StatusSynRecv:
		return "TCP-12: the SYN-ACK that completes a simultaneous open must fit"
	case !stricter && g.flags&(syn|ack) == syn && g.from == 1 && st == conntrack.StatusSynRecv:
		return "TCP-12: the SYN of a simultaneous open may come again"
	case !stricter && g.flags&(syn|ack) == syn|ack && g.from == 0:
		return "TCP-12: the SYN-ACK of a simultaneous open may come again"
	case stricter && g.flags&(syn|ack) == syn|ack && g.from == 0:
		return "who opened a connection answers no SYN"
	case stricter && g.flags&(syn|ack) == syn|ack && closed(st):
		return "a closed connection answers no SYN"
	}
	for j, h := range w[:i+1] {
		pure := h.flags&(syn|ack|rst|fin) == syn
		passed := v.engine[j]
		if j == i {
			if pure && h.from == 0 && st == conntrack.StatusSynSent && lower(w, v, j) {
				return "TCP-19: an attempt with a lower number is an attempt"
			}
			break
		}
		switch was := v.before[j]; {
		case pure && h.from == 0 && was == conntrack.StatusSynSent && passed && lower(w, v, j):
			return "TCP-19: an attempt with a lower number is an attempt"
		case pure && h.from == 0 && was == conntrack.StatusClose && passed:
			return "a SYN after a reset opens a new connection"
		case pure && closing(was):
			return "TIME_WAIT begins when the last FIN is acknowledged, not at any ACK"
		case h.flags&rst != 0 && passed && v.before[j+1] != conntrack.StatusClose:
			return "TCP-09: an inexact RST changes nothing"
		case h.flags&(fin|rst) != 0 && !passed && was >= conntrack.StatusSynRecv:
			return "a refused FIN or RST changes nothing"
		case h.flags&(syn|ack) == syn|ack && (opening(was) || !passed) && v.before[j+1] == was:
			return "a SYN-ACK that does not fit changes nothing"
		case h.from == 1 && h.flags&rst != 0 && !passed && was == conntrack.StatusSynSent:
			return "TCP-18: a RST that does not acknowledge the SYN changes nothing"
		case h.flags&(rst|ack) == rst|ack && h.ack == 0 && passed && was == conntrack.StatusSynSent2:
			return "a RST that acknowledges 0 leaves its numbers; to Linux it answers a SYN whose end it did not note"
		case h.from == 0 && h.flags&(rst|ack) == rst|ack && !passed && was == conntrack.StatusSynSent && unheard(v, w, j):
			return "what was never sent is never acknowledged"
		case pure && closed(was) && !passed:
			return "a refused SYN does not end the connection before it"
		case h.from == 1 && was == conntrack.StatusClose && unheard(v, w, j):
			return "a segment that does not fit changes nothing, the first of its sender neither"
		}
	}
	return ""
}

// unheard reports whether the server has sent no SYN before i.
func unheard(v verdicts, w []segment, i int) bool {
	for j, h := range w[:i] {
		if h.from == 1 && v.engine[j] && h.flags&syn != 0 {
			return false
		}
	}
	return true
}

func closed(s conntrack.Status) bool {
	return s == conntrack.StatusClose || s == conntrack.StatusTimeWait
}

func closing(s conntrack.Status) bool {
	return s == conntrack.StatusFinWait || s == conntrack.StatusCloseWait || s == conntrack.StatusLastAck
}

func opening(s conntrack.Status) bool {
	return s == conntrack.StatusSynSent || s == conntrack.StatusSynSent2
}

// lower reports whether the SYN j has a lower number than one before it.
func lower(w []segment, v verdicts, j int) bool {
	for _, h := range w[:j] {
		if h.from == 0 && h.flags&syn != 0 && int32(h.end()-w[j].end()) > 0 {
			return true
		}
	}
	return false
}
