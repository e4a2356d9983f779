package cli

import (
	"net/netip"
	"slices"
	"testing"
)

func TestRouterOSLines(t *testing.T) {
	const tool = "/tool/bandwidth-test address="
	own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("::1"),
		netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("fe80::9")}
	for _, tt := range []struct {
		listen []string
		login  bool
		want   []string
	}{
		{[]string{":2000"}, false, []string{tool + "192.0.2.9 direction=both", tool + "2001:db8::9 direction=both"}},
		{[]string{":2000"}, true, []string{tool + "192.0.2.9 direction=both user=NAME password=SECRET", tool + "2001:db8::9 direction=both user=NAME password=SECRET"}},
		{[]string{"0.0.0.0:2000"}, false, []string{tool + "192.0.2.9 direction=both"}},
		{[]string{"[::]:2000"}, false, []string{tool + "2001:db8::9 direction=both"}},
		{[]string{"198.51.100.1:2000"}, false, []string{tool + "198.51.100.1 direction=both"}},
		{[]string{"127.0.0.1:2000"}, false, nil},
		{[]string{":2001"}, false, nil},
	} {
		if got := routerOSLines(tt.listen, own, tt.login); !slices.Equal(got, tt.want) {
			t.Errorf("%v, login %v: %q, want %q", tt.listen, tt.login, got, tt.want)
		}
	}
}
