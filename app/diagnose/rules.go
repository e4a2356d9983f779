package diagnose

import (
	"fmt"
	"math"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// The rules, in the order of the table. Each returns its evidence or nil.

func ownRateLimit(w *way) []string {
	if w.targetIsTheirs || !w.met() {
		return nil
	}
	return w.againstTarget()
}

func peerRateLimit(w *way) []string {
	if w.targetIsTheirs && w.met() {
		return w.againstTarget()
	}
	if loss, ok := w.loss(); w.peerLimit == "" || ok && loss >= lossUDP {
		return nil
	}
	return []string{"the far end said: " + w.peerLimit}
}

// againstTarget tells what came of the target rate.
func (w *way) againstTarget() []string {
	rate, word, _ := w.best()
	target := float64(w.target)
	e := []string{fmt.Sprintf("%s asked for, %s %s (%s)", formatRate(target), formatRate(rate), word, formatShare(rate/target))}
	if loss, ok := w.loss(); ok && loss >= lossNone {
		e = append(e, formatShare(loss)+" of the packets were lost")
	}
	return e
}

// leastTime is how long data has to flow before anything but a target rate can
// be blamed.
const leastTime = 2 * time.Second

func tooShort(w *way) []string {
	if rate, _, ok := w.arrived(); !ok || rate == 0 {
		return nil
	}
	if w.elapsed < leastTime {
		return []string{fmt.Sprintf("data flowed for %.1f s", w.elapsed.Seconds())}
	}
	if w.steady().Rising() {
		return []string{fmt.Sprintf("the rate was still rising when the test ended after %.0f s", w.elapsed.Seconds())}
	}
	return nil
}

func receiverDrops(w *way) []string {
	times, ok := w.drops()
	share, _ := w.dropped()
	if !ok || share < dropShare || !w.dropsExplain() {
		return nil
	}
	e := []string{fmt.Sprintf("the socket buffer of %s had no room for a packet or a train of them %d times", w.receiver(), times)}
	if r := w.receivedView; r.Lost != nil {
		lost := fmt.Sprintf("%d packets were lost in all", *r.Lost)
		if r.LossRuns != nil {
			lost += fmt.Sprintf(", in %d runs", r.LossRuns.Count)
		}
		e = append(e, lost)
	}
	if m, ok := w.receiverCPU().median(); ok {
		e = append(e, fmt.Sprintf("CPU of %s: median %.0f %%", w.receiver(), m))
	}
	return e
}

func cpuLocal(w *way) []string {
	local, _ := w.cpu.local.median()
	remote, told := w.cpu.remote.median()
	if !w.cpu.local.full() || told && remote > local && !w.sameHost {
		return nil
	}
	return w.cpuEvidence()
}

func cpuRemote(w *way) []string {
	local, told := w.cpu.local.median()
	remote, _ := w.cpu.remote.median()
	if !w.cpu.remote.full() || told && w.cpu.local.full() && (local >= remote || w.sameHost) {
		return nil
	}
	return w.cpuEvidence()
}

func (w *way) cpuEvidence() []string {
	var e []string
	for _, end := range []struct {
		here bool
		load *load
	}{{true, &w.cpu.local}, {false, &w.cpu.remote}} {
		if m, ok := end.load.median(); ok {
			e = append(e, fmt.Sprintf("CPU of %s: median %.0f %%, above %.0f %% in %d of %d readings",
				endName(end.here), m, cpuHigh, end.load.above(cpuHigh), end.load.n))
		}
	}
	return e
}

// pathFull takes one of three things for certain: a queue under load, a receiver
// whose rate stays while the sender's varies above it, or an own network
// interface that takes no more.
func pathFull(w *way) []string {
	if e := queueStands(w); e != nil {
		return e
	}
	if e := passesNoMore(w); e != nil {
		return e
	}
	return interfaceFull(w)
}

func queueStands(w *way) []string {
	q, text := w.queue()
	switch {
	case q == queueHuge, q == queueDeep && !w.cpuFull():
		return []string{text}
	case q == queueSome && w.cpu.local.calm() && w.cpu.remote.calm():
		// So short a queue can be a machine's own, unless both have time to spare
		// and the rate does not move either.
		if s := w.steady().Steady(); s != nil && len(s.Changes) == 0 && s.Spread < 0.05 {
			return []string{text, fmt.Sprintf("the rate was steady (spread %s) and both CPUs had time to spare", formatShare(s.Spread))}
		}
	}
	return nil
}

func passesNoMore(w *way) []string {
	o, p := w.offered, w.passed
	if _, ok := w.lostOnPath(); !ok || w.cpuFull() || w.over < 5 || 2*w.over < w.moments || p.least <= 0 {
		return nil
	}
	if dropped, _ := w.dropped(); dropped >= dropShare {
		return nil // perhaps it was the receiver that passed no more
	}
	if p.most > (1+passedApart)*p.least || o.most < (1+offeredApart)*o.least {
		return nil
	}
	return []string{
		fmt.Sprintf("in %d intervals %.0f to %.0f packets per second were sent, and %.0f to %.0f came through", w.over, o.least, o.most, p.least, p.most),
	}
}

func interfaceFull(w *way) []string {
	v := w.sentView
	if !w.udp || v == nil || v.Stalled == nil || w.cpuFull() || v.Stalled.Seconds() < limitedPart*w.elapsed.Seconds() {
		return nil
	}
	if loss, ok := w.loss(); !ok || loss >= dropShare {
		return nil
	}
	return []string{fmt.Sprintf("for %.1f s of %.1f s the network interface of %s took no more", v.Stalled.Seconds(), w.elapsed.Seconds(), w.sender())}
}

func pathLoss(w *way) []string {
	if w.udp {
		return lossOfPackets(w)
	}
	return lossOfSegments(w)
}

func lossOfPackets(w *way) []string {
	share, ok := w.lostOnPath()
	if !ok || share < lossUDP || w.cpuFull() {
		return nil
	}
	e := []string{formatShare(share) + " of the packets were lost on the path"}
	if r := w.receivedView.LossRuns; r != nil && r.Count > 0 {
		e = append(e, fmt.Sprintf("%d times, up to %d packets in a row", r.Count, r.Longest))
	}
	return e
}

// lossOfSegments asks whether the loss is enough to hold TCP down at this round
// trip time: what TCP can carry then must not be far above what it did.
func lossOfSegments(w *way) []string {
	window, buffer, ok := w.held()
	share, known := w.resent()
	if !ok || !known || window+buffer > freePart || share < resentTCP || w.cpuFull() && share < resentMuch {
		return nil
	}
	t := w.sentView.TCP
	if t.RTT <= 0 || t.Congestion == "bbr" { // BBR does not slow down for loss
		return nil
	}
	carries := float64(w.streams) * underLoss(t, share)
	rate, _, ok := w.best()
	if !ok || carries > 2*rate {
		return nil
	}
	return []string{
		formatShare(share) + " of the segments were sent again",
		fmt.Sprintf("at a round trip of %s and that loss, TCP carries about %s", formatTime(t.RTT), formatRate(carries)),
	}
}

// leastTimeout is the least that Linux waits before it sends again what no later
// segment has shown to be lost.
const leastTimeout = 200 * time.Millisecond

// underLoss is the rate, bit/s, of one connection that loses the share p of its
// segments. That is MSS/RTT · 1.22/√p (Mathis and others, ACM CCR 27(3), 1997);
// from 1 % on the time-outs count too, as in RFC 5348, section 3.1.
func underLoss(t *result.TCPInfo, p float64) float64 {
	each := t.RTT.Seconds() * math.Sqrt(p) / 1.22
	if p >= resentMuch {
		timeout := max(4*t.RTT, leastTimeout).Seconds()
		each += timeout * 3 * math.Sqrt(3*p/8) * p * (1 + 32*p*p)
	}
	return 8 * float64(t.MSS) / each
}

func receiveWindow(w *way) []string {
	window, buffer, ok := w.held()
	if !ok || window < limitedPart || buffer >= window {
		return nil
	}
	return []string{fmt.Sprintf("TCP of %s waited for the window of %s during %s of its sending time", w.sender(), w.receiver(), formatShare(window))}
}

func sendBuffer(w *way) []string {
	window, buffer, ok := w.held()
	if !ok || buffer < limitedPart || window > buffer {
		return nil
	}
	return []string{fmt.Sprintf("TCP of %s waited for its own send buffer during %s of its sending time", w.sender(), formatShare(buffer))}
}

func pacingLate(w *way) []string {
	v := w.sentView
	if !w.udp || w.target == 0 || v == nil || v.Packets == nil || v.Skipped == nil {
		return nil
	}
	rate, ok := w.rate(v)
	due := float64(*v.Packets) + float64(*v.Skipped)
	if !ok || rate >= metShare*float64(w.target) || float64(*v.Skipped) < skippedPart*due {
		return nil
	}
	e := []string{
		fmt.Sprintf("%s asked for, %s sent", formatRate(float64(w.target)), formatRate(rate)),
		fmt.Sprintf("%d packets (%s) left out because %s was over 10 ms late", *v.Skipped, formatShare(float64(*v.Skipped)/due), w.sender()),
	}
	if v.ScheduleErr != nil {
		e = append(e, "late by "+formatTime(*v.ScheduleErr)+" on average")
	}
	return e
}

// peerSlow is certain only for UDP: when all that the far end sends comes, and
// waits nowhere, nothing but the far end holds it back.
func peerSlow(w *way) []string {
	loss, ok := w.loss()
	if drops, _ := w.drops(); !w.udp || w.weSend || !ok || loss >= lossNone || drops > 0 || w.met() {
		return nil
	}
	q, text := w.queue()
	rate, _, ok := w.arrived()
	steady := w.steady().Steady()
	if q != queueNone || !ok || steady == nil || steady.Confidence == stat.TooShort {
		return nil
	}
	e := []string{"all packets came (" + formatShare(loss) + " lost)", text}
	if w.target > 0 {
		e = append(e, fmt.Sprintf("%s asked for, %s received", formatRate(float64(w.target)), formatRate(rate)))
	}
	return e
}
