package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sonde-net/sonde/app/number"
)

// A problem is an error of the API (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// writeJSON answers with v. What cannot be written is a reader that has gone.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// stamp is t as the API tells it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

type count = number.Count

// counted keeps nil, which is null: not measured.
func counted(n *uint64) *count { return number.Counts(n) }
