package cli

import (
	"bufio"
	"encoding/csv"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp"
)

// A recorder writes a row for each packet, once it came back or is lost.
type recorder struct {
	mu   sync.Mutex // guards rows: sessions record at once
	file *os.File
	buf  *bufio.Writer
	rows *csv.Writer
}

// recordColumns are the header. One-way times have the offset of the clocks in
// them, and say so: a single packet cannot tell it.
var recordColumns = []string{
	"seq", "reflector_seq", "sent_time", "rtt_ns", "gross_rtt_ns", "out_with_clock_offset_ns", "home_with_clock_offset_ns", "request_ttl", "reply_ttl", "session", "outcome",
}

func (r *recorder) open(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return cannotWrite("records", name, err)
	}
	r.file, r.buf = f, bufio.NewWriterSize(f, 64<<10)
	r.rows = csv.NewWriter(r.buf)
	return r.rows.Write(recordColumns)
}

func (r *recorder) record(s twamp.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := []string{
		strconv.FormatUint(uint64(s.Seq), 10), strconv.FormatUint(uint64(s.Reflector), 10),
		s.Sent.UTC().Format("2006-01-02T15:04:05.000000000Z"),
		nanoseconds(s.RTT), nanoseconds(s.Gross), nanoseconds(s.Out), nanoseconds(s.Home), ttl(s.RequestTTL), ttl(s.ReplyTTL),
		strconv.Itoa(s.Session), "answered",
	}
	if s.Lost {
		row[1], row[3], row[4], row[5], row[6], row[10] = "", "", "", "", "", "lost"
	}
	_ = r.rows.Write(row) // its error stays and is told at the end
}

func nanoseconds(d time.Duration) string { return strconv.FormatInt(int64(d), 10) }

// ttl is empty where it is not known.
func ttl(n uint8) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

func (r *recorder) close() error {
	r.rows.Flush()
	if err := errors.Join(r.rows.Error(), r.buf.Flush(), r.file.Close()); err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "records could not be written", Err: err}
	}
	return nil
}
