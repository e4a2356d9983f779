package web

import (
	"context"

	"github.com/sonde-net/sonde/admit"
)

// A policy is an admit.Policy of a function.
type policy func() (*admit.Grant, error)

func (p policy) Admit(context.Context, admit.Request) (*admit.Grant, error) { return p() }
