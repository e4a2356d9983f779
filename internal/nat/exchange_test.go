package nat

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnswerInTime: an answer that is there counts, also when the wait for it, or
// the whole question, ends at the same moment.
func TestAnswerInTime(t *testing.T) {
	for name, also := range map[string]func(context.CancelFunc){
		"the wait":     func(context.CancelFunc) {},
		"the question": func(end context.CancelFunc) { end() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 50 { // which of two is taken would be chance
					ctx, end := context.WithCancel(t.Context())
					answers := make(chan arrival, 1)
					sent := 0
					_, _, err := new(Exchange).repeat(ctx, answers, func() error {
						if sent++; sent == len(retries) {
							time.Sleep(2 * answerWait) // held up
							answers <- arrival{at: time.Now()}
							also(end)
						}
						return nil
					})
					if end(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
