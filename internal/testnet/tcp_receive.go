package testnet

import "slices"

// streamBuffer is the default receive buffer of a TCP connection, bytes.
const streamBuffer = 1 << 20

// A receiver is the receiving half of a TCP connection. It does nothing but
// arithmetic; the conn's lock guards it.
type receiver struct {
	buffer   int      // limit of what waits to be read, bytes
	ready    [][]byte // in order
	bytes    int      // in ready
	early    []segment
	next     uint64 // number of the next byte to come
	finished bool   // FIN has come, and all before it
	promised uint64 // numbers below were offered as window
}

// window is how many bytes more may come. It never takes back a promise, and the
// first one is what fits the 16 bits of a SYN (RFC 7323, section 2.2).
func (r *receiver) window() int {
	free := max(0, r.buffer-r.bytes)
	if r.next <= 1 {
		free = min(free, 1<<16-1)
	}
	r.promised = max(r.promised, r.next+uint64(free))
	return int(r.promised - r.next)
}

// isWider reports whether the window has opened so far that the sender should
// hear of it.
func (r *receiver) isWider(mss int) bool {
	edge := r.next + uint64(max(0, r.buffer-r.bytes))
	return edge >= r.promised+uint64(min(2*mss, max(1, r.buffer/2)))
}

// take takes in a segment, and those behind it that came early.
func (r *receiver) take(s segment) {
	if s.end() == s.seq || s.end() <= r.next || s.seq > r.promised {
		return
	}
	if s.seq > r.next {
		r.keep(s)
		return
	}
	r.append(s)
	for len(r.early) > 0 && r.early[0].seq <= r.next {
		r.append(r.early[0])
		r.early = slices.Delete(r.early, 0, 1)
	}
}

// keep puts a segment that came early into its place.
func (r *receiver) keep(s segment) {
	i, found := slices.BinarySearchFunc(r.early, s.seq, func(e segment, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
	if !found {
		r.early = slices.Insert(r.early, i, s)
	}
}

// append takes what is new of a segment that begins at or before next.
func (r *receiver) append(s segment) {
	if s.end() <= r.next {
		return
	}
	known := r.next - s.seq
	if data := s.data[min(known, uint64(len(s.data))):]; len(data) > 0 {
		r.ready = append(r.ready, data)
		r.bytes += len(data)
	}
	r.next = s.end()
	r.finished = r.finished || s.fin
}

// read fills p from what is ready.
func (r *receiver) read(p []byte) int {
	n := 0
	for n < len(p) && len(r.ready) > 0 {
		took := copy(p[n:], r.ready[0])
		n += took
		if r.ready[0] = r.ready[0][took:]; len(r.ready[0]) == 0 {
			r.ready[0] = nil
			r.ready = r.ready[1:]
		}
	}
	r.bytes -= n
	return n
}
