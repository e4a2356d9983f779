package cli

import (
	"io"
	"strings"
	"time"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// askedJSON is where a program waits for the result of a command that failed
// before it could look at its flags: JSON on standard output, if args ask for
// that, else nil.
func askedJSON(args []string, out io.Writer) result.Sink {
	document, lines := false, false
	for n, arg := range args {
		if arg == "--" {
			break
		}
		name, value, joined := strings.Cut(arg, "=")
		if name == "--format" && !joined && n+1 < len(args) {
			value = args[n+1]
		}
		on := !joined || value == "true" || value == "1"
		document = document || name == "--json" && on || name == "--format" && value == "json"
		lines = lines || name == "--json-stream" && on || name == "--format" && value == "jsonl"
	}
	switch {
	case lines:
		return report.JSONLines(out, report.JSONConfig{})
	case document:
		return report.JSON(out, report.JSONConfig{})
	}
	return nil
}

// failure is the end of a run that never began.
func failure(protocol string, role result.Role, err error) result.End {
	end := result.End{Reason: result.ReasonFailed, Err: err}
	end.Time, end.Protocol, end.Role = time.Now(), protocol, role
	return end
}

// aim is what a command, such as "sonde btest client", was to run.
func aim(path string) (protocol string, role result.Role) {
	words := strings.Fields(path)
	if len(words) != 3 {
		return "", ""
	}
	switch words[2] {
	case "client", "server":
		role = result.Role(words[2])
	case "ping":
		role = result.Sender
	}
	return words[1], role
}
