//go:build !nano

package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// What two reports mean together, and the exit status of it.
func TestPairCheck(t *testing.T) {
	a, b := mesh.PeerStatus{Name: "a", ID: "1"}, mesh.PeerStatus{Name: "b\x1b[2J", ID: "2"}
	old := mesh.PeerStatus{ID: "3", Original: true}
	rtt := 5 * time.Millisecond
	direct := &mesh.PairStatus{Path: mesh.PathDirect, State: "direct", RTT: &rtt, Theirs: "host"}
	mapped := &mesh.PairStatus{Path: mesh.PathMapped, State: "direct", RTT: &rtt}
	relayed := &mesh.PairStatus{Path: mesh.PathRelayed, State: "relay", RTT: &rtt, Since: time.Minute, Code: "both_hard", Reason: "both are hard", Hint: "map a port"}
	young := &mesh.PairStatus{Path: mesh.PathRelayed, State: "relay", RTT: &rtt, Since: time.Second}
	failed := &mesh.PairStatus{Path: mesh.PathNone, State: "failed", Since: time.Minute, Reason: "UDP is blocked"}
	trying := &mesh.PairStatus{Path: mesh.PathNone, State: "trying"}
	for _, tt := range []struct {
		name        string
		b           mesh.PeerStatus
		there, back *mesh.PairStatus
		settled     bool
		path        string
		exit        int
		reason      string
	}{
		{"direct both ways", b, direct, direct, true, "direct", 0, ""},
		{"one way is mapped", b, mapped, direct, true, "mapped", 0, ""},
		{"relayed one way", b, direct, relayed, true, "relayed", 3, "both are hard"},
		{"relayed since a moment", b, young, young, false, "relayed", 3, ""},
		{"none", b, failed, relayed, true, "none", 7, "UDP is blocked"},
		{"not yet", b, trying, direct, false, "none", 7, "no way was found yet"},
		{"one has not reported", b, direct, nil, false, "direct", 0, ""},
		{"an original client never does", old, direct, nil, true, "direct", 0, ""},
	} {
		c := &pairCheck{A: a, B: tt.b, There: tt.there, Back: tt.back}
		if c.isSettled() != tt.settled {
			t.Errorf("%s: settled %v", tt.name, !tt.settled)
		}
		c.judge()
		err := c.outcome()
		if c.Path != tt.path || result.ExitCode(err) != tt.exit || c.Reason != tt.reason {
			t.Errorf("%s: %s, exit status %d, %q", tt.name, c.Path, result.ExitCode(err), c.Reason)
		}
		var out bytes.Buffer
		c.print(&output{env: &env{out: &out}})
		if strings.Contains(out.String(), "\x1b") || err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: a name moves the cursor: %q", tt.name, out.String())
		}
	}
}
