package rperf

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain holds that no goroutine outlives the call that started it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
