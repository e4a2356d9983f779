package stream

import (
	"runtime"
	"testing"
)

// TestExactly: there are as many places as processors, and those given back are
// there again.
func TestExactly(t *testing.T) {
	var leave []func()
	defer func() {
		for _, f := range leave {
			f()
		}
	}()
	if ok, _ := exactly(false); ok {
		t.Error("a place for one that does not want it")
	}
	for range runtime.GOMAXPROCS(0) {
		ok, release := exactly(true)
		if !ok {
			t.Fatal("no place")
		}
		leave = append(leave, release)
	}
	if ok, _ := exactly(true); ok {
		t.Error("more places than processors")
	}
	leave[0]()
	leave[0]() // again: gives nothing back
	ok, release := exactly(true)
	if !ok {
		t.Error("a place that was given back is not there")
	}
	leave[0] = release
	if ok, _ := exactly(true); ok {
		t.Error("a place was given back twice")
	}
}
