package mesh

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// What is known of a mesh is JSON as everywhere: names in snake case, null for
// what was not measured, no list that is null.
func TestStatusJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Name: "hub"}
		w := newWorld(t, s)
		a := w.node("a", place(0), testnet.Link{}, testnet.Link{})
		w.node("b", place(1), testnet.Link{}, testnet.Link{})
		time.Sleep(30 * time.Second)
		for _, status := range []any{s.Status(), a.Status()} {
			b, err := json.Marshal(status)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range regexp.MustCompile(`"([^"]*)":`).FindAllStringSubmatch(string(b), -1) {
				if strings.ToLower(key[1]) != key[1] {
					t.Errorf("key %q in %s", key[1], b)
				}
			}
			for _, want := range []string{`"path":"direct"`, `"rtt_ns":`, `"reason":""`} {
				if !strings.Contains(string(b), want) {
					t.Errorf("no %s in %s", want, b)
				}
			}
		}
		w.end()
	})
}
