package iperf3

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
)

func limits(rate uint64, d time.Duration) admit.Policy { return &admit.Limits{Rate: rate, Duration: d} }

// refusal admits nobody.
type refusal struct{}

func (refusal) Admit(context.Context, admit.Request) (*admit.Grant, error) {
	return nil, &admit.RefusedError{Word: admit.TooManyConnections, Text: "no place"}
}

// testKey is made once: generating one takes long.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})
