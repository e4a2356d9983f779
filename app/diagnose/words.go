package diagnose

import "fmt"

// What is said of each limit, in the order of the table: the limit in one line,
// and what to try. Written for a person who is tired and in a hurry.

func sayOwnRateLimit(w *way) (text, try string) {
	text = fmt.Sprintf("the rate limit of this test is the limit: %s were asked for and reached", formatRate(float64(w.target)))
	return text, "raise the rate (--rate) or leave it out to see what the path can carry"
}

func sayPeerRateLimit(w *way) (text, try string) {
	if w.targetIsTheirs {
		text = fmt.Sprintf("the client's own rate limit is the limit: it asked for %s and got it", formatRate(float64(w.target)))
		return text, "raise the rate at the client, or leave it out there"
	}
	return "the far end limits the rate of this test", "raise the limit at the far end"
}

func sayTooShort(*way) (text, try string) {
	return "the test was too short to tell", "let it run for 10 s or longer (--duration)"
}

func sayReceiverDrops(w *way) (text, try string) {
	return fmt.Sprintf("%s could not take the packets as fast as they came: it lost them itself, not the path", w.receiver()),
		"ask for a lower --rate or larger packets (--size), or give the receiver larger socket buffers (Linux: sysctl net.core.rmem_max)"
}

func sayCPULocal(w *way) (text, try string) {
	m, _ := w.cpu.local.median()
	return fmt.Sprintf("the CPU of this machine is the limit (%.0f %%), not the link", m),
		"stop what else keeps this machine busy, use larger packets, or test from a faster machine"
}

func sayCPURemote(w *way) (text, try string) {
	m, _ := w.cpu.remote.median()
	return fmt.Sprintf("the CPU of the far end is the limit (%.0f %%), not the link", m),
		"if it is a router, measure through it, not to it: run the test with a computer behind it"
}

func sayPathFull(w *way) (text, try string) {
	text = "the path is full: this is what it carries"
	if w.twoWays {
		text = "the path is full, in one direction at least: this is what it carries"
	}
	return text, "to go faster the slowest link has to be faster; to find it, test to points along the way"
}

func sayPathLoss(w *way) (text, try string) {
	text = "packets are lost on the path, without a queue that would show it full"
	if q, _ := w.queue(); q == queueUnknown {
		text = "packets are lost on the path"
	}
	if w.udp {
		return text, "ask for a lower --rate: if the loss stays it is a bad cable or radio, if it goes the path is full or policed"
	}
	return text, "look for a bad cable or radio, a policer or a very short queue; a UDP test at a low --rate tells them apart"
}

func sayReceiveWindow(w *way) (text, try string) {
	return fmt.Sprintf("the receive window of %s is the limit: it reads too slowly, or its buffer is too small for this round trip", w.receiver()),
		"use more connections, or allow the receiver larger buffers (Linux: sysctl net.ipv4.tcp_rmem)"
}

func saySendBuffer(w *way) (text, try string) {
	return fmt.Sprintf("the send buffer of %s is the limit: it is too small for this round trip", w.sender()),
		"use more connections, or allow the sender larger buffers (Linux: sysctl net.ipv4.tcp_wmem)"
}

func sayPacingLate(w *way) (text, try string) {
	return fmt.Sprintf("%s was too late to send at the rate asked for", w.sender()),
		"ask for a lower --rate or larger packets (--size), and stop what else keeps the sender busy"
}

func sayPeerSlow(*way) (text, try string) {
	return "the far end sends no faster: all of it came, and nothing waited on the way",
		"look at the CPU and the rate limits of the far end, or let a faster machine send"
}
