package cli

import "testing"

func TestCheckTarget(t *testing.T) {
	for _, good := range []string{"router", "192.0.2.1", "192.0.2.1:862", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:862", "fe80::1%eth0", "[fe80::1%eth0]:862", "a.example:1"} {
		if err := checkTarget(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ":862", "h:", "h:0", "h:70000", "h:http", "h:1:2", "http://h", "a b", "[::1", "[::1]:x"} {
		if err := checkTarget(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
