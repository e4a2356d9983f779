package rperf

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// stdout is what the recorded client printed.
func stdout(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Results []struct{ Stdout string } `json:"client_results"`
	}
	if err := json.Unmarshal(b, &r); err != nil || len(r.Results) == 0 {
		t.Fatalf("%s: %v", name, err)
	}
	return r.Results[0].Stdout
}

// TestReportJSON makes the recorded documents again from the records that
// stand in them, byte for byte but for the order of streams.
func TestReportJSON(t *testing.T) {
	for _, name := range []string{"tcp-forward-json", "udp-forward-json", "udp-reverse-json", "tcp-options-json", "tcp-reverse-options-json"} {
		t.Run(name, func(t *testing.T) {
			want := stdout(t, name)
			var doc struct {
				Config struct {
					Additional struct {
						Omit int `json:"omit_seconds"`
					}
				}
				Streams []struct {
					Intervals struct{ Receive, Send []map[string]any }
				}
			}
			if err := json.Unmarshal([]byte(want), &doc); err != nil {
				t.Fatal(err)
			}
			c := clientOf(t, recordings(t)[name])
			c.Streams = len(doc.Streams)
			r := &Report{Client: c, Omit: doc.Config.Additional.Omit}
			for n, s := range doc.Streams {
				for kind, all := range map[string][]map[string]any{"receive": s.Intervals.Receive, "send": s.Intervals.Send} {
					for _, m := range all {
						m["kind"], m["stream_idx"], m["family"] = kind, n, "tcp"
						if c.UDP {
							m["family"] = "udp"
						}
						b, err := json.Marshal(m)
						if err != nil {
							t.Fatal(err)
						}
						i, err := wire.Parse(b)
						if err != nil {
							t.Fatal(err)
						}
						r.Add(Record{Interval: i.(wire.Interval)})
					}
				}
				r.Add(Record{Over: true, Interval: wire.Interval{Stream: uint8(n)}})
			}
			got, err := r.JSON()
			if err != nil {
				t.Fatal(err)
			}
			// Timestamps lose a bit in being read and written as float64.
			stamp := regexp.MustCompile(`("timestamp": \d+\.\d{5})\d*`)
			clean := func(s string) string { return strings.TrimSpace(stamp.ReplaceAllString(s, "$1")) }
			if d := cmp.Diff(clean(want), clean(string(got))); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestReportText makes the recorded texts again. The numbers stand rounded in
// them: durations are reckoned back from bytes and rates.
func TestReportText(t *testing.T) {
	for _, name := range []string{"tcp-forward", "tcp-reverse", "udp-forward", "udp-reverse", "tcp-parallel2", "udp-parallel2", "udp-parallel2-reverse", "megabyte-format"} {
		t.Run(name, func(t *testing.T) {
			want := stdout(t, name)
			r := &Report{Client: clientOf(t, recordings(t)[name])}
			if name == "megabyte-format" {
				r.Unit = Megabyte
			}
			var got strings.Builder
			for _, block := range strings.Split(strings.Split(want, equals)[0], hyphens+"\n") {
				if block != "" {
					got.WriteString(r.Add(parseBlock(t, block)))
				}
			}
			got.WriteString(r.Summary())
			// Sums of rounded figures: the last digits of rates may differ.
			last := regexp.MustCompile(`(\.\d\d)\d`)
			clean := func(s string) string {
				head, sums, _ := strings.Cut(strings.TrimSpace(s), equals)
				return head + last.ReplaceAllString(sums, "$1")
			}
			if d := cmp.Diff(clean(want), clean(got.String())); d != "" {
				t.Error(d)
			}
		})
	}
}

func parseBlock(t *testing.T, block string) Record {
	t.Helper()
	find := func(pattern string) float64 {
		m := regexp.MustCompile(pattern).FindStringSubmatch(block)
		if m == nil {
			return 0
		}
		x, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	rec := Record{Interval: wire.Interval{
		UDP: strings.HasPrefix(block, "UDP"), Sent: strings.Contains(block, "send result"),
		Stream: uint8(find(`stream: (\d+)`)), Bytes: uint64(find(`bytes: (\d+)`)), Packets: uint64(find(`packets: (\d+)`)),
	}}
	rec.Over = strings.HasPrefix(block, "End of stream")
	rec.Duration = wire.Seconds(find(`bytes: (\d+)`) / max(1, find(`per second: ([\d.]+)`)))
	rec.Counts.Lost = int64(find(`lost: (\d+)`))
	rec.Counts.Unbroken = uint64(find(`over (\d+) consecutive`))
	if strings.Contains(block, "jitter") {
		j := wire.Seconds(find(`jitter: ([\d.]+)s`))
		rec.Counts.Jitter = &j
	}
	return rec
}

// TestReportEmpty: without a single record the document is still valid.
func TestReportEmpty(t *testing.T) {
	r := &Report{Client: Client{UDP: true, Streams: 2}}
	b, err := r.JSON()
	if err != nil || !json.Valid(b) || r.Success() || !strings.Contains(r.Summary(), "TESTING DID NOT COMPLETE SUCCESSFULLY") {
		t.Errorf("%v\n%s\n%s", err, b, r.Summary())
	}
}

// TestReportOfRun: the report of a real run agrees with the End.
func TestReportOfRun(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, slow, &Server{})
			c := Client{UDP: true, Direction: d, Streams: 2, Duration: 2 * time.Second, Rate: 500_000}
			r := &Report{Client: c}
			c.Records = func(rec Record) { r.Add(rec) }
			rec, err := p.run(t.Context(), c)
			p.stop()
			if err != nil || !r.Success() {
				t.Fatalf("%v: %v, success %v", d, err, r.Success())
			}
			sent, received := r.sums()
			total := rec.End(t).Total(d)
			if sent.bytes != *total.Sent.WireBytes || received.bytes != *total.Received.WireBytes || sent.packets != *total.Sent.Packets {
				t.Errorf("%v: report %+v, %+v; End %d, %d", d, sent, received, *total.Sent.WireBytes, *total.Received.WireBytes)
			}
			if b, err := r.JSON(); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"bytes_sent": %d`, sent.bytes)) {
				t.Errorf("%v\n%s", err, b)
			}
		})
	}
}
