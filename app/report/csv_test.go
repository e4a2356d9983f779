package report

import (
	"bytes"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sonde-net/sonde/result"
)

const btestRSHeader = "timestamp,host,port,protocol,direction,duration_s,tx_avg_mbps,rx_avg_mbps,tx_bytes,rx_bytes,lost_packets,local_cpu_pct,remote_cpu_pct,auth_type"

func TestCSV(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    CSVConfig
	}{
		{"csv-all.csv", CSVConfig{}},
		{"csv-btestrs.csv", CSVConfig{BtestRS: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			s := CSV(&b, tt.c)
			put(s, udpBoth(), tcpLost(), refused())
			if s.Err() != nil || len(s.begins) != 0 {
				t.Errorf("Err = %v, %d runs kept", s.Err(), len(s.begins))
			}
			golden(t, tt.name, b.String())
			header, _, _ := strings.Cut(b.String(), "\n")
			if !strings.HasPrefix(header+",", btestRSHeader+",") {
				t.Errorf("header %q does not begin with that of btest-rs", header)
			}
			if _, err := csv.NewReader(&b).ReadAll(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestColumnsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range columns {
		if seen[c.name] {
			t.Errorf("two columns %q", c.name)
		}
		seen[c.name] = true
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tests.csv")
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func appendRun(t *testing.T, name string, c CSVConfig) [][]string {
	t.Helper()
	s, err := OpenCSV(name, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	put(s, udpBoth())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll() // all rows as long as the first
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return rows
}

func TestOpenCSVAppends(t *testing.T) {
	var all bytes.Buffer
	put(CSV(&all, CSVConfig{}), refused())
	allHeader, _, _ := strings.Cut(all.String(), "\n")
	row := "1784000000,h,2000,TCP,receive,10,0.00,1.00,0,1,0,1,2,none"
	for _, tt := range []struct {
		name, content string
		c             CSVConfig
		rows, columns int
	}{
		{"new", "", CSVConfig{}, 2, len(columns)},
		{"new, old columns", "", CSVConfig{BtestRS: true}, 2, compatible},
		{"ours", allHeader + "\n", CSVConfig{}, 2, len(columns)},
		{"made by btest-rs", btestRSHeader + "\n" + row + "\n", CSVConfig{}, 3, compatible},
		{"made by btest-rs, torn", btestRSHeader + "\n" + row, CSVConfig{}, 3, compatible},
		{"made by btest-rs, CR LF and mark", "\ufeff" + btestRSHeader + "\r\n", CSVConfig{BtestRS: true}, 2, compatible},
		{"ours, old columns", allHeader + "\n", CSVConfig{BtestRS: true}, 2, len(columns)},
		{"an older version's", btestRSHeader + ",id,end_time\n", CSVConfig{}, 2, compatible + 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "new.csv")
			if tt.content != "" {
				name = write(t, tt.content)
			}
			rows := appendRun(t, name, tt.c)
			if len(rows) != tt.rows || len(rows[0]) != tt.columns {
				t.Errorf("%d rows of %d columns, want %d of %d", len(rows), len(rows[0]), tt.rows, tt.columns)
			}
			if last := rows[len(rows)-1]; last[1] != "192.0.2.1" || last[4] != "both" {
				t.Errorf("row %v", last)
			}
		})
	}
}

func TestOpenCSVRefuses(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"other columns", "time,host\n", `column 1 is "time", not "timestamp"`},
		{"too few", "timestamp,host\n", "it has 2 columns"},
		{"unknown at the end", strings.Join(names(), ",") + ",more\n", `is "more", which is not known here`},
		{"no CSV", `"`, "its first line is no CSV header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := write(t, tt.content)
			_, err := OpenCSV(name, nil, CSVConfig{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name) {
				t.Fatalf("OpenCSV = %v, want the file's name and %q", err, tt.want)
			}
			if result.ExitCode(err) != 2 || result.HintOf(err) == "" {
				t.Errorf("exit %d, hint %q, want 2 and a hint", result.ExitCode(err), result.HintOf(err))
			}
			if b, err := os.ReadFile(name); err != nil || string(b) != tt.content {
				t.Errorf("the file became %q, %v", b, err)
			}
		})
	}
	if _, err := OpenCSV(filepath.Join(t.TempDir(), "no", "x.csv"), nil, CSVConfig{}); !errors.Is(err, os.ErrNotExist) || result.ExitCode(err) != 6 {
		t.Errorf("OpenCSV in a missing folder = %v, exit %d", err, result.ExitCode(err))
	}
}

func names() []string {
	var n []string
	for _, c := range columns {
		n = append(n, c.name)
	}
	return n
}

func TestOpenCSVStdout(t *testing.T) {
	var b bytes.Buffer
	s, err := OpenCSV("-", &b, CSVConfig{BtestRS: true})
	if err != nil {
		t.Fatal(err)
	}
	put(s, udpBoth(), udpBoth())
	if err := s.Close(); err != nil || strings.Count(b.String(), "\n") != 3 {
		t.Errorf("%v, %q", err, b.String())
	}
}

func TestCSVConcurrent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "many.csv")
	s, err := OpenCSV(name, nil, CSVConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			events := udpBoth()
			id := result.NewID()
			begin, end := events[0].(result.Begin), events[len(events)-1].(result.End)
			begin.Run, end.Run = id, id
			s.Put(begin)
			s.Put(end)
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll(); err != nil || len(rows) != 21 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// Whatever a name is, its row stays one line and its cell is text.
func FuzzCSV(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		sink := CSV(&b, CSVConfig{})
		events := udpBoth()
		begin, end := events[0].(result.Begin), events[len(events)-1].(result.End)
		begin.Account, begin.Target, end.Protocol = s, s, s
		sink.Put(begin)
		sink.Put(end)
		if n := strings.Count(b.String(), "\n"); n != 2 || strings.ContainsAny(strings.ReplaceAll(b.String(), "\n", ""), lineBreaks+"\x00\x1b") {
			t.Fatalf("%q became %q", s, b.String())
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%q: %d rows, %v", s, len(rows), err)
		}
		for n, c := range rows[1] {
			if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
				t.Errorf("%q: cell %s is %q", s, rows[0][n], c)
			}
		}
	})
}
