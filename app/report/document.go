package report

import (
	"time"

	"github.com/sonde-net/sonde/result"
)

// Schema is the value of "schema" in every JSON object. Within one number,
// fields are only ever added.
const Schema = "sonde.result/1"

// The types of this file are the JSON objects of Schema, field by field as
// docs/schema/result-1.json describes them and docs/results.md explains them.
// Pointers without omitempty are null when the figure was not measured; groups
// with omitempty are left out where they do not apply.

type headJSON struct {
	Schema   string  `json:"schema"`
	Event    string  `json:"event"`
	ID       *string `json:"id"`
	Time     string  `json:"time"`
	Protocol *string `json:"protocol"`
	Role     *string `json:"role"`
}

type startJSON struct {
	headJSON
	Test *testJSON `json:"test"`
}

// testJSON is what was agreed.
type testJSON struct {
	StartTime string          `json:"start_time"`
	Transport string          `json:"transport"`
	Direction string          `json:"direction"`
	Target    *string         `json:"target"`
	Peer      *string         `json:"peer"`
	Local     *string         `json:"local"`
	Streams   int             `json:"streams"`
	Size      int             `json:"size_bytes"`
	Rates     targetRatesJSON `json:"target_rate"`
	Duration  float64         `json:"duration_seconds"` // 0: until stopped
	Account   *string         `json:"account"`
	Login     *string         `json:"login"`
}

// targetRatesJSON has 0 for no limit, as the flags take it.
type targetRatesJSON struct {
	Down count `json:"download_bits_per_second"`
	Up   count `json:"upload_bits_per_second"`
}

type intervalJSON struct {
	headJSON
	rowJSON
}

// rowJSON is an interval without its head, as it stands in a document.
type rowJSON struct {
	Seq       int     `json:"seq"`
	Direction string  `json:"direction"`
	Stream    *int    `json:"stream,omitempty"` // left out in the sum of all streams
	Start     float64 `json:"start_seconds"`
	End       float64 `json:"end_seconds"`
	figuresJSON
	CPU      cpuJSON    `json:"cpu"`
	RTT      *delayJSON `json:"rtt"`
	Sender   *viewJSON  `json:"sender"`
	Receiver *viewJSON  `json:"receiver"`
	// RoundTrips is of tests by packets that come back, which have nothing in
	// the views.
	RoundTrips *tripsRowJSON `json:"round_trips,omitempty"`
}

// figuresJSON is the headline: bytes, rate and packets from the view of the
// end that reports, loss from the receiver's.
type figuresJSON struct {
	Bytes   *count   `json:"bytes"`
	Rate    *count   `json:"bits_per_second"`
	Packets *count   `json:"packets"`
	Lost    *signed  `json:"lost"`
	Ratio   *float64 `json:"loss_ratio"`
}

// viewJSON is what one end counted.
type viewJSON struct {
	Bytes     count    `json:"bytes"`
	Rate      *count   `json:"bits_per_second"`
	WireBytes *count   `json:"wire_bytes"`
	Packets   *count   `json:"packets"`
	Covered   *float64 `json:"covered_seconds,omitempty"`
	*arrivalJSON
	*sendingJSON
	TCP *tcpJSON `json:"tcp,omitempty"`
}

// arrivalJSON is known to a receiver of numbered datagrams; it is left out when
// none of it was measured.
type arrivalJSON struct {
	Lost      *signed   `json:"lost"`
	Late      *count    `json:"late"`
	Reordered *count    `json:"reordered"`
	Duplicate *count    `json:"duplicate"`
	Dropped   *count    `json:"dropped_here"`
	LossRuns  *runsJSON `json:"loss_runs"`
	Jitter    *signed   `json:"jitter_ns"`
}

type runsJSON struct {
	Count   count `json:"count"`
	Longest count `json:"longest"`
}

// sendingJSON is known to a sender; it is left out when none of it was measured.
type sendingJSON struct {
	Skipped     *count  `json:"skipped"`
	ScheduleErr *signed `json:"schedule_error_ns"`
	Stalled     *signed `json:"stalled_ns"`
}

type tcpJSON struct {
	RTT           signed  `json:"rtt_ns"`
	RTTVar        signed  `json:"rtt_var_ns"`
	MinRTT        signed  `json:"min_rtt_ns"`
	Cwnd          count   `json:"cwnd_bytes"`
	MSS           count   `json:"mss_bytes"`
	Retransmits   count   `json:"retransmits"`
	DeliveryRate  count   `json:"delivery_rate_bits_per_second"`
	PacingRate    count   `json:"pacing_rate_bits_per_second"`
	Busy          signed  `json:"busy_ns"`
	RwndLimited   signed  `json:"rwnd_limited_ns"`
	SndbufLimited signed  `json:"sndbuf_limited_ns"`
	Congestion    *string `json:"congestion"`
}

type cpuJSON struct {
	Local  *float64 `json:"local"`
	Remote *float64 `json:"remote"`
}

type delayJSON struct {
	Count count  `json:"count"`
	Min   signed `json:"min_ns"`
	Mean  signed `json:"mean_ns"`
	P50   signed `json:"p50_ns"`
	P90   signed `json:"p90_ns"`
	P99   signed `json:"p99_ns"`
	Max   signed `json:"max_ns"`
}

type warningJSON struct {
	headJSON
	remarkJSON
}

// keptWarningJSON is a warning as it stands in a document.
type keptWarningJSON struct {
	Time string `json:"time"`
	remarkJSON
}

type remarkJSON struct {
	Code  string     `json:"code"`
	Text  string     `json:"text"`
	Hint  *string    `json:"hint"`
	Login *loginJSON `json:"login,omitempty"`
}

type loginJSON struct {
	Peer    *string `json:"peer"`
	Account *string `json:"account"`
	Method  *string `json:"method"`
	Reason  *string `json:"reason"`
}

type errorEventJSON struct {
	headJSON
	Error *errorJSON `json:"error"`
}

type errorJSON struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Hint    *string `json:"hint"`
	Exit    int     `json:"exit"`
}

// endJSON is both the last line of a run and its document.
type endJSON struct {
	headJSON
	OK       bool         `json:"ok"`
	Reason   *string      `json:"reason"`
	Error    *errorJSON   `json:"error"`
	Test     *testJSON    `json:"test"`
	Duration *float64     `json:"duration_seconds"`
	Down     *totalJSON   `json:"download"`
	Up       *totalJSON   `json:"upload"`
	CPU      cpuJSON      `json:"cpu"`
	Latency  *latencyJSON `json:"latency"`
	Why      *whyJSON     `json:"why"`
	Trips    []tripsJSON  `json:"round_trips,omitempty"` // one for each session
	Verdict  *verdictJSON `json:"verdict,omitempty"`     // left out without thresholds
	keptJSON
}

// keptJSON is what a document repeats of the events before its end.
type keptJSON struct {
	Warnings        []keptWarningJSON `json:"warnings"`
	WarningsLeftOut int               `json:"warnings_left_out"`
	Intervals       []rowJSON         `json:"intervals"`
	Streams         []rowJSON         `json:"stream_intervals,omitempty"`
	LeftOut         int               `json:"intervals_left_out"`
}

type totalJSON struct {
	Stream   *int    `json:"stream,omitempty"`
	Duration float64 `json:"duration_seconds"`
	figuresJSON
	Differ   *float64     `json:"difference_ratio"`
	Sender   *viewJSON    `json:"sender"`
	Receiver *viewJSON    `json:"receiver"`
	Steady   *steadyJSON  `json:"steady"`
	Streams  []*totalJSON `json:"streams,omitempty"`
}

type steadyJSON struct {
	From       float64   `json:"from_seconds"`
	Rate       count     `json:"bits_per_second"`
	Spread     *float64  `json:"spread_ratio"`
	Changes    []float64 `json:"changes_seconds"`
	Confidence string    `json:"confidence"`
}

type latencyJSON struct {
	Method *string    `json:"method"`
	Idle   *delayJSON `json:"idle"`
	Loaded *delayJSON `json:"loaded"`
	RPM    *float64   `json:"round_trips_per_minute"`
	Grade  *string    `json:"grade"`
	Remark *string    `json:"remark"`
}

type whyJSON struct {
	Limit    string   `json:"limit"`
	Text     string   `json:"text"`
	Evidence []string `json:"evidence"`
	Try      *string  `json:"try"`
}

// headOf is the head of an object. A run that failed before it got an ID or a
// time is given both, so that its object is valid.
func headOf(event string, h result.Head) headJSON {
	if h.Time.IsZero() {
		h.Time = time.Now()
	}
	return headJSON{
		Schema: Schema, Event: event, ID: text(string(h.Run)), Time: stamp(h.Time),
		Protocol: text(h.Protocol), Role: text(string(h.Role)),
	}
}
