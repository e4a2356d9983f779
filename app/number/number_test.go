package number

import (
	"encoding/json"
	"math"
	"testing"
)

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		value any
		want  string
	}{
		{Count(0), "0"}, {Count(1 << 53), "9007199254740992"}, {Count(1<<53 + 1), `"9007199254740993"`}, {Count(math.MaxUint64), `"18446744073709551615"`},
		{Signed(-1 << 53), "-9007199254740992"}, {Signed(-1<<53 - 1), `"-9007199254740993"`}, {Signed(math.MaxInt64), `"9223372036854775807"`},
		{Counts(nil), "null"}, {Counts(new(uint64(7))), "7"},
	} {
		if b, err := json.Marshal(tt.value); err != nil || string(b) != tt.want {
			t.Errorf("%v: %s, %v, want %s", tt.value, b, err, tt.want)
		}
	}
}

func TestReadBack(t *testing.T) {
	var c Count
	var s Signed
	for _, n := range []uint64{0, 1 << 53, 1<<53 + 1, math.MaxUint64} {
		b, _ := Count(n).MarshalJSON()
		if err := json.Unmarshal(b, &c); err != nil || c != Count(n) {
			t.Errorf("%s: %d, %v", b, c, err)
		}
	}
	for _, n := range []int64{-1<<53 - 1, math.MinInt64, math.MaxInt64} {
		b, _ := Signed(n).MarshalJSON()
		if err := json.Unmarshal(b, &s); err != nil || s != Signed(n) {
			t.Errorf("%s: %d, %v", b, s, err)
		}
	}
	for _, bad := range []string{`"x"`, `-1`, `1.5`} {
		if err := json.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s is no count", bad)
		}
	}
}
