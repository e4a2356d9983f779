package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// wrongOthers are flags that mean other things in rperf and iperf3 than in
// btest, and those that btest does not have: by protocol, then as wrongValues.
var wrongOthers = map[string]map[string][]struct{ value, said string }{
	"rperf": {
		"bandwidth":      {{"10Q", "give bytes/s"}, {"-5M", "give bytes/s"}, {"0", "--rate takes bits/s"}, {"", "give bytes/s"}},
		"time":           {{"0", "want more than 0"}, {"x", "give seconds"}},
		"parallel":       {{"0", "1 to 255"}, {"256", "1 to 255"}, {"x", "not a whole number"}},
		"length":         {{"x", "give bytes"}, {"15", "want 16 to"}},
		"send-buffer":    {{"x", "give bytes"}},
		"receive-buffer": {{"x", "give bytes"}},
		"send-interval":  {{"0", "at most 1s"}, {"2s", "at most 1s"}, {"x", "give seconds"}},
		"omit":           {{"1", "add --format rperf"}, {"x", "not a whole number"}},
		"affinity":       {{"x", "such as 0,2"}, {"-1", "such as 0,2"}, {"9999", "such as 0,2"}},
		"tcp-port-pool":  {{"x", "such as 5200-5210,5300"}, {"0", "such as"}, {"70000", "such as"}},
		"tcp6-port-pool": {{"9-8", "such as"}},
		"udp-port-pool":  {{"1-", "such as"}},
		"udp6-port-pool": {{",", "such as"}},
		"client-limit":   {{"-1", "0 for no limit"}, {"x", "not a whole number"}},
		"format":         {{"xml", "give text, json, jsonl"}},
	},
	"iperf3": {
		"bitrate":               {{"10Q", "give bit/s"}, {"-5M", "give bit/s"}},
		"time":                  {{"0", "a test has an end"}, {"1.5s", "whole seconds"}, {"x", "give seconds"}},
		"bytes":                 {{"x", "give bytes"}},
		"blockcount":            {{"x", "give bytes"}},
		"length":                {{"x", "give bytes"}, {"9663676416", "at most 2147483647"}, {"2097152", "1 to 1048576"}},
		"window":                {{"x", "give bytes"}, {"9663676416", "at most 2147483647"}},
		"parallel":              {{"0", "1 to 128"}, {"129", "1 to 128"}},
		"omit":                  {{"10m1s", "whole seconds, up to 600"}, {"x", "give seconds"}},
		"interval":              {{"1ms", "100ms to 1h"}, {"2h", "100ms to 1h"}, {"x", "give seconds"}},
		"set-mss":               {{"70000", "0 to 65535"}, {"x", "not a whole number"}},
		"tos":                   {{"256", "want 0 to 255"}, {"x", "want 0 to 255"}},
		"dscp":                  {{"64", "a name such as ef"}, {"high", "a name such as ef"}},
		"connect-timeout":       {{"-1", "0 or more milliseconds"}, {"x", "not a whole number"}},
		"affinity":              {{"x", "such as 0,2"}},
		"username":              {{"ann", "belongs together"}},
		"rsa-public-key-path":   {{"no-such-file", "belongs together"}},
		"rsa-private-key-path":  {{"no-such-file", "everybody could test"}},
		"authorized-users-path": {{"no-such-file", "everybody could test"}},
		"time-skew-threshold":   {{"-1", "want 1 or more"}, {"x", "not a whole number"}},
		"server-bitrate-limit":  {{"x", "give bit/s"}},
		"max-tests":             {{"-1", "want 1 or more"}},
		"max-tests-per-address": {{"-1", "want 1 or more"}},
		"max-connections":       {{"-1", "want 1 or more"}},

		"max-connections-per-address": {{"-1", "want 1 or more"}},
		"format":                      {{"xml", "give text, json, jsonl, iperf3"}},
	},
	"test": {
		"time":     {{"0", "whole seconds"}, {"1.5s", "whole seconds"}, {"x", "give seconds"}},
		"user":     nil,
		"password": nil,
	},
}

// silentOthers are flags whose every value makes sense, besides anything.
var silentOthers = []string{"congestion", "title", "extra-data", "padding", "password-file", "user"}

// TestWrongValuesOfOthers is TestWrongValues for the other protocols' throughput
// tests.
func TestWrongValuesOfOthers(t *testing.T) {
	inFolder(t)
	for _, g := range []struct{ path, words []string }{
		{[]string{"sonde", "rperf", "client"}, []string{"TARGET"}},
		{[]string{"sonde", "rperf", "server"}, []string{"--listen", "127.0.0.1:0"}},
		{[]string{"sonde", "iperf3", "client"}, []string{"TARGET"}},
		{[]string{"sonde", "iperf3", "server"}, []string{"--listen", "127.0.0.1:0"}},
		{[]string{"sonde", "test"}, []string{"127.77.9.9"}},
	} {
		commandOf(t, g.path).Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || f.Name == "version" || slices.Contains(silentOthers, f.Name) {
				return
			}
			rows, own := wrongOthers[g.path[1]][f.Name]
			if !own {
				rows = wrongValues[f.Name]
			}
			switch {
			case f.Value.Type() == "bool":
				rows = []struct{ value, said string }{{"=maybe", "give true or false"}}
			case slices.Contains(anything, f.Name):
			case len(rows) == 0:
				t.Errorf("%s --%s: no wrong value is tested", strings.Join(g.path, " "), f.Name)
			}
			for _, row := range rows {
				if row.value == "" && f.Name != "bandwidth" || only[f.Name+" "+row.value] != "" || f.Name == "password-env" || f.Name == "port" && row.value == "0" {
					continue
				}
				wantRefused(t, g.path, g.words, f, row.value, row.said)
			}
		})
	}
}
