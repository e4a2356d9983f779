package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Unreachable tells why no connection to target, HOST:PORT, could be made within
// limit, and what to try; start is how to start a server there.
func Unreachable(ctx context.Context, err error, target string, limit time.Duration, start string) error {
	timeout, _ := errors.AsType[net.Error](err)
	name, unknown := errors.AsType[*net.DNSError](err)
	_, port, _ := net.SplitHostPort(target)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isAny(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH): // as this host or a router on the way knows at once
		return &result.Error{Word: result.CodeUnreachable, Text: "no route", Err: err,
			Hint: "is the address right, and is the interface towards it up? with a name, -4 or -6 chooses the family"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &result.Error{Word: result.CodeRefused, Text: "connection refused", Hint: start}
	case unknown:
		return &result.Error{Word: result.CodeUnreachable, Text: name.Err + ": " + strconv.Quote(name.Name), Hint: "check the name, or give an address"}
	case IsSilent(err) || timeout != nil && timeout.Timeout():
		return &result.Error{Word: result.CodeUnreachable, Text: fmt.Sprintf("no answer within %v", limit),
			Hint: "is a server running there, and does a firewall let TCP port " + port + " in?"}
	}
	return &result.Error{Word: result.CodeUnreachable, Err: err}
}
