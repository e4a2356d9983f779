package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The configuration that packages begin with is the one that sonde config init
// writes; the image's differs in what has to be reached from outside.
func TestPackagedConfiguration(t *testing.T) {
	var out, errs bytes.Buffer
	if status := Main([]string{"sonde", "config", "init"}, nil, &out, &errs); status != 0 {
		t.Fatalf("config init: %d, %s", status, errs.String())
	}
	for name, want := range map[string]string{
		"../../packaging/sonde.yaml":        out.String(),
		"../../packaging/docker/sonde.yaml": strings.Replace(out.String(), "127.0.0.1:8080 ", "0.0.0.0:8080 ", 1),
	} {
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s is not what sonde config init writes (%v)", name, err)
		}
	}
}
