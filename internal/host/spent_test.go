package host

import (
	"testing"
	"time"
)

func TestSpent(t *testing.T) {
	before, ok := Spent()
	if !ok {
		t.Fatal("this system tells the processor time of a process")
	}
	for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
	}
	if after, _ := Spent(); after <= before {
		t.Errorf("%v before and %v after 50 ms of work", before, after)
	}
}
