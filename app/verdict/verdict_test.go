package verdict

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

const ms = time.Millisecond

func pings(lost uint64, p99 time.Duration, usable bool) result.RoundTrips {
	d := result.Distribution{Count: 100, Min: ms, Mean: 2 * ms, P50: 2 * ms, P99: p99, Max: p99}
	way := result.Distribution{Count: 100, Min: -5 * ms, P50: -4 * ms, P99: ms, Max: ms}
	r := result.RoundTrips{
		Sent: 1000, Replies: 1000 - lost, Lost: lost, Rate: 100,
		RTT:   &result.Path{Delay: d, PDV: d, Jitter: result.Some(300 * time.Microsecond)},
		Out:   &result.Path{Delay: way, PDV: d},
		Clock: &result.Clock{Usable: usable},
	}
	if !usable {
		r.Clock.Why = "the reflector's clock is not synchronised"
	}
	return r
}

func throughput() result.End {
	down := &result.View{Bytes: 50_000_000, Packets: result.Some(uint64(990)), Lost: result.Some(int64(10)), Jitter: result.Some(ms)}
	return result.End{
		Down:    &result.Total{Received: down, Elapsed: time.Second},
		Up:      &result.Total{Sent: &result.View{Bytes: 25_000_000}, Elapsed: time.Second},
		CPU:     result.CPU{Local: result.Some(40.0)},
		Latency: &result.Latency{Loaded: &result.Delay{P50: 20 * ms, P99: 40 * ms}, Remark: "no probe before the load"},
	}
}

func TestJudge(t *testing.T) {
	one := result.End{RoundTrips: []result.RoundTrips{pings(1, 10*ms, true)}}
	two := result.End{RoundTrips: []result.RoundTrips{pings(1, 10*ms, true), pings(5, 40*ms, false)}}
	silent := result.End{RoundTrips: []result.RoundTrips{{Sent: 10, Lost: 10}}}
	for _, tt := range []struct {
		name   string
		end    result.End
		rules  string
		want   result.Outcome
		figure string // of the last check
	}{
		{"met", one, "rtt.p99>30ms,loss>0.1%", result.Passed, "0.1%"},
		{"at the limit", one, "loss>=0.1%", result.Crossed, "0.1%"},
		{"crossed", one, "rtt.p99 > 9.9ms", result.Crossed, "10ms"},
		{"jitter", one, "jitter>299us", result.Crossed, "300µs"},
		{"variation", one, "rtt.pdv.p99<1s", result.Crossed, "10ms"},
		{"rate of packets", one, "pps<99.5", result.Passed, "100"},
		{"the worse session", two, "rtt.max>30ms", result.Crossed, "40ms"},
		{"one-way", one, "out.p99>2ms", result.Passed, "1ms"},
		{"one-way without clocks", two, "out.p99>2ms", result.Unknown, ""},
		{"variation needs no clocks", two, "out.pdv.p99>50ms", result.Passed, "10ms"},
		{"direction of loss not known", one, "loss.out>1%", result.Unknown, ""},
		{"a crossed one outweighs an unknown one", one, "loss>0%,loss.out>1%", result.Crossed, ""},
		{"an unknown one is no pass", one, "loss>1%,loss.out>1%", result.Unknown, ""},
		{"no reply", silent, "rtt.p99>1ms", result.Unknown, ""},
		{"all lost", silent, "loss>99%", result.Crossed, "100%"},
		{"not of this kind", one, "download.rate<400M", result.Unknown, ""},
		{"download", throughput(), "download.rate<400M", result.Passed, "400Mbit/s"},
		{"upload, by its sender", throughput(), "upload.rate<0.3G", result.Crossed, "200Mbit/s"},
		{"the worse direction", throughput(), "rate<25.1MB/s", result.Crossed, "200Mbit/s"},
		{"loss of a download", throughput(), "download.loss>0.9%", result.Crossed, "1%"},
		{"loss that only one receiver told", throughput(), "loss>2%", result.Unknown, ""},
		{"jitter of a download", throughput(), "download.jitter>=1ms", result.Crossed, "1ms"},
		{"delay under load", throughput(), "rtt.p99>30ms", result.Crossed, "40ms"},
		{"delay before it", throughput(), "idle.p50>30ms", result.Unknown, ""},
		{"CPU", throughput(), "cpu.local>30%", result.Crossed, "40%"},
		{"the other CPU", throughput(), "cpu.remote>30%", result.Unknown, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := Parse(tt.rules)
			if err != nil {
				t.Fatal(err)
			}
			v := rules.Judge(tt.end)
			last := v.Checks[len(v.Checks)-1]
			if v.Outcome != tt.want || last.Figure != tt.figure {
				t.Errorf("%s: %s, %+v; want %s, %q", tt.rules, v.Outcome, v.Checks, tt.want, tt.figure)
			}
			if last.Outcome == result.Unknown && last.Remark == "" {
				t.Error("not told why it could not be told")
			}
		})
	}
	if v := Rules(nil).Judge(one); v != nil {
		t.Errorf("a verdict without rules: %+v", v)
	}
}

// Every figure must bear every kind of run, also an empty one.
func TestFiguresOfNothing(t *testing.T) {
	ends := []result.End{{}, {RoundTrips: []result.RoundTrips{{}}}, {Down: &result.Total{}, Up: &result.Total{Received: &result.View{}}, Latency: &result.Latency{}}}
	for name, f := range figures {
		if strings.Contains(name, "trips.") || strings.Contains(name, "flow.") {
			t.Errorf("figure %q has an inner name", name)
		}
		for _, e := range ends {
			for _, r := range f.of(e) {
				if r.value != nil && (math.IsNaN(*r.value) || math.IsInf(*r.value, 0)) {
					t.Errorf("%s is %v", name, *r.value)
				}
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                "not a threshold",
		"rtt.p99":         "not a threshold",
		"rtt.p99=3ms":     "not a threshold",
		"rtt.p98>3ms":     `no figure "rtt.p98"`,
		"RTT.P99>3ms":     "no figure",
		"rtt.p99>30":      "a time such as 30ms",
		"rtt.p99>":        "a time such as 30ms",
		"rtt.p99>-3ms":    "a time such as 30ms",
		"rtt.p99>3%":      "a time such as 30ms",
		"loss>1":          "a share such as 0.1%",
		"loss>nan%":       "a share such as 0.1%",
		"loss>1e400%":     "a share such as 0.1%",
		"loss>1%,":        "not a threshold",
		"lost>1.5":        "a whole number",
		"rate<10Q":        "a rate such as 400M",
		"rate<10 M":       "a rate such as 400M",
		"rate<10i":        "a rate such as 400M",
		"pps<1000/s":      "packets per second",
		"loss><1%":        "a share such as 0.1%",
		"loss>1%;jitter>": "a share such as 0.1%",
	} {
		_, err := Parse(text)
		if _, ok := errors.AsType[*SyntaxError](err); !ok || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%q) = %v, want %q in a SyntaxError of one line", text, err, want)
		}
	}
	if _, err := Parse(strings.Repeat("loss>1%,", 101) + "loss>1%"); err == nil {
		t.Error("more thresholds than a bound")
	}
	if _, err := Parse(strings.Repeat(" ", mostText+1)); err == nil {
		t.Error("a text longer than the bound")
	}
}

func TestLimits(t *testing.T) {
	for text, want := range map[string]float64{
		"rtt.p99>30ms": 30e6, "rtt.p99>1m0.5s": 60.5e9, "rtt.p99>0": 0, "loss>0.1%": 0.001, "loss>0": 0, "lost>7": 7,
		"rate<400M": 400e6, "rate<12.5MB/s": 100e6, "rate<1Gi": 1 << 30, "rate<100Mbit/s": 100e6, "rate<64kbps": 64e3, "rate<9": 9,
	} {
		rules, err := Parse(text)
		if err != nil || math.Abs(rules[0].limit-want) > want*1e-12 {
			t.Errorf("Parse(%q) = %v, %v; want %v", text, rules, err, want)
		}
	}
}

func TestSeries(t *testing.T) {
	p, c, u := result.Passed, result.Crossed, result.Unknown
	for _, tt := range []struct {
		m, n      int
		in, wants []result.Outcome
	}{
		{0, 0, []result.Outcome{p, c, u}, []result.Outcome{p, c, u}},
		{2, 3, []result.Outcome{c, p, c, p, p, c}, []result.Outcome{p, p, c, p, p, p}},
		{2, 3, []result.Outcome{c, u, p, p, u, u}, []result.Outcome{p, u, u, p, p, u}},
		{3, 3, []result.Outcome{c, c, c, u}, []result.Outcome{p, p, c, u}},
	} {
		s := Series{M: tt.m, N: tt.n}
		var got []result.Outcome
		for _, o := range tt.in {
			got = append(got, s.Add(o))
		}
		if !slices.Equal(got, tt.wants) {
			t.Errorf("%d of %d: %v became %v, want %v", tt.m, tt.n, tt.in, got, tt.wants)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"rtt.p99>30ms,loss>0.1%", "download.rate<400M", "jitter>=1us, lost<=3", "out.p99.99>1h", "pps<1000", "rate<1.5Gi", "a<b", "loss>%"} {
		f.Add(s)
	}
	end := throughput()
	end.RoundTrips = []result.RoundTrips{pings(1, ms, true), {}}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := Parse(text)
		if err != nil {
			if _, ok := errors.AsType[*SyntaxError](err); !ok {
				t.Fatalf("%v is no SyntaxError", err)
			}
			return
		}
		var again []string
		for _, r := range rules {
			if math.IsNaN(r.limit) || math.IsInf(r.limit, 0) || r.limit < 0 {
				t.Fatalf("%q has limit %v", r, r.limit)
			}
			again = append(again, r.String())
		}
		back, err := Parse(strings.Join(again, ","))
		if err != nil || len(back) != len(rules) {
			t.Fatalf("%q became %q: %v", text, again, err)
		}
		if v := rules.Judge(end); len(v.Checks) != len(rules) {
			t.Fatalf("%d checks of %d rules", len(v.Checks), len(rules))
		}
	})
}
