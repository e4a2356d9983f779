package sock

import "testing"

func TestCapabilities(t *testing.T) {
	list, err := Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range list {
		if c.Name == "" || c.Detail == "" || seen[c.Name] {
			t.Errorf("%+v: no name, no detail, or twice", c)
		}
		seen[c.Name] = true
		t.Logf("%-20s %-5v %s", c.Name, c.OK, c.Detail)
	}
	if !seen["udp-technique"] || !seen["tcp-technique"] {
		t.Error("the techniques are missing")
	}
}
